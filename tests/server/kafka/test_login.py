"""Logins, as state and over the wire."""

from __future__ import annotations

import pytest

from logstore.store import LocalLogStore
from logstore_server.auth import LoginFailedError
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.login import LOGIN_FRAME_BYTES_MAX, Login, LoginOrderError
from tests.server.kafka.secured import (
    add_user,
    log_in_plain,
    log_in_scram,
    logged_in,
    secured,
)
from tests.server.kafka.wire import Wire, raw_request, request_bytes


@pytest.fixture
def users(store: LocalLogStore) -> LocalLogStore:
    for name in ("ann", "bob", "root"):
        add_user(store, name)
    return store


def make(store: LocalLogStore, *, lifetime_ms: int = 0, now: list[float] | None = None) -> Login:
    clock = now or [0.0]
    return Login(
        store.access,
        ("PLAIN", "SCRAM-SHA-256"),
        lifetime_ms=lifetime_ms,
        monotonic=lambda: clock[0],
    )


def plain(user: str, password: str = "sesame") -> bytes:
    return f"\0{user}\0{password}".encode()


def test_a_mechanism_is_chosen_and_then_proved(users: LocalLogStore) -> None:
    login = make(users)
    assert not login.is_valid()
    assert login.choose("PLAIN")
    assert not login.is_valid()
    login.step(plain("ann"))
    assert login.is_valid()
    assert login.principal == "User:ann"


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "GSSAPI", "", "plain"])
def test_a_mechanism_that_is_not_configured(users: LocalLogStore, mechanism: str) -> None:
    login = make(users)
    assert not login.choose(mechanism)
    assert login.has_failed


def test_a_step_comes_after_a_choice(users: LocalLogStore) -> None:
    login = make(users)
    with pytest.raises(LoginOrderError):
        login.step(plain("ann"))
    assert login.has_failed


def test_one_failure_is_the_end(users: LocalLogStore) -> None:
    login = make(users)
    login.choose("PLAIN")
    with pytest.raises(LoginFailedError):
        login.step(plain("ann", "guess"))
    with pytest.raises(LoginOrderError):
        login.step(plain("ann"))
    assert not login.is_valid()


def test_a_login_is_renewed_by_the_same_user_in_the_same_way(users: LocalLogStore) -> None:
    now = [0.0]
    login = make(users, lifetime_ms=1000, now=now)
    login.choose("PLAIN")
    login.step(plain("ann"))
    now[0] = 0.9
    assert login.choose("PLAIN")
    assert login.is_valid()  # until it is over
    login.step(plain("ann"))
    now[0] = 1.8
    assert login.is_valid()
    now[0] = 1.9
    assert not login.is_valid()
    assert login.choose("PLAIN")
    login.step(plain("ann"))
    assert login.is_valid()
    login.choose("PLAIN")
    with pytest.raises(LoginFailedError, match="same user"):
        login.step(plain("bob"))
    assert not login.is_valid()
    other = make(users)
    other.choose("PLAIN")
    other.step(plain("ann"))
    assert not other.choose("SCRAM-SHA-256")


# --- over the wire --------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_scram(users: LocalLogStore, mechanism: str) -> None:
    with secured(users) as server:
        with Wire(server.kafka) as wire:
            assert log_in_scram(wire, mechanism, "root").error_code == 0
            assert wire.ask("metadata", 4, topics=[], allow_auto_topic_creation=False).brokers
        for user, password in (("root", "guess"), ("nobody", "sesame")):
            with Wire(server.kafka) as wire:
                failed = log_in_scram(wire, mechanism, user, password)
                assert failed.error_code == ErrorCode.SASL_AUTHENTICATION_FAILED
                assert failed.error_message == "the user name or the password is wrong"
                assert wire.is_closed()


def test_plain(users: LocalLogStore) -> None:
    with secured(users) as server:
        with logged_in(server) as wire:
            assert wire.ask("metadata", 4, topics=[], allow_auto_topic_creation=False).brokers
        for user, password in (("root", "guess"), ("nobody", "sesame"), ("root", "")):
            with Wire(server.kafka) as wire:
                failed = log_in_plain(wire, user, password)
                assert failed.error_code == ErrorCode.SASL_AUTHENTICATION_FAILED
                assert wire.is_closed()


def test_nothing_is_answered_before_a_login(users: LocalLogStore) -> None:
    with secured(users) as server:
        for name, version, fields in (
            ("metadata", 4, {"topics": [], "allow_auto_topic_creation": False}),
            ("describe_user_scram_credentials", 0, {"users": []}),
        ):
            with Wire(server.kafka) as wire:
                assert wire.ask("api_versions", 0).api_keys
                wire.send(name, version, **fields)
                assert wire.is_closed()


def test_nothing_is_answered_between_the_steps_of_a_login(users: LocalLogStore) -> None:
    with secured(users) as server, Wire(server.kafka) as wire:
        wire.ask("sasl_handshake", 1, mechanism="SCRAM-SHA-256")
        first = b"n,,n=root,r=fyko+d2lbbFgONRv9qkxdawL"
        assert wire.ask("sasl_authenticate", 2, auth_bytes=first).error_code == 0
        wire.send("metadata", 4, topics=[], allow_auto_topic_creation=False)
        assert wire.is_closed()


def test_requests_behind_a_failed_login_are_not_handled(users: LocalLogStore) -> None:
    with secured(users) as server, Wire(server.kafka) as wire:
        topic = {"name": "t", "num_partitions": 1, "replication_factor": 1}
        topic |= {"assignments": [], "configs": []}
        wire.socket.sendall(
            request_bytes("sasl_handshake", 1, {"mechanism": "PLAIN"})
            + request_bytes("sasl_authenticate", 2, {"auth_bytes": b"\0root\0guess"})
            + request_bytes("create_topics", 4, {"topics": [topic], "timeout": 1000})
        )
        wire.receive("sasl_handshake", 1)
        assert wire.receive("sasl_authenticate", 2)[1].error_code
        assert wire.is_closed()
    assert users.describe_topics() == []


def test_large_frames_are_for_those_who_are_known(users: LocalLogStore) -> None:
    with secured(users) as server:
        large = raw_request(18, 0, bytes(LOGIN_FRAME_BYTES_MAX))
        with Wire(server.kafka) as wire:
            wire.socket.sendall(large)
            assert wire.is_closed()
        with logged_in(server) as wire:
            wire.socket.sendall(large)
            assert wire.receive("api_versions", 0)[1].api_keys


@pytest.mark.parametrize(
    "message", [b"", b"x", b"n,,", b"n,,n=root", b"y,,n=root,r=abc", b"\xff\xfe", b"n,,n=root,r=\0"]
)
def test_no_message_of_a_login_harms_the_server(users: LocalLogStore, message: bytes) -> None:
    with secured(users) as server:
        for mechanism in ("SCRAM-SHA-256", "PLAIN"):
            with Wire(server.kafka) as wire:
                wire.ask("sasl_handshake", 1, mechanism=mechanism)
                answer = wire.ask("sasl_authenticate", 2, auth_bytes=message)
                if answer.error_code == 0:  # "y": the client knows channel binding, we have none
                    answer = wire.ask("sasl_authenticate", 2, auth_bytes=message)
                assert answer.error_code == ErrorCode.SASL_AUTHENTICATION_FAILED
                assert wire.is_closed()


def test_a_listener_without_logins_says_so(wire: Wire) -> None:
    answer = wire.ask("sasl_handshake", 1, mechanism="PLAIN")
    assert (answer.error_code, answer.mechanisms) == (ErrorCode.ILLEGAL_SASL_STATE, ())
    step = wire.ask("sasl_authenticate", 2, auth_bytes=b"\0root\0sesame")
    assert step.error_code == ErrorCode.ILLEGAL_SASL_STATE


def test_a_login_has_its_time(users: LocalLogStore) -> None:
    with secured(users, sasl_session_lifetime_ms=60_000) as server, Wire(server.kafka) as wire:
        answer = log_in_plain(wire, "root")
        assert answer.session_lifetime.total_seconds() == 60
        assert log_in_plain(wire, "root").error_code == 0  # again, on the same connection
        assert log_in_plain(wire, "ann").error_code == ErrorCode.SASL_AUTHENTICATION_FAILED
        assert wire.is_closed()


def test_who_does_not_log_in_is_not_waited_for(
    users: LocalLogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logstore_server.kafka.session.LOGIN_S_MAX", 0.3)
    with secured(users) as server, logged_in(server) as known, Wire(server.kafka) as silent:
        assert silent.is_closed()
        assert known.ask("api_versions", 0).api_keys  # who has logged in may be silent
