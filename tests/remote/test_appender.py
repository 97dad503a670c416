"""Routing of appends: two servers, of which each knows where a partition is served."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest

from logstore.api import Acks, TopicSpec
from logstore.errors import (
    BufferFullError,
    LogStoreError,
    RequestTooLargeError,
    WrongEndpointError,
)
from logstore.record import decode_records
from logstore.remote import RemoteConfig, RemoteLogStore, connect_store
from logstore.remote.appender import Appender
from logstore.remote.connections import Connections
from logstore.remote.produce_lane import Item
from logstore.remote.routing import Router
from tests.remote.batches import batch, eventually, numbered
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore


@dataclass
class Pair:
    """Topic t, one partition, on both; only `serving` takes it, the other names that one."""

    stores: list[MemoryStore]
    addresses: list[str]
    client: RemoteLogStore
    serving: int = 0
    tells: bool = True

    def refuse(self, number: int) -> LogStoreError | None:
        if number == self.serving:
            return None
        details = {"endpoint": self.addresses[self.serving]} if self.tells else {}
        return WrongEndpointError("served elsewhere", **details)

    def move_to(self, number: int) -> None:
        self.serving = number
        for store in self.stores:
            store.endpoint = self.addresses[number]


@pytest.fixture
def pair() -> Iterator[Pair]:
    stores = [MemoryStore(), MemoryStore()]
    with InProcessServer(stores[0]) as first, InProcessServer(stores[1]) as second:
        client = connect_store(first.address, config=RemoteConfig(redirects_max=3))
        pair = Pair(stores, [first.address, second.address], client)
        for number, store in enumerate(stores):
            store.create_topic(TopicSpec("t"))
            store.refuse = lambda topic, partition, n=number: pair.refuse(n)  # type: ignore[misc]
        pair.move_to(0)
        yield pair
        client.close()


def stored(pair: Pair, number: int) -> int:
    return pair.stores[number].topics["t"][0].end


def numbers(store: MemoryStore) -> list[int]:
    return [
        int(record.value or b"")
        for _, data in store.topics["t"][0].batches
        for record in decode_records(data, decompressed_bytes_max=1 << 20)
    ]


def test_metadata_is_obeyed(pair: Pair) -> None:
    pair.move_to(1)
    pair.client.append("t", 0, numbered(0)).result(5)
    assert (stored(pair, 0), stored(pair, 1)) == (0, 1)


@pytest.mark.parametrize("tells", [True, False])
def test_a_redirect_is_followed_in_order(pair: Pair, tells: bool) -> None:
    """Appends go on while the partition moves there and back; each side has them in order."""
    pair.tells = tells
    sent = []
    for number in range(600):
        sent.append(pair.client.append("t", 0, numbered(number)))
        if number in (200, 400):
            sent[-1].result(10)  # so that each side gets some
            pair.move_to(1 - pair.serving)
        if number % 20 == 0:
            time.sleep(0.001)
    for pending in sent:
        pending.result(10)
    sides = [numbers(store) for store in pair.stores]
    assert sorted(sides[0] + sides[1]) == list(range(600))
    assert sides[0] == sorted(sides[0])
    assert sides[1] == sorted(sides[1])
    assert sides[1]


def test_endpoints_that_send_on_for_ever_are_told(pair: Pair) -> None:
    for number, store in enumerate(pair.stores):
        other = pair.addresses[1 - number]
        store.refuse = lambda topic, partition, at=other: WrongEndpointError(  # type: ignore[misc]
            "over there", endpoint=at
        )
    with pytest.raises(WrongEndpointError):
        pair.client.append("t", 0, numbered(0)).result(10)
    pair.stores[0].refuse = pair.stores[1].refuse = lambda topic, partition: None
    pair.client.append("t", 0, numbered(1)).result(10)


def test_a_batch_over_the_message_limit_is_not_sent(pair: Pair) -> None:
    client = connect_store(pair.addresses[0], config=RemoteConfig(message_bytes_max=2 << 20))
    with pytest.raises(RequestTooLargeError):
        client.append("t", 0, batch(bytes(3 << 20))).result(1)
    client.close()


def test_bytes_in_flight_are_bounded(pair: Pair) -> None:
    config = RemoteConfig(append_bytes_in_flight_max=10_000)
    client = connect_store(pair.addresses[0], config=config)
    store = pair.stores[0]
    store.held = True
    large = client.append("t", 0, batch(bytes(20_000)))  # one is always let through
    with pytest.raises(BufferFullError):
        client.append("t", 0, batch(bytes(100))).result(1)
    eventually(lambda: store.topics["t"][0].end == 1)
    store.release()
    large.result(5)
    small = [client.append("t", 0, batch(bytes(100))) for _ in range(40)]
    assert [pending.result(5).base_offset for pending in small] == list(range(1, 41))
    client.close()


class RecordingLane:
    """In the place of ProduceLane: the test says what becomes of its items."""

    opened: ClassVar[dict[str, RecordingLane]] = {}

    def __init__(self, endpoint: str, connections: object, settle: object) -> None:
        self.items: list[Item] = []
        self.opened[endpoint] = self

    def enqueue(self, items: list[Item]) -> None:
        self.items += items

    def close(self) -> None: ...


def test_a_partition_moves_when_its_old_endpoint_has_answered_all(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logstore.remote.appender.ProduceLane", RecordingLane)
    connections = Connections(RemoteConfig())
    appender = Appender(connections, Router(connections, [pair.addresses[0]]))
    sent = [appender.append("t", 0, numbered(number), Acks.ALL) for number in range(2)]
    old = RecordingLane.opened[pair.addresses[0]]
    first, second = old.items

    def refuse(item: Item) -> None:
        item.error = WrongEndpointError("not here", endpoint="new:1")
        appender._settle([item])

    refuse(first)
    sent.append(appender.append("t", 0, numbered(2), Acks.ALL))
    assert (len(old.items), list(RecordingLane.opened)) == (2, [pair.addresses[0]])
    refuse(second)
    new = RecordingLane.opened["new:1"].items
    assert new[:2] == [first, second]
    assert [item.pending for item in new] == sent
    sent.append(appender.append("t", 0, numbered(3), Acks.ALL))
    assert [item.pending for item in RecordingLane.opened["new:1"].items] == sent
    connections.close()
