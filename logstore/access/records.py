"""Users, access rules and quotas as records of the catalog. What is written here stays readable.

    user/<name>   {"v": 1, "scram": {"SCRAM-SHA-256": {"salt": "<base64>", "iterations": 8192,
                   "stored_key": "<base64>", "server_key": "<base64>"}}}
    acl/<list>    {"v": 1}      list: JSON of [resource, pattern, name, principal, host, operation,
                  permission], words in lower case: ["topic", "literal", "orders", "User:ann", "*",
                  "read", "allow"]. The key is the whole rule, so one is never there twice.
    quota/<list>  {"v": 1, "limits": {"producer_byte_rate": 1048576.0}}      list: JSON of
                  [["client-id", "loader"], ["user", null]], sorted; null: the default

A null value removes. No password is ever written: only what RFC 5802 derives from it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from logstore.access.acls import check_acl
from logstore.access.credentials import check_user_name
from logstore.access.quotas import check_quota
from logstore.api.access import (
    Acl,
    Credentials,
    Operation,
    PatternType,
    Permission,
    QuotaEntity,
    ResourceType,
    ScramCredential,
    ScramMechanism,
)
from logstore.errors import LogStoreError

RECORD_VERSION = 1
_USER, _ACL, _QUOTA = b"user/", b"acl/", b"quota/"
_MECHANISMS = {mechanism.sasl_name: mechanism for mechanism in ScramMechanism}


@dataclass(frozen=True, slots=True)
class AccessState:
    """A snapshot; `apply` makes the next one."""

    users: Mapping[str, Credentials] = field(default_factory=dict)
    acls: frozenset[Acl] = frozenset()
    quotas: Mapping[QuotaEntity, Mapping[str, float]] = field(default_factory=dict)

    def apply(self, key: bytes, value: bytes | None) -> AccessState:
        """The state after this record. Raises ValueError, KeyError, TypeError or AttributeError for
        one that it cannot read."""
        try:
            if key.startswith(_USER):
                return self._with_user(key[len(_USER) :].decode(), value)
            if key.startswith(_ACL):
                return self._with_acl(_acl_of(key), value)
            return self._with_quota(_entity_of(key), value)
        except LogStoreError as error:  # a value outside its range
            raise ValueError(str(error)) from error

    def _with_user(self, name: str, value: bytes | None) -> AccessState:
        check_user_name(name)
        users = dict(self.users)
        if value is None:
            users.pop(name, None)
        else:
            users[name] = {
                _MECHANISMS[mechanism]: _credential_of(parts)
                for mechanism, parts in _body(value)["scram"].items()
            }
        return AccessState(users, self.acls, self.quotas)

    def _with_acl(self, acl: Acl, value: bytes | None) -> AccessState:
        check_acl(acl)
        if value is None:
            return AccessState(self.users, self.acls - {acl}, self.quotas)
        _body(value)
        return AccessState(self.users, self.acls | {acl}, self.quotas)

    def _with_quota(self, entity: QuotaEntity, value: bytes | None) -> AccessState:
        quotas = dict(self.quotas)
        if value is None:
            quotas.pop(entity, None)
        else:
            limits = {str(name): float(limit) for name, limit in _body(value)["limits"].items()}
            check_quota(entity, limits)
            quotas[entity] = limits
        return AccessState(self.users, self.acls, quotas)


def is_access_key(key: bytes) -> bool:
    return key.startswith((_USER, _ACL, _QUOTA))


# --- writing --------------------------------------------------------------------------------


def user_record(name: str, credentials: Credentials) -> tuple[bytes, bytes | None]:
    """Without credentials: the record that removes the user."""
    if not credentials:
        return _USER + name.encode(), None
    scram = {
        mechanism.sasl_name: {
            "salt": _text(credential.salt),
            "iterations": credential.iterations,
            "stored_key": _text(credential.stored_key),
            "server_key": _text(credential.server_key),
        }
        for mechanism, credential in sorted(credentials.items())
    }
    return _USER + name.encode(), _value(scram=scram)


def acl_record(acl: Acl) -> tuple[bytes, bytes]:
    return _acl_key(acl), _value()


def acl_removed_record(acl: Acl) -> tuple[bytes, None]:
    return _acl_key(acl), None


def quota_record(entity: QuotaEntity, limits: Mapping[str, float]) -> tuple[bytes, bytes | None]:
    """Without limits: the record that removes the quota."""
    key = _QUOTA + json.dumps(entity).encode()
    return key, _value(limits=dict(sorted(limits.items()))) if limits else None


def _acl_key(acl: Acl) -> bytes:
    words = [
        acl.resource.name.lower(),
        acl.pattern.name.lower(),
        acl.name,
        acl.principal,
        acl.host,
        acl.operation.name.lower(),
        acl.permission.name.lower(),
    ]
    return _ACL + json.dumps(words).encode()


def _value(**parts: object) -> bytes:
    return json.dumps({"v": RECORD_VERSION} | parts).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# --- reading --------------------------------------------------------------------------------


def _body(value: bytes) -> dict[str, Any]:
    body = json.loads(value)
    if body["v"] != RECORD_VERSION:
        raise ValueError(f"record version {body['v']}, this logstore reads {RECORD_VERSION}")
    return dict(body)


def _acl_of(key: bytes) -> Acl:
    words = [str(word) for word in json.loads(key[len(_ACL) :])]
    resource, pattern, name, principal, host, operation, permission = words
    return Acl(
        resource=ResourceType[resource.upper()],
        pattern=PatternType[pattern.upper()],
        name=name,
        principal=principal,
        host=host,
        operation=Operation[operation.upper()],
        permission=Permission[permission.upper()],
    )


def _entity_of(key: bytes) -> QuotaEntity:
    parts = json.loads(key[len(_QUOTA) :])
    return tuple((str(kind), None if name is None else str(name)) for kind, name in parts)


def _credential_of(parts: Mapping[str, Any]) -> ScramCredential:
    iterations = parts["iterations"]
    if type(iterations) is not int or iterations < 1:
        raise ValueError(f"{iterations!r} iterations")
    return ScramCredential(
        salt=base64.b64decode(parts["salt"], validate=True),
        iterations=iterations,
        stored_key=base64.b64decode(parts["stored_key"], validate=True),
        server_key=base64.b64decode(parts["server_key"], validate=True),
    )
