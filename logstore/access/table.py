"""The verbs of api.access.AccessStore over the store's catalog.

Invariant: what look-ups see is on disk. Look-ups take no lock: they read one object, which a change
replaces; changes are ordered by the catalog's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from logstore.access.acls import AclIndex, check_acl, matches
from logstore.access.credentials import check_user_name
from logstore.access.quotas import QuotaIndex, check_quota
from logstore.access.records import (
    AccessState,
    acl_record,
    acl_removed_record,
    quota_record,
    user_record,
)
from logstore.api.access import (
    Acl,
    AclFilter,
    CredentialChange,
    Credentials,
    QuotaEntity,
)
from logstore.errors import TooManyRequestsError, UnknownUserError

# What a store holds of each at most: all of them are in memory, and every change is a record.
USERS_MAX, ACLS_MAX, QUOTAS_MAX = 100_000, 100_000, 100_000

Records: TypeAlias = Sequence[tuple[bytes, bytes | None]]
ALL_ACLS = AclFilter()


class Catalog(Protocol):
    @property
    def access(self) -> AccessState: ...

    def change_access(self, make: Callable[[AccessState], Records]) -> AccessState:
        """Write what `make` makes of the state, with no other change between, and return the state
        after it. Blocks for the sync; nothing is written for no records."""
        ...


class AccessTable:
    """Thread-safe."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._indexed: tuple[AccessState, AclIndex, QuotaIndex] = _index(catalog.access)

    def _index(self) -> tuple[AccessState, AclIndex, QuotaIndex]:
        indexed = self._indexed
        if indexed[0] is not self._catalog.access:
            self._indexed = indexed = _index(self._catalog.access)
        return indexed

    # --- users ------------------------------------------------------------------------------

    def users(self) -> Mapping[str, Credentials]:
        return self._catalog.access.users

    def change_credentials(self, changes: Sequence[CredentialChange]) -> None:
        for change in changes:
            check_user_name(change.user)

        def make(state: AccessState) -> Records:
            changed: dict[str, Credentials] = {}
            for change in changes:
                held = dict(changed.get(change.user, state.users.get(change.user, {})))
                if change.credential is not None:
                    held[change.mechanism] = change.credential
                elif held.pop(change.mechanism, None) is None:
                    raise UnknownUserError(
                        f"user {change.user!r} has no credential of {change.mechanism.sasl_name}",
                        user=change.user,
                    )
                changed[change.user] = held
            _check_room("users", len(state.users.keys() | changed.keys()), USERS_MAX)
            return [user_record(name, held) for name, held in changed.items()]

        self._catalog.change_access(make)

    # --- access rules -----------------------------------------------------------------------

    @property
    def decider(self) -> AclIndex:
        return self._index()[1]

    def acls(self, matching: AclFilter = ALL_ACLS) -> list[Acl]:
        return _sorted(acl for acl in self._catalog.access.acls if matches(acl, matching))

    def create_acls(self, acls: Sequence[Acl]) -> None:
        for acl in acls:
            check_acl(acl)

        def make(state: AccessState) -> Records:
            added = dict.fromkeys(acl for acl in acls if acl not in state.acls)
            _check_room("access rules", len(state.acls) + len(added), ACLS_MAX)
            return [acl_record(acl) for acl in added]

        self._catalog.change_access(make)

    def delete_acls(self, matching: Sequence[AclFilter]) -> list[list[Acl]]:
        deleted: list[list[Acl]] = []

        def make(state: AccessState) -> Records:
            deleted.extend(
                _sorted(acl for acl in state.acls if matches(acl, wanted)) for wanted in matching
            )
            return [acl_removed_record(acl) for acl in {acl for acls in deleted for acl in acls}]

        self._catalog.change_access(make)
        return deleted

    # --- quotas -----------------------------------------------------------------------------

    @property
    def quota_finder(self) -> QuotaIndex:
        return self._index()[2]

    def quotas(self) -> Mapping[QuotaEntity, Mapping[str, float]]:
        return self._catalog.access.quotas

    def change_quota(
        self,
        entity: QuotaEntity,
        limits: Mapping[str, float | None],
        *,
        validate_only: bool = False,
    ) -> None:
        check_quota(entity, limits)
        if validate_only:
            return

        def make(state: AccessState) -> Records:
            _check_room("quotas", len(state.quotas) + 1, QUOTAS_MAX)
            held = dict(state.quotas.get(entity, {}))
            for name, limit in limits.items():
                if limit is None:
                    held.pop(name, None)
                else:
                    held[name] = limit
            return [] if held == state.quotas.get(entity, {}) else [quota_record(entity, held)]

        self._catalog.change_access(make)


def _index(state: AccessState) -> tuple[AccessState, AclIndex, QuotaIndex]:
    return state, AclIndex(state.acls), QuotaIndex(state.quotas)


def _sorted(acls: Iterable[Acl]) -> list[Acl]:
    return sorted(
        acls,
        key=lambda acl: (
            acl.resource, acl.name, acl.pattern, acl.principal, acl.host, acl.operation,
            acl.permission,
        ),
    )  # fmt: skip


def _check_room(what: str, count: int, maximum: int) -> None:
    if count > maximum:
        raise TooManyRequestsError(f"the store would hold {count} {what}; the limit is {maximum}")
