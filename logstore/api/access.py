"""Who may do what: users and their credentials, access rules (ACLs), quotas. Values and verbs.

The words, numbers and meanings are Kafka's (KIP-11, KIP-290, KIP-546, KIP-554), so that its tools
and what people know of it hold here. A principal is "User:<name>"; "User:*" is everybody.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

EVERYBODY = "User:*"
EVERYWHERE = "*"  # as a host
EVERY_NAME = "*"  # as a literal resource name
CLUSTER_NAME = "kafka-cluster"  # the one resource of type CLUSTER


class ResourceType(enum.IntEnum):
    ANY = 1  # in filters only, as in the enumerations below
    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5
    DELEGATION_TOKEN = 6
    USER = 7


class PatternType(enum.IntEnum):
    ANY = 1
    MATCH = 2  # in filters: every pattern that covers the name
    LITERAL = 3
    PREFIXED = 4


class Operation(enum.IntEnum):
    ANY = 1
    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12
    CREATE_TOKENS = 13
    DESCRIBE_TOKENS = 14
    TWO_PHASE_COMMIT = 15


class Permission(enum.IntEnum):
    ANY = 1
    DENY = 2
    ALLOW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Acl:
    """`principal` from `host` may, or may not, do `operation` to what the pattern covers."""

    resource: ResourceType
    name: str
    pattern: PatternType = PatternType.LITERAL
    principal: str
    host: str = EVERYWHERE
    operation: Operation
    permission: Permission = Permission.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class AclFilter:
    """None, or ANY, fits everything."""

    resource: ResourceType = ResourceType.ANY
    name: str | None = None
    pattern: PatternType = PatternType.ANY
    principal: str | None = None
    host: str | None = None
    operation: Operation = Operation.ANY
    permission: Permission = Permission.ANY


class ScramMechanism(enum.IntEnum):
    """Kafka's numbers."""

    SCRAM_SHA_256 = 1
    SCRAM_SHA_512 = 2

    @property
    def sasl_name(self) -> str:
        return self.name.replace("_", "-")

    @property
    def hash_name(self) -> str:
        return "sha256" if self is ScramMechanism.SCRAM_SHA_256 else "sha512"


@dataclass(frozen=True, slots=True)
class ScramCredential:
    """What proves a password without being one (RFC 5802); no key is ever shown."""

    salt: bytes = field(repr=False)
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


Credentials: TypeAlias = Mapping[ScramMechanism, ScramCredential]


@dataclass(frozen=True, slots=True)
class CredentialChange:
    """`credential` None removes that mechanism of the user."""

    user: str
    mechanism: ScramMechanism
    credential: ScramCredential | None


# What a quota is of: ("user", "alice") and, or, ("client-id", "loader"); a name of None is the
# default, for all that have none of their own. Sorted by type.
QuotaEntity: TypeAlias = tuple[tuple[str, str | None], ...]


class Decider(Protocol):
    """The access rules as they are at one time."""

    def decide(
        self,
        principal: str,
        host: str,
        operation: Operation,
        resource: ResourceType,
        name: str,
    ) -> bool | None:
        """None: there is no rule at all for that resource."""
        ...

    def allows_some(
        self, principal: str, host: str, operation: Operation, resource: ResourceType
    ) -> bool:
        """Whether there is a name of that type for which a rule allows it."""
        ...


class QuotaFinder(Protocol):
    def find(self, user: str, client_id: str, limit: str) -> tuple[QuotaEntity, float] | None:
        """The quota that holds for that client: (who shares it, the limit); the nearest one set."""
        ...


class AccessStore(Protocol):
    """Users, ACLs and quotas of a store. The look-ups read what is in memory and may be called from
    anywhere; the changes block for a sync, and are on disk when they return."""

    def users(self) -> Mapping[str, Credentials]: ...

    def change_credentials(self, changes: Sequence[CredentialChange]) -> None:
        """All or none. Raises UnknownUserError for a removal of what is not there."""
        ...

    def acls(self, matching: AclFilter = ...) -> list[Acl]: ...

    @property
    def decider(self) -> Decider: ...

    def create_acls(self, acls: Sequence[Acl]) -> None:
        """All or none; one that is there already is no error. Raises InvalidAclError."""
        ...

    def delete_acls(self, matching: Sequence[AclFilter]) -> list[list[Acl]]:
        """What was deleted, for each filter."""
        ...

    def quotas(self) -> Mapping[QuotaEntity, Mapping[str, float]]: ...

    @property
    def quota_finder(self) -> QuotaFinder: ...

    def change_quota(
        self,
        entity: QuotaEntity,
        limits: Mapping[str, float | None],
        *,
        validate_only: bool = False,
    ) -> None:
        """Set limits; None removes one. Raises InvalidQuotaError."""
        ...
