"""AlterUserScramCredentials and DescribeUserScramCredentials."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from logstore.access import verify_password
from logstore.api.access import ScramMechanism
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


def upsertion(name: str = "ann", mechanism: int = 1, **change: Any) -> dict[str, Any]:
    digest = "sha256" if mechanism == 1 else "sha512"
    salt = b"salt of client"
    return {
        "name": name, "mechanism": mechanism, "iterations": 4096, "salt": salt,
        "salted_password": hashlib.pbkdf2_hmac(digest, b"sesame", salt, 4096),
    } | change  # fmt: skip


def deletion(name: str = "ann", mechanism: int = 1) -> dict[str, Any]:
    return {"name": name, "mechanism": mechanism}


def alter(
    wire: Wire, upsertions: list[dict[str, Any]], deletions: list[dict[str, Any]] | None = None
) -> dict[str, int]:
    answer = wire.ask(
        "alter_user_scram_credentials", 0, upsertions=upsertions, deletions=deletions or []
    )
    return {result.user: result.error_code for result in answer.results}


def test_users_come_and_go(store: LocalLogStore, wire: Wire) -> None:
    assert alter(wire, [upsertion(), upsertion(mechanism=2), upsertion("bob")]) == {
        "ann": 0, "bob": 0,
    }  # fmt: skip
    for mechanism, credential in store.access.users()["ann"].items():
        assert verify_password(mechanism, credential, "sesame")
    described = wire.ask("describe_user_scram_credentials", 0, users=None)
    assert [
        (one.user, [(info.mechanism, info.iterations) for info in one.credential_infos])
        for one in described.results
    ] == [("ann", [(1, 4096), (2, 4096)]), ("bob", [(1, 4096)])]
    assert alter(wire, [], [deletion(), deletion(mechanism=2)]) == {"ann": 0}
    assert list(store.access.users()) == ["bob"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"iterations": 4095}, ErrorCode.UNACCEPTABLE_CREDENTIAL),
        ({"iterations": 16385}, ErrorCode.UNACCEPTABLE_CREDENTIAL),
        ({"salt": b""}, ErrorCode.UNACCEPTABLE_CREDENTIAL),
        ({"salted_password": b"short"}, ErrorCode.UNACCEPTABLE_CREDENTIAL),
        ({"name": ""}, ErrorCode.UNACCEPTABLE_CREDENTIAL),
        ({"mechanism": 0}, ErrorCode.UNSUPPORTED_SASL_MECHANISM),
        ({"mechanism": 3}, ErrorCode.UNSUPPORTED_SASL_MECHANISM),
    ],
)
def test_what_is_refused_harms_no_other(
    store: LocalLogStore, wire: Wire, change: dict[str, Any], code: ErrorCode
) -> None:
    bad = upsertion() | change
    assert alter(wire, [bad, upsertion("bob")]) == {bad["name"]: code, "bob": 0}
    assert list(store.access.users()) == ["bob"]


def test_deleting_what_is_not_there(wire: Wire) -> None:
    assert alter(wire, [], [deletion("nobody")]) == {"nobody": ErrorCode.RESOURCE_NOT_FOUND}


def test_one_credential_changed_twice_is_not_changed(store: LocalLogStore, wire: Wire) -> None:
    twice = {"ann": ErrorCode.DUPLICATE_RESOURCE}
    assert alter(wire, [upsertion(), upsertion()]) == twice
    assert alter(wire, [upsertion()], [deletion()]) == twice
    assert store.access.users() == {}


def test_describing_single_users(store: LocalLogStore, wire: Wire) -> None:
    alter(wire, [upsertion("bob", mechanism=ScramMechanism.SCRAM_SHA_512)])
    asked = [{"name": name} for name in ("bob", "nobody", "twice", "twice")]
    found = wire.ask("describe_user_scram_credentials", 0, users=asked).results
    assert [(one.user, one.error_code, len(one.credential_infos)) for one in found] == [
        ("bob", 0, 1),
        ("nobody", ErrorCode.RESOURCE_NOT_FOUND, 0),
        ("twice", ErrorCode.DUPLICATE_RESOURCE, 0),
    ]
