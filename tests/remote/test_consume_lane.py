"""A reader's stream: it resumes, and holds no more than it may. See test_reader for the rest."""

from __future__ import annotations

import threading
import time

import pytest

from logstore.api import TopicSpec
from logstore.errors import RequestTooLargeError
from logstore.remote import RemoteConfig, RemoteLogStore, connect_store
from logstore_server.config import RpcConfig
from tests.remote.batches import batch, numbered, read_values, values_of
from tests.remote.proxy import Proxy
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore


def fill(store: RemoteLogStore, start: int, stop: int, topic: str = "t") -> None:
    sent = [store.append(topic, 0, numbered(number)) for number in range(start, stop)]
    for pending in sent:
        pending.result(10)


def test_it_goes_on_where_it_was_after_the_connection_broke(
    through: RemoteLogStore, proxy: Proxy
) -> None:
    through.create_topic(TopicSpec("t"))
    reader = through.open_reader(bytes_max=300, partition_bytes_max=100)
    reader.set_position("t", 0, 0)
    seen: list[bytes | None] = []
    for number in range(0, 100, 10):
        fill(through, number, number + 10)
        seen += read_values(reader, 3)  # the rest is in the buffer, on its way, or not yet sent
        proxy.cut()
        time.sleep(0.02)
    seen += read_values(reader, 100 - len(seen))
    assert seen == [b"%d" % number for number in range(100)]
    reader.close()


def test_it_finds_a_server_that_was_started_again(memory: MemoryStore) -> None:
    first = InProcessServer(memory)
    with Proxy(first.address) as proxy:
        store = connect_store(proxy.address)
        store.create_topic(TopicSpec("t"))
        reader = store.open_reader(bytes_max=1 << 20, partition_bytes_max=1 << 20)
        reader.set_position("t", 0, 0)
        fill(store, 0, 3)
        assert len(read_values(reader, 3)) == 3
        first.close()
        assert reader.poll(0.2) == []
        with InProcessServer(memory) as second:
            proxy.target = second.address
            fill(store, 3, 6)
            assert read_values(reader, 3) == [b"3", b"4", b"5"]
            store.close()


def test_what_is_read_ahead_is_bounded(memory: MemoryStore, memory_server: InProcessServer) -> None:
    """A user that does not poll is sent no more than its buffer and one batch."""
    store = connect_store(memory_server.address)
    store.create_topic(TopicSpec("t"))
    size = len(batch(bytes(1000)))
    for _ in range(100):
        store.append("t", 0, batch(bytes(1000))).result(5)
    sent = 0
    fetch = memory.fetch

    def counting(positions, **options):
        nonlocal sent
        result = fetch(positions, **options)
        sent += result.size_bytes
        return result

    memory.fetch = counting  # type: ignore[method-assign]
    reader = store.open_reader(bytes_max=5 * size, partition_bytes_max=2 * size)
    reader.set_position("t", 0, 0)
    taken = 0
    while taken < 100:
        time.sleep(0.05)
        assert sent <= taken * size + 5 * size + size
        taken += len(values_of(reader.poll(5)))
    store.close()


def test_a_stream_that_cannot_be_is_every_positions_error() -> None:
    rpc = RpcConfig(message_bytes_max=256 * 1024, consume_message_bytes=256 * 1024 - 70_000)
    with InProcessServer(MemoryStore(), rpc=rpc) as server:
        config = RemoteConfig(message_bytes_max=20_000, append_message_bytes=1_000)
        store = connect_store(server.address, config=config)
        other = connect_store(server.address)
        other.create_topic(TopicSpec("t"))
        other.append("t", 0, batch(bytes(50_000))).result(5)
        reader = store.open_reader(bytes_max=1 << 20, partition_bytes_max=1 << 20)
        reader.set_position("t", 0, 0)
        (item,) = reader.poll(10)
        assert isinstance(item.error, RequestTooLargeError)
        store.close()
        other.close()


def test_a_server_with_too_many_streams_is_tried_again() -> None:
    memory = MemoryStore()
    with InProcessServer(memory, rpc=RpcConfig(streams_max=1)) as server:
        store = connect_store(server.address)
        store.create_topic(TopicSpec("t"))
        memory.append("t", 0, numbered(0))
        first, second = (
            store.open_reader(bytes_max=1000, partition_bytes_max=1000) for _ in range(2)
        )
        first.set_position("t", 0, 0)
        assert read_values(first, 1) == [b"0"]
        second.set_position("t", 0, 0)
        assert second.poll(0.3) == []
        first.close()
        assert read_values(second, 1) == [b"0"]
        store.close()


@pytest.mark.parametrize("closes", ["reader", "store"])
def test_closing_ends_a_poll(memory_server: InProcessServer, closes: str) -> None:
    store = connect_store(memory_server.address)
    store.create_topic(TopicSpec("t"))
    reader = store.open_reader(bytes_max=1000, partition_bytes_max=1000)
    reader.set_position("t", 0, 0)
    timer = threading.Timer(0.2, (reader if closes == "reader" else store).close)
    timer.start()
    started = time.monotonic()
    assert reader.poll(10) == []
    assert time.monotonic() - started < 3
    timer.join()
    store.close()
