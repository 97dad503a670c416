"""Quotas: as arithmetic, and as time that really passes on a connection."""

from __future__ import annotations

import time
from typing import Any

import pytest

from logstore.api import TopicSpec
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore_server.kafka import throttling
from logstore_server.kafka.throttling import CONSUMER_BYTE_RATE, PRODUCER_BYTE_RATE, Throttle
from tests.server.kafka.secured import ADMIN, add_user, logged_in, secured
from tests.server.kafka.wire import Wire

ANN, LOADER = ("user", "ann"), ("client-id", "t")


def test_a_user_shares_its_quota_between_connections(store: LocalLogStore) -> None:
    store.access.change_quota((ANN,), {PRODUCER_BYTE_RATE: 1000.0})
    now = [0.0]
    throttle = Throttle(store.access, lambda: now[0])
    assert throttle.count("User:ann", "x", PRODUCER_BYTE_RATE, 1000) == 0
    assert throttle.count("User:ann", "y", PRODUCER_BYTE_RATE, 500) == pytest.approx(0.5)
    assert throttle.count("User:ann", "x", CONSUMER_BYTE_RATE, 5000) == 0
    assert throttle.count("User:bob", "x", PRODUCER_BYTE_RATE, 5000) == 0
    now[0] = 0.5
    assert throttle.count("User:ann", "x", PRODUCER_BYTE_RATE, 100) == pytest.approx(0.1)


def test_a_quota_that_changes_counts_anew(store: LocalLogStore) -> None:
    throttle = Throttle(store.access, lambda: 0.0)
    store.access.change_quota((ANN,), {PRODUCER_BYTE_RATE: 10.0})
    assert throttle.count("User:ann", "x", PRODUCER_BYTE_RATE, 100) == pytest.approx(9.0)
    store.access.change_quota((ANN,), {PRODUCER_BYTE_RATE: 1000.0})
    assert throttle.count("User:ann", "x", PRODUCER_BYTE_RATE, 100) == 0
    store.access.change_quota((ANN,), {PRODUCER_BYTE_RATE: None})
    assert not throttle.is_needed


def test_what_is_remembered_is_bounded(
    store: LocalLogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttling, "BUCKETS_MAX", 3)
    store.access.change_quota((("client-id", None),), {PRODUCER_BYTE_RATE: 10.0})
    throttle = Throttle(store.access, lambda: 0.0)
    for number in range(10):
        throttle.count("User:ann", str(number), PRODUCER_BYTE_RATE, 1)
    assert len(throttle._buckets) == 3


def produce(wire: Wire, size: int, acks: int = 1) -> dict[str, Any]:
    data = {"index": 0, "records": encode_batch([bytes(size)])}
    return {
        "acks": acks, "timeout": 1000, "transactional_id": None,
        "topic_data": [{"name": "t", "partition_data": [data]}],
    }  # fmt: skip


def test_a_producer_is_told_and_held_back(store: LocalLogStore, wire: Wire) -> None:
    store.create_topic(TopicSpec("t"))
    store.access.change_quota((LOADER,), {PRODUCER_BYTE_RATE: 20_000.0})
    assert wire.ask("produce", 9, **produce(wire, 1_000)).throttle_time.total_seconds() == 0
    answer = wire.ask("produce", 9, **produce(wire, 29_000))
    told = answer.throttle_time.total_seconds()
    assert 0.4 < told < 0.6
    began = time.monotonic()  # who does not wait is made to
    wire.ask("api_versions", 0)
    assert time.monotonic() - began > 0.9 * told - 0.02


def test_requests_that_were_sent_ahead_have_to_wait(store: LocalLogStore, wire: Wire) -> None:
    """Produce requests overlap; a flood of them gets no further than one at a time."""
    store.create_topic(TopicSpec("t"))
    store.access.change_quota((LOADER,), {PRODUCER_BYTE_RATE: 20_000.0})
    began = time.monotonic()
    for _ in range(6):
        wire.send("produce", 9, **produce(wire, 6_000))
    for _ in range(6):
        wire.receive("produce", 9)
    # 20 kB are free; the last may start when the 30 kB before it are paid for.
    assert 0.45 < time.monotonic() - began < 8


def test_one_that_wants_no_answers_is_held_back_too(store: LocalLogStore, wire: Wire) -> None:
    store.create_topic(TopicSpec("t"))
    store.access.change_quota((LOADER,), {PRODUCER_BYTE_RATE: 20_000.0})
    began = time.monotonic()
    wire.send("produce", 9, **produce(wire, 30_000, acks=0))
    wire.ask("api_versions", 0)
    assert 0.4 < time.monotonic() - began < 5


def test_a_consumer_is_held_back_by_what_it_got(store: LocalLogStore, wire: Wire) -> None:
    store.create_topic(TopicSpec("t"))
    store.append("t", 0, encode_batch([bytes(30_000)])).result(10)
    store.access.change_quota((LOADER,), {CONSUMER_BYTE_RATE: 20_000.0})
    partition = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
    fields: dict[str, Any] = {
        "max_wait": 0, "min_bytes": 0, "replica_id": -1, "forgotten_topics_data": [],
        "topics": [{"topic": "t", "partitions": [partition]}],
    }  # fmt: skip
    answer = wire.ask("fetch", 11, **fields)
    assert 0.4 < answer.throttle_time.total_seconds() < 0.6
    began = time.monotonic()
    wire.ask("api_versions", 0)
    assert time.monotonic() - began > 0.35


def test_others_do_not_notice(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    for name in (ADMIN, "ann"):
        add_user(store, name)
    store.access.change_quota((ANN,), {PRODUCER_BYTE_RATE: 1_000.0})
    settings = {"super_users": f"User:{ADMIN};User:ann"}
    with (
        secured(store, **settings) as server,
        logged_in(server, "ann") as ann,
        logged_in(server) as root,
    ):
        held = ann.ask("produce", 9, **produce(ann, 20_000))
        assert held.throttle_time.total_seconds() > 10
        began = time.monotonic()
        free = root.ask("produce", 9, **produce(root, 20_000))
        assert free.throttle_time.total_seconds() == 0
        assert time.monotonic() - began < 5


def test_a_client_that_leaves_while_held_back_is_forgotten(
    store: LocalLogStore, server: Any
) -> None:
    store.create_topic(TopicSpec("t"))
    store.access.change_quota((LOADER,), {PRODUCER_BYTE_RATE: 1_000.0})
    with Wire(server.kafka) as wire:
        assert wire.ask("produce", 9, **produce(wire, 20_000)).throttle_time.total_seconds() > 10
        wire.send("api_versions", 0)
    began = time.monotonic()
    with Wire(server.kafka) as wire:
        wire.ask("api_versions", 0)
    assert time.monotonic() - began < 5
