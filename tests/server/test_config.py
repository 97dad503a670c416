from __future__ import annotations

from typing import Any

import pytest

from logstore.errors import InvalidConfigError
from logstore_server.config import (
    KafkaSecurityConfig,
    RpcConfig,
    ServerConfig,
    is_endpoint,
    join_address,
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "127.0.0.1:7070"),
        ({"host": "::1"}, "[::1]:7070"),
        ({"host": "0.0.0.0"}, ""),
        ({"rpc": RpcConfig(port=0)}, ""),
        (
            {"host": "0.0.0.0", "advertised_endpoint": "broker.example:17070"},
            "broker.example:17070",
        ),
    ],
)
def test_the_endpoint_that_clients_are_told(fields: dict[str, Any], expected: str) -> None:
    assert ServerConfig("data", **fields).endpoint == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"data_dir": ""},
        {"host": ""},
        {"advertised_endpoint": "no-port"},
        {"worker_threads": 0},
        {"shutdown_grace_ms": -1},
    ],
)
def test_a_bad_value_is_refused(fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(InvalidConfigError, match=name):
        ServerConfig(**({"data_dir": "data"} | fields))


@pytest.mark.parametrize("name", ["port", "message_bytes_max", "streams_max", "wait_ms_max"])
def test_a_bad_limit_names_its_range(name: str) -> None:
    with pytest.raises(InvalidConfigError, match=f"{name}=-1 is not valid: .* from "):
        RpcConfig(**{name: -1})


def test_addresses() -> None:
    assert join_address("a", 1) == "a:1"
    assert [is_endpoint(text) for text in ("a:1", "a", ":1", "a:0", "a:x", "[::1]:80")] == [
        True, False, False, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "protocol"),
    [
        ({}, "PLAINTEXT"),
        ({"sasl_mechanisms": "PLAIN, SCRAM-SHA-256"}, "SASL_PLAINTEXT"),
        ({"tls_certificate": "a", "tls_key": "b"}, "SSL"),
        ({"tls_certificate": "a", "tls_key": "b", "sasl_mechanisms": "PLAIN"}, "SASL_SSL"),
    ],
)
def test_what_kafkas_clients_must_set(fields: dict[str, Any], protocol: str) -> None:
    assert KafkaSecurityConfig(**fields).protocol == protocol


@pytest.mark.parametrize(
    "fields",
    [
        {"tls_certificate": "a"},
        {"tls_client_auth": "perhaps"},
        {"tls_client_auth": "required", "tls_client_ca": "a"},
        {"sasl_mechanisms": "PLAIN,GSSAPI"},
        {"super_users": "root"},
        {"super_users": "User:"},
        {"sasl_session_lifetime_ms": -1},
    ],
)
def test_bad_security_is_refused(fields: dict[str, Any]) -> None:
    name = next(iter(fields))
    with pytest.raises(InvalidConfigError, match=name):
        KafkaSecurityConfig(**fields)


def test_lists_are_read_from_text() -> None:
    config = KafkaSecurityConfig(super_users="User:ann; User:CN=a,O=b", sasl_mechanisms="PLAIN,")
    assert config.supers == ("User:ann", "User:CN=a,O=b")
    assert config.mechanisms == ("PLAIN",)
