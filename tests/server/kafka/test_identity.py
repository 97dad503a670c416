"""TLS on the listener: with certificates of a test's own authority."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from logstore.store import LocalLogStore
from logstore_server.config import KafkaSecurityConfig
from logstore_server.kafka.identity import distinguished_name, server_context
from tests.server.in_process import InProcessServer
from tests.server.kafka.secured import ADMIN, add_user, log_in_scram, secured
from tests.server.kafka.wire import Wire


class Authority:
    """Files of a certificate authority, a server and a client."""

    def __init__(self, path: Path) -> None:
        self.authority = trustme.CA()
        server = self.authority.issue_cert("127.0.0.1")
        self.ca, self.certificate, self.key = path / "ca", path / "server", path / "key"
        self.authority.cert_pem.write_to_path(self.ca)
        server.cert_chain_pems[0].write_to_path(self.certificate)
        server.private_key_pem.write_to_path(self.key)

    @property
    def settings(self) -> dict[str, Any]:
        return {"tls_certificate": str(self.certificate), "tls_key": str(self.key)}

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(store: LocalLogStore, authority: Authority) -> Iterator[InProcessServer]:
    add_user(store, ADMIN)
    with secured(store, **authority.settings) as server:
        yield server


def tls_wire(server: InProcessServer, context: ssl.SSLContext) -> Wire:
    wire = Wire(server.kafka)
    wire.socket = context.wrap_socket(wire.socket, server_hostname="127.0.0.1")
    return wire


def test_a_login_over_tls(server: InProcessServer, authority: Authority) -> None:
    with tls_wire(server, authority.context()) as wire:
        assert log_in_scram(wire, "SCRAM-SHA-512", ADMIN).error_code == 0
        answer = wire.ask("metadata", 4, topics=None, allow_auto_topic_creation=False)
        assert answer.brokers


def test_large_answers_come_whole(
    server: InProcessServer, store: LocalLogStore, authority: Authority
) -> None:
    from logstore.api import TopicSpec
    from logstore.record import encode_batch

    store.create_topic(TopicSpec("t"))
    batch = encode_batch([bytes(range(256)) * 4096] * 4)
    store.append("t", 0, batch).result(20)
    with tls_wire(server, authority.context()) as wire:
        log_in_scram(wire, "SCRAM-SHA-256", ADMIN)
        partition = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 8 << 20}
        answer = wire.ask(
            "fetch", 11, max_wait=0, min_bytes=0, replica_id=-1, forgotten_topics_data=[],
            topics=[{"topic": "t", "partitions": [partition]}],
        )  # fmt: skip
        records = answer.responses[0].partitions[0].records
        assert bytes(records)[21:] == bytes(batch)[21:]  # behind what the log patches


def test_who_speaks_plainly_is_closed_and_others_do_not_notice(
    server: InProcessServer, authority: Authority
) -> None:
    with socket.create_connection(server.kafka.split(":"), 20) as plain:  # type: ignore[arg-type]
        plain.sendall(b"\0\0\0\x0a\0\x12\0\0\0\0\0\1\xff\xff")
        assert b"".join(iter(lambda: plain.recv(100), b""))[:1] in (b"", b"\x15")  # an alert
    with tls_wire(server, authority.context()) as wire:
        assert wire.ask("api_versions", 0).api_keys


def test_who_trusts_another_authority_does_not_connect(
    server: InProcessServer, tmp_path: Path
) -> None:
    other = trustme.CA()
    context = ssl.create_default_context()
    other.configure_trust(context)
    with pytest.raises(ssl.SSLCertVerificationError):
        tls_wire(server, context)


def test_a_client_certificate_is_a_name(
    store: LocalLogStore, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    issued = authority.authority.issue_cert(
        "ann@example.org",
        common_name="ann",
        organization_name="Example",
        organization_unit_name="U",
    )
    context = authority.context()
    issued.configure_cert(context)
    settings = authority.settings | {
        "sasl_mechanisms": "",
        "tls_client_ca": str(authority.ca),
        "tls_client_auth": "required",
        "super_users": "User:CN=ann,OU=U,O=Example",
    }
    with secured(store, **settings) as server:
        with tls_wire(server, context) as wire:
            answer = wire.ask("describe_user_scram_credentials", 0, users=None)
            assert answer.error_code == 0
        with (
            pytest.raises((ssl.SSLError, ConnectionError, EOFError)),
            tls_wire(server, authority.context()) as wire,
        ):
            wire.ask("api_versions", 0)


def test_names_are_written_as_kafka_writes_them() -> None:
    subject = (
        (("countryName", "DE"),),
        (("organizationName", "A, B"),),
        (("organizationalUnitName", "#1"), ("emailAddress", "x")),
        (("commonName", " ann "),),
    )
    assert distinguished_name(subject) == r"CN=\ ann\ ,OU=\#1+emailAddress=x,O=A\, B,C=DE"


def test_files_that_are_not_there_are_named(authority: Authority) -> None:
    assert server_context(KafkaSecurityConfig()) is None
    missing = authority.settings | {"tls_key": "nowhere.pem"}
    with pytest.raises(OSError, match=r"nowhere\.pem cannot be used"):
        server_context(KafkaSecurityConfig(**missing))
    wrong = authority.settings | {"tls_client_ca": str(authority.key)}
    with pytest.raises(OSError, match="cannot be used"):
        server_context(KafkaSecurityConfig(**wrong))
