"""The verbs on a store that is closed and opened again, and one that loses its power."""

from __future__ import annotations

import pytest

from logstore.access import make_credential
from logstore.access import table as table_module
from logstore.api.access import (
    Acl,
    AclFilter,
    CredentialChange,
    Operation,
    PatternType,
    Permission,
    ResourceType,
    ScramMechanism,
)
from logstore.errors import (
    InvalidAclError,
    InvalidCredentialError,
    InvalidQuotaError,
    TooManyRequestsError,
    UnknownUserError,
)
from logstore.store import LocalLogStore
from logstore.testing import MemoryFileSystem

SHA_256, SHA_512 = ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512
CREDENTIAL = make_credential(SHA_256, "sesame", salt=b"0" * 12, iterations=4096)
READ = Acl(
    resource=ResourceType.TOPIC, name="orders", principal="User:ann", operation=Operation.READ
)
WRITE = Acl(
    resource=ResourceType.TOPIC,
    name="ord",
    pattern=PatternType.PREFIXED,
    principal="User:ann",
    operation=Operation.WRITE,
)
ANN = (("user", "ann"),)


def opened(fs: MemoryFileSystem | None = None) -> LocalLogStore:
    return LocalLogStore.open("data", fs=fs or MemoryFileSystem())


def fill(store: LocalLogStore) -> None:
    store.access.change_credentials([CredentialChange("ann", SHA_256, CREDENTIAL)])
    store.access.create_acls([READ, WRITE, READ])
    store.access.change_quota(ANN, {"producer_byte_rate": 5.0})


def check(store: LocalLogStore) -> None:
    assert store.access.users() == {"ann": {SHA_256: CREDENTIAL}}
    assert store.access.acls() == [WRITE, READ]
    assert store.access.quotas() == {ANN: {"producer_byte_rate": 5.0}}
    assert store.access.quota_finder.find("ann", "x", "producer_byte_rate") == (ANN, 5.0)


def test_all_is_there_after_a_power_loss() -> None:
    fs = MemoryFileSystem()
    store = opened(fs)
    fill(store)
    check(store)
    fs.power_loss()
    check(opened(fs))


def test_credentials_come_and_go_one_by_one() -> None:
    access = opened().access
    access.change_credentials(
        [CredentialChange("ann", SHA_256, CREDENTIAL), CredentialChange("ann", SHA_512, CREDENTIAL)]
    )
    access.change_credentials([CredentialChange("ann", SHA_256, None)])
    assert access.users() == {"ann": {SHA_512: CREDENTIAL}}
    access.change_credentials([CredentialChange("ann", SHA_512, None)])
    assert access.users() == {}


def test_of_changes_that_cannot_all_be_made_none_is() -> None:
    access = opened().access
    with pytest.raises(UnknownUserError, match="SCRAM-SHA-512"):
        access.change_credentials(
            [CredentialChange("ann", SHA_256, CREDENTIAL), CredentialChange("bob", SHA_512, None)]
        )
    with pytest.raises(InvalidCredentialError):
        access.change_credentials(
            [CredentialChange("ann", SHA_256, CREDENTIAL), CredentialChange("", SHA_256, None)]
        )
    assert access.users() == {}
    bad = Acl(
        resource=ResourceType.GROUP, name="g", principal="User:ann", operation=Operation.WRITE
    )
    with pytest.raises(InvalidAclError):
        access.create_acls([READ, bad])
    assert access.acls() == []


def test_the_rules_in_force_follow_every_change() -> None:
    access = opened().access

    def decided() -> bool | None:
        return access.decider.decide(
            "User:ann", "::1", Operation.READ, ResourceType.TOPIC, "orders"
        )

    assert decided() is None
    access.create_acls([READ, WRITE])
    assert decided() is True
    deleted = access.delete_acls(
        [AclFilter(name="orders"), AclFilter(permission=Permission.DENY), AclFilter(name="orders")]
    )
    assert deleted == [[READ], [], [READ]]
    assert decided() is False
    assert access.delete_acls([AclFilter()]) == [[WRITE]]
    assert decided() is None


def test_quotas_change_limit_by_limit() -> None:
    access = opened().access
    access.change_quota(ANN, {"producer_byte_rate": 5.0, "consumer_byte_rate": 6.0})
    access.change_quota(ANN, {"producer_byte_rate": None})
    assert access.quotas() == {ANN: {"consumer_byte_rate": 6.0}}
    access.change_quota(ANN, {"consumer_byte_rate": 7.0}, validate_only=True)
    assert access.quotas() == {ANN: {"consumer_byte_rate": 6.0}}
    access.change_quota(ANN, {"consumer_byte_rate": None})
    assert access.quotas() == {}
    with pytest.raises(InvalidQuotaError):
        access.change_quota((("ip", "::1"),), {"producer_byte_rate": 5.0})


def test_there_is_a_limit_to_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "ACLS_MAX", 1)
    access = opened().access
    access.create_acls([READ, READ])
    with pytest.raises(TooManyRequestsError, match="limit is 1"):
        access.create_acls([WRITE])
