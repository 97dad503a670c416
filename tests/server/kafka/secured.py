"""Servers with logins and access rules, and connections that have logged in."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scramp import ScramClient

from logstore.access import make_credential
from logstore.api.access import Acl, CredentialChange, Operation, ResourceType, ScramMechanism
from logstore.store import LocalLogStore
from logstore_server.config import KafkaConfig, KafkaSecurityConfig
from tests.server.in_process import InProcessServer
from tests.server.kafka.wire import Wire

PASSWORD = "sesame"
ADMIN = "root"


def add_user(store: LocalLogStore, name: str, password: str = PASSWORD) -> None:
    store.access.change_credentials(
        [
            CredentialChange(
                name,
                mechanism,
                make_credential(mechanism, password, salt=secrets.token_bytes(16), iterations=4096),
            )
            for mechanism in ScramMechanism
        ]
    )


def allow(
    store: LocalLogStore, user: str, operation: Operation, resource: ResourceType, name: str
) -> None:
    store.access.create_acls(
        [Acl(resource=resource, name=name, principal=f"User:{user}", operation=operation)]
    )


@contextmanager
def secured(store: LocalLogStore, **security: Any) -> Iterator[InProcessServer]:
    """All mechanisms and access rules are on, unless `security` says otherwise."""
    settings: dict[str, Any] = {
        "sasl_mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "authorization": True,
        "super_users": f"User:{ADMIN}",
    }
    config = KafkaConfig(port=0, security=KafkaSecurityConfig(**settings | security))
    with InProcessServer(store, kafka=config) as server:
        yield server


def log_in_plain(wire: Wire, user: str, password: str = PASSWORD) -> Any:
    """The last answer."""
    wire.ask("sasl_handshake", 1, mechanism="PLAIN")
    return wire.ask("sasl_authenticate", 2, auth_bytes=f"\0{user}\0{password}".encode())


def log_in_scram(wire: Wire, mechanism: str, user: str, password: str = PASSWORD) -> Any:
    """The last answer; the server has proved itself too, if it is no error."""
    assert wire.ask("sasl_handshake", 1, mechanism=mechanism).error_code == 0
    client = ScramClient([mechanism], user, password)
    first = wire.ask("sasl_authenticate", 2, auth_bytes=client.get_client_first().encode())
    if first.error_code:
        return first
    client.set_server_first(first.auth_bytes.decode())
    final = wire.ask("sasl_authenticate", 2, auth_bytes=client.get_client_final().encode())
    if not final.error_code:
        client.set_server_final(final.auth_bytes.decode())
    return final


@contextmanager
def logged_in(server: InProcessServer, user: str = ADMIN) -> Iterator[Wire]:
    with Wire(server.kafka) as wire:
        assert log_in_plain(wire, user).error_code == 0
        yield wire
