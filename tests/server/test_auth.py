"""Logins and rules as listeners see them; over a wire in tests/server/kafka/."""

from __future__ import annotations

import pytest
from scramp import ScramClient

from logstore.access import make_credential
from logstore.api.access import (
    Acl,
    CredentialChange,
    Operation,
    Permission,
    ResourceType,
    ScramMechanism,
)
from logstore.store import LocalLogStore
from logstore.testing import MemoryFileSystem
from logstore_server.auth import (
    Authorizer,
    LoginFailedError,
    ScramExchange,
    check_password,
    operations_of,
    parse_plain,
)

WRONG = "the user name or the password is wrong"
SHA_256, SHA_512 = ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512


@pytest.fixture
def store() -> LocalLogStore:
    store = LocalLogStore.open("data", fs=MemoryFileSystem())
    credential = make_credential(SHA_256, "sesame", salt=b"0" * 12, iterations=4096)
    store.access.change_credentials([CredentialChange("ann", SHA_256, credential)])
    return store


def test_a_scram_login_proves_both_sides(store: LocalLogStore) -> None:
    client = ScramClient(["SCRAM-SHA-256"], "ann", "sesame")
    exchange = ScramExchange(store.access, SHA_256)
    client.set_server_first(exchange.answer(client.get_client_first().encode()).decode())
    assert exchange.user is None
    client.set_server_final(exchange.answer(client.get_client_final().encode()).decode())
    assert exchange.user == "ann"


@pytest.mark.parametrize(
    ("user", "password", "mechanism"),
    [("ann", "guess", SHA_256), ("bob", "sesame", SHA_256), ("ann", "sesame", SHA_512)],
)
def test_a_wrong_login_tells_nothing(
    store: LocalLogStore, user: str, password: str, mechanism: ScramMechanism
) -> None:
    client = ScramClient([mechanism.sasl_name], user, password)
    exchange = ScramExchange(store.access, mechanism)

    def log_in() -> None:
        client.set_server_first(exchange.answer(client.get_client_first().encode()).decode())
        exchange.answer(client.get_client_final().encode())

    with pytest.raises(LoginFailedError, match=WRONG):
        log_in()
    assert exchange.user is None


def test_passwords(store: LocalLogStore) -> None:
    check_password(store.access, "ann", "sesame")
    for user, password in (("ann", "guess"), ("bob", "sesame"), ("bob", "\ud800")):
        with pytest.raises(LoginFailedError, match=WRONG):
            check_password(store.access, user, password)


@pytest.mark.parametrize(
    ("message", "parsed"),
    [
        (b"\0ann\0sesame", ("ann", "sesame")),
        (b"ann\0ann\0sesame", ("ann", "sesame")),
        (b"bob\0ann\0sesame", None),
        (b"ann\0sesame", None),
        (b"\0ann\0se\0same", None),
        (b"\0\0sesame", None),
        (b"\0ann\0", None),
        (b"\0ann\0\xff", None),
    ],
)
def test_plain_messages(message: bytes, parsed: tuple[str, str] | None) -> None:
    if parsed is not None:
        assert parse_plain(message) == parsed
        return
    with pytest.raises(LoginFailedError):
        parse_plain(message)


@pytest.mark.parametrize("open_to_all", [True, False])
def test_what_a_server_adds_to_the_rules(store: LocalLogStore, open_to_all: bool) -> None:
    deny = Acl(
        resource=ResourceType.TOPIC,
        name="t",
        principal="User:*",
        operation=Operation.ALL,
        permission=Permission.DENY,
    )
    store.access.create_acls([deny])
    authorizer = Authorizer(
        store.access, super_users=["User:root"], allow_without_rules=open_to_all
    )

    def allows(user: str, name: str) -> bool:
        return authorizer.allows(f"User:{user}", "::1", Operation.READ, ResourceType.TOPIC, name)

    assert authorizer.is_super("User:root")
    assert allows("root", "t")
    assert not allows("ann", "t")
    assert allows("ann", "other") is open_to_all
    some = authorizer.allows_some("User:ann", "::1", Operation.READ, ResourceType.TOPIC)
    assert some is open_to_all


def test_all_that_can_be_done_is_not_one_of_them() -> None:
    assert Operation.ALL not in set(operations_of(ResourceType.TOPIC))
    assert len(set(operations_of(ResourceType.TOPIC))) == 8
