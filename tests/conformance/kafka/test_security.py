"""Logins, TLS, access rules, users and quotas, by clients that nobody here wrote."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError as PyKafkaError

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from tests.server.in_process import InProcessServer
from tests.server.kafka.secured import ADMIN, PASSWORD, add_user, secured

WAIT_S = 30


class Files:
    def __init__(self, path: Path) -> None:
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("127.0.0.1", "localhost")
        self.ca, self.certificate, self.key = (str(path / name) for name in ("ca", "cert", "key"))
        self.authority.cert_pem.write_to_path(self.ca)
        issued.cert_chain_pems[0].write_to_path(self.certificate)
        issued.private_key_pem.write_to_path(self.key)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalLogStore]:
    store = LocalLogStore.open(str(tmp_path / "data"))
    add_user(store, ADMIN)
    add_user(store, "ann")
    store.create_topic(TopicSpec("t"))
    yield store
    store.close()


@pytest.fixture
def server(store: LocalLogStore, files: Files) -> Iterator[InProcessServer]:
    with secured(store, tls_certificate=files.certificate, tls_key=files.key) as server:
        yield server


def confluent(
    server: InProcessServer, files: Files, mechanism: str, user: Any = ADMIN, **more: Any
) -> dict[str, Any]:
    return {
        "bootstrap.servers": server.kafka,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": files.ca,
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": PASSWORD,
        **more,
    }


def kafka_python(
    server: InProcessServer, files: Files, mechanism: str, user: Any = ADMIN, **more: Any
) -> dict[str, Any]:
    return {
        "bootstrap_servers": server.kafka,
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=files.ca),
        "sasl_mechanism": mechanism,
        "sasl_plain_username": user,
        "sasl_plain_password": PASSWORD,
        **more,
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_confluent_kafka_logs_in(server: InProcessServer, files: Files, mechanism: str) -> None:
    settings = confluent(server, files, mechanism)
    errors: list[Any] = []
    producer = Producer(settings)
    producer.produce("t", b"v", on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(WAIT_S) == 0
    assert errors == [None]
    metadata = AdminClient(settings).list_topics(timeout=WAIT_S)
    assert "t" in metadata.topics


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_kafka_python_logs_in(server: InProcessServer, files: Files, mechanism: str) -> None:
    producer = KafkaProducer(**kafka_python(server, files, mechanism))
    try:
        assert producer.send("t", b"v").get(WAIT_S).offset == 0
    finally:
        producer.close()


def test_a_wrong_password_is_told(server: InProcessServer, files: Files) -> None:
    told: list[KafkaError] = []
    settings = confluent(
        server, files, "SCRAM-SHA-512", **{"sasl.password": "guess", "error_cb": told.append}
    )
    client = AdminClient(settings)
    deadline = time.monotonic() + WAIT_S
    while not told and time.monotonic() < deadline:
        client.poll(0.1)
    assert any(error.code() == KafkaError._AUTHENTICATION for error in told)
    with pytest.raises(PyKafkaError):
        KafkaAdminClient(
            **kafka_python(server, files, "PLAIN", sasl_plain_password="guess"),
            request_timeout_ms=4000,
        )


def test_access_rules_decide_who_may_write(server: InProcessServer, files: Files) -> None:
    admin = AdminClient(confluent(server, files, "SCRAM-SHA-512"))

    def tried() -> Any:
        producer = Producer(confluent(server, files, "SCRAM-SHA-512", "ann"))
        found: list[Any] = []
        producer.produce("t", b"v", on_delivery=lambda error, _: found.append(error))
        producer.flush(WAIT_S)
        return found[0] and found[0].code()

    assert tried() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    rule = AclBinding(
        ResourceType.TOPIC, "t", ResourcePatternType.LITERAL, "User:ann", "*",
        AclOperation.WRITE, AclPermissionType.ALLOW,
    )  # fmt: skip
    for future in admin.create_acls([rule]).values():
        future.result(WAIT_S)
    any_text: Any = None
    everything = AclBindingFilter(
        ResourceType.ANY, any_text, ResourcePatternType.ANY, any_text, any_text,
        AclOperation.ANY, AclPermissionType.ANY,
    )  # fmt: skip
    assert admin.describe_acls(everything).result(WAIT_S) == [rule]
    assert tried() is None
    forbidden = AdminClient(confluent(server, files, "PLAIN", "ann"))
    refused = forbidden.create_topics([NewTopic("new", 1, 1)])["new"]
    with pytest.raises(KafkaException):
        refused.result(WAIT_S)
    for future in admin.delete_acls([everything]).values():
        assert future.result(WAIT_S) == [rule]
    assert tried() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_users_are_made_by_clients(server: InProcessServer, files: Files) -> None:
    admin = AdminClient(confluent(server, files, "PLAIN"))
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 8192)
    made = UserScramCredentialUpsertion("eve", info, b"a new secret")
    for future in admin.alter_user_scram_credentials([made]).values():
        future.result(WAIT_S)
    describing: Any = admin.describe_user_scram_credentials(["eve"])
    described = describing["eve"].result(WAIT_S)
    assert [(one.mechanism, one.iterations) for one in described.scram_credential_infos] == [
        (ScramMechanism.SCRAM_SHA_256, 8192)
    ]
    settings = confluent(server, files, "SCRAM-SHA-256", "eve", **{"sasl.password": "a new secret"})
    assert AdminClient(settings).list_topics(timeout=WAIT_S).brokers
    gone = UserScramCredentialDeletion("eve", ScramMechanism.SCRAM_SHA_256)
    for future in admin.alter_user_scram_credentials([gone]).values():
        future.result(WAIT_S)
    with pytest.raises(KafkaException):
        AdminClient(settings).list_topics(timeout=3)


def test_a_login_is_renewed_while_a_client_works(store: LocalLogStore, files: Files) -> None:
    """confluent-kafka renews its login before the time that the server told is over (KIP-368)."""
    with secured(
        store,
        tls_certificate=files.certificate,
        tls_key=files.key,
        sasl_session_lifetime_ms=2_000,
    ) as server:
        told: list[KafkaError] = []
        settings = confluent(server, files, "SCRAM-SHA-256", error_cb=told.append)
        producer = Producer(settings)
        failed: list[Any] = []
        until = time.monotonic() + 5
        while time.monotonic() < until:
            producer.produce("t", b"v", on_delivery=lambda error, _: failed.append(error))
            producer.flush(WAIT_S)
        assert set(failed) == {None}
        assert not [error for error in told if error.code() == KafkaError._AUTHENTICATION]


def test_a_client_certificate_is_a_login(
    store: LocalLogStore, files: Files, tmp_path: Path
) -> None:
    issued = files.authority.issue_cert("ann@example.org", common_name="ann")
    certificate, key = str(tmp_path / "client"), str(tmp_path / "client-key")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    with secured(
        store,
        tls_certificate=files.certificate,
        tls_key=files.key,
        tls_client_ca=files.ca,
        tls_client_auth="required",
        sasl_mechanisms="",
        allow_everyone_if_no_acl_found=True,
    ) as server:
        settings: dict[str, Any] = {
            "bootstrap.servers": server.kafka,
            "security.protocol": "SSL",
            "ssl.ca.location": files.ca,
            "ssl.certificate.location": certificate,
            "ssl.key.location": key,
        }
        assert "t" in AdminClient(settings).list_topics(timeout=WAIT_S).topics


def test_a_quota_holds_a_producer_back(server: InProcessServer, files: Files, store: Any) -> None:
    store.access.change_quota((("user", ADMIN),), {"producer_byte_rate": 100_000.0})
    producer = Producer(confluent(server, files, "PLAIN", **{"batch.size": 20_000}))
    began = time.monotonic()
    for _ in range(300):
        producer.produce("t", bytes(1000))
    assert producer.flush(WAIT_S) == 0
    assert 1.5 < time.monotonic() - began < 20  # 300 kB, of which 100 kB are free


def test_a_consumer_reads_over_tls(server: InProcessServer, files: Files) -> None:
    producer = Producer(confluent(server, files, "PLAIN", **{"message.max.bytes": 4 << 20}))
    values = [bytes([number]) * (1 << 19) for number in range(8)]
    for value in values:
        producer.produce("t", value)
    assert producer.flush(WAIT_S) == 0
    settings = confluent(server, files, "PLAIN", **{"group.id": "g", "enable.auto.commit": False})
    consumer = Consumer(settings)
    try:
        from confluent_kafka import TopicPartition

        consumer.assign([TopicPartition("t", 0, 0)])
        found: list[Any] = []
        deadline = time.monotonic() + WAIT_S
        while len(found) < len(values) and time.monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                found.append(message.value())
        assert found == values
    finally:
        consumer.close()
