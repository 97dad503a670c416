"""Access rules: which are valid, which a filter names, and what they say together. Pure.

A rule counts for a name if it is of that name, of "*", or of a prefix of it. Of the rules that
count, one that denies wins; else one that allows is needed. To be allowed to READ, WRITE, DELETE or
ALTER is to be allowed to DESCRIBE, and ALTER_CONFIGS is DESCRIBE_CONFIGS too; what is denied is
only what is named (or ALL). These are Kafka's rules.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator

from logstore.api.access import (
    CLUSTER_NAME,
    EVERY_NAME,
    EVERYBODY,
    EVERYWHERE,
    Acl,
    AclFilter,
    Operation,
    PatternType,
    Permission,
    ResourceType,
)
from logstore.errors import InvalidAclError

NAME_BYTES_MAX = 1024  # of a resource, a principal, a host

_Op = Operation
# Whoever is allowed one of these is allowed the key too.
IMPLIED_BY: dict[Operation, frozenset[Operation]] = {
    _Op.DESCRIBE: frozenset({_Op.READ, _Op.WRITE, _Op.DELETE, _Op.ALTER}),
    _Op.DESCRIBE_CONFIGS: frozenset({_Op.ALTER_CONFIGS}),
}
OPERATIONS: dict[ResourceType, frozenset[Operation]] = {
    ResourceType.TOPIC: frozenset(
        {
            _Op.ALL, _Op.READ, _Op.WRITE, _Op.CREATE, _Op.DESCRIBE, _Op.DELETE, _Op.ALTER,
            _Op.DESCRIBE_CONFIGS, _Op.ALTER_CONFIGS,
        }
    ),
    ResourceType.GROUP: frozenset(
        {_Op.ALL, _Op.READ, _Op.DESCRIBE, _Op.DELETE, _Op.DESCRIBE_CONFIGS, _Op.ALTER_CONFIGS}
    ),
    ResourceType.CLUSTER: frozenset(
        {
            _Op.ALL, _Op.CREATE, _Op.CLUSTER_ACTION, _Op.DESCRIBE_CONFIGS, _Op.ALTER_CONFIGS,
            _Op.IDEMPOTENT_WRITE, _Op.ALTER, _Op.DESCRIBE,
        }
    ),
    ResourceType.TRANSACTIONAL_ID: frozenset(
        {_Op.ALL, _Op.DESCRIBE, _Op.WRITE, _Op.TWO_PHASE_COMMIT}
    ),
    ResourceType.DELEGATION_TOKEN: frozenset({_Op.ALL, _Op.DESCRIBE}),
    ResourceType.USER: frozenset({_Op.ALL, _Op.CREATE_TOKENS, _Op.DESCRIBE_TOKENS}),
}  # fmt: skip


def check_acl(acl: Acl) -> None:
    """Raises InvalidAclError, with the reason."""
    problem = _problem(acl)
    if problem is not None:
        raise InvalidAclError(f"the access rule is not valid: {problem}")


def _problem(acl: Acl) -> str | None:
    kind, separator, name = acl.principal.partition(":")
    for text in (acl.name, acl.principal, acl.host):
        if len(text.encode("utf-8", "replace")) > NAME_BYTES_MAX:
            return f"{text[:32]!r}... is longer than {NAME_BYTES_MAX} bytes"
        if not text.isprintable():
            return f"{text!r} holds characters that cannot be printed"
    if acl.resource not in OPERATIONS:
        return "the resource type must be named"
    if not acl.name:
        return "the resource name is empty"
    if acl.resource is ResourceType.CLUSTER and acl.name != CLUSTER_NAME:
        return f"the only cluster is {CLUSTER_NAME!r}, not {acl.name!r}"
    if acl.pattern not in (PatternType.LITERAL, PatternType.PREFIXED):
        return "the pattern type must be literal or prefixed"
    if not (kind and separator and name):
        return f"principal {acl.principal!r} is not of the form User:name"
    if acl.host != EVERYWHERE and not _is_address(acl.host):
        return f"host {acl.host!r} is neither an IP address nor *"
    if acl.operation not in OPERATIONS[acl.resource]:
        named = ", ".join(sorted(one.name for one in OPERATIONS[acl.resource]))
        return f"{acl.resource.name} has no operation {acl.operation.name}; it has {named}"
    if acl.permission not in (Permission.ALLOW, Permission.DENY):
        return "the permission must be allow or deny"
    return None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def matches(acl: Acl, wanted: AclFilter) -> bool:
    return (
        wanted.resource in (ResourceType.ANY, acl.resource)
        and _name_matches(acl, wanted)
        and wanted.principal in (None, acl.principal)
        and wanted.host in (None, acl.host)
        and wanted.operation in (Operation.ANY, acl.operation)
        and wanted.permission in (Permission.ANY, acl.permission)
    )


def _name_matches(acl: Acl, wanted: AclFilter) -> bool:
    if wanted.pattern is PatternType.MATCH and wanted.name is not None:
        return _covers(acl, wanted.name)
    if wanted.pattern not in (PatternType.ANY, PatternType.MATCH, acl.pattern):
        return False
    return wanted.name in (None, acl.name)


def _covers(acl: Acl, name: str) -> bool:
    if acl.pattern is PatternType.PREFIXED:
        return name.startswith(acl.name)
    return acl.name in (name, EVERY_NAME)


class AclIndex:
    """A set of rules, made for being asked. Immutable; implements api.access.Decider."""

    def __init__(self, acls: Iterable[Acl] = ()) -> None:
        self._literal: dict[tuple[ResourceType, str], list[Acl]] = {}
        self._prefixed: dict[tuple[ResourceType, str], list[Acl]] = {}
        self._lengths: dict[ResourceType, list[int]] = {}  # of the prefixes that there are
        lengths: dict[ResourceType, set[int]] = {}
        for acl in acls:
            key = (acl.resource, acl.name)
            if acl.pattern is PatternType.PREFIXED:
                self._prefixed.setdefault(key, []).append(acl)
                lengths.setdefault(acl.resource, set()).add(len(acl.name))
            else:
                self._literal.setdefault(key, []).append(acl)
        self._lengths = {resource: sorted(found) for resource, found in lengths.items()}

    def decide(
        self, principal: str, host: str, operation: Operation, resource: ResourceType, name: str
    ) -> bool | None:
        found = False
        allowed = False
        allowing = {operation, Operation.ALL} | IMPLIED_BY.get(operation, frozenset())
        for acl in self._of(resource, name):
            found = True
            if not _is_of(acl, principal, host):
                continue
            if acl.permission is Permission.DENY:
                if acl.operation in (operation, Operation.ALL):
                    return False
            elif acl.operation in allowing:
                allowed = True
        return allowed if found else None

    def allows_some(
        self, principal: str, host: str, operation: Operation, resource: ResourceType
    ) -> bool:
        allowing = {operation, Operation.ALL} | IMPLIED_BY.get(operation, frozenset())
        for rules in (self._literal, self._prefixed):
            for (kind, name), acls in rules.items():
                if kind is not resource:
                    continue
                if not _has(acls, principal, host, Permission.ALLOW, allowing):
                    continue
                # A name below a prefix stands for all of them: those denied are not all of them.
                covering = self._of(resource, name)
                if not _has(covering, principal, host, Permission.DENY, {operation, Operation.ALL}):
                    return True
        return False

    def _of(self, resource: ResourceType, name: str) -> Iterator[Acl]:
        yield from self._literal.get((resource, name), ())
        if name != EVERY_NAME:
            yield from self._literal.get((resource, EVERY_NAME), ())
        for length in self._lengths.get(resource, ()):
            if length > len(name):
                break
            yield from self._prefixed.get((resource, name[:length]), ())


def _is_of(acl: Acl, principal: str, host: str) -> bool:
    return acl.principal in (principal, EVERYBODY) and acl.host in (host, EVERYWHERE)


def _has(
    acls: Iterable[Acl],
    principal: str,
    host: str,
    permission: Permission,
    operations: Collection[Operation],
) -> bool:
    return any(
        acl.permission is permission
        and acl.operation in operations
        and _is_of(acl, principal, host)
        for acl in acls
    )
