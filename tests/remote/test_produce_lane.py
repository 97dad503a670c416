from __future__ import annotations

import threading
import time

import pytest

from logstore.api import Acks, Appended, TopicSpec
from logstore.errors import (
    BatchChecksumError,
    ClientClosedError,
    RequestTooLargeError,
    UnavailableError,
    UnknownTopicError,
)
from logstore.pending import Pending
from logstore.remote import RemoteConfig, RemoteLogStore, connect_store
from logstore_server.config import RpcConfig
from tests.remote.batches import batch, eventually, numbered
from tests.remote.proxy import Proxy
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore


def test_many_in_flight_keep_the_order_of_the_calls(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t", partitions=2))
    sent = [store.append("t", number % 2, numbered(number)) for number in range(500)]
    assert [pending.result(10).base_offset for pending in sent] == [n // 2 for n in range(500)]


def test_each_batch_has_an_outcome_of_its_own(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    spoilt = bytearray(numbered(1))
    spoilt[-1] ^= 1
    good, bad, last = (store.append("t", 0, data) for data in (numbered(0), spoilt, numbered(2)))
    assert (good.result(5).base_offset, last.result(5).base_offset) == (0, 1)
    with pytest.raises(BatchChecksumError):
        bad.result(5)
    with pytest.raises(UnknownTopicError):
        store.append("no", 0, numbered(0)).result(5)


def test_acks_are_passed_on(memory: MemoryStore, memory_server: InProcessServer) -> None:
    store = connect_store(memory_server.address)
    store.create_topic(TopicSpec("t"))
    memory.held = True
    waiting = store.append("t", 0, numbered(0), acks=Acks.ALL)
    assert store.append("t", 0, numbered(1), acks=Acks.LEADER).result(5).base_offset == 1
    assert store.append("t", 0, numbered(2), acks=Acks.NONE).result(5).base_offset == 2
    assert not waiting.done
    memory.release()
    assert waiting.result(5).base_offset == 0
    store.close()


def test_small_batches_travel_together(memory: MemoryStore, memory_server: InProcessServer) -> None:
    store = connect_store(memory_server.address, config=RemoteConfig(append_message_bytes=10_000))
    store.create_topic(TopicSpec("t"))
    sent = [store.append("t", 0, batch(bytes(900))) for _ in range(100)]
    sent.append(store.append("t", 0, batch(bytes(50_000))))  # larger than the message's filling
    assert [pending.result(5).base_offset for pending in sent] == list(range(101))
    store.close()


def append_unanswered(
    store: RemoteLogStore, memory: MemoryStore, count: int, producer_id: int | None
) -> list[Pending[Appended]]:
    store.create_topic(TopicSpec("t"))
    memory.held = True
    sent = [store.append("t", 0, numbered(number, producer_id)) for number in range(count)]
    eventually(lambda: memory.topics["t"][0].end == count)
    return sent


def test_a_broken_stream_loses_and_doubles_nothing_of_an_idempotent_producer(
    through: RemoteLogStore, proxy: Proxy, memory: MemoryStore
) -> None:
    sent = append_unanswered(through, memory, 20, producer_id=7)
    proxy.cut()
    later = [through.append("t", 0, numbered(number, 7)) for number in range(20, 40)]
    eventually(lambda: memory.topics["t"][0].end == 40)
    memory.release()
    answers = [pending.result(10) for pending in sent + later]
    assert [answer.base_offset for answer in answers] == list(range(40))
    assert [answer.duplicate for answer in answers] == [True] * 20 + [False] * 20


def test_without_a_producer_it_says_that_they_may_be_stored(
    through: RemoteLogStore, proxy: Proxy, memory: MemoryStore
) -> None:
    sent = append_unanswered(through, memory, 3, producer_id=None)
    proxy.cut()
    for pending in sent:
        with pytest.raises(UnavailableError, match="may have been stored"):
            pending.result(10)
    memory.release()
    assert through.append("t", 0, numbered(9)).result(10).base_offset == 3


def test_what_was_not_sent_waits_for_the_server_to_be_back(
    through: RemoteLogStore, proxy: Proxy, memory: MemoryStore
) -> None:
    through.create_topic(TopicSpec("t"))
    through.append("t", 0, numbered(0)).result(5)
    proxy.refusing = True
    proxy.cut()
    time.sleep(0.2)
    sent = [through.append("t", 0, numbered(number)) for number in range(1, 10)]
    time.sleep(0.5)
    proxy.refusing = False
    assert [pending.result(10).base_offset for pending in sent] == list(range(1, 10))


def test_a_stopping_server_hands_back_what_it_did_not_take(memory: MemoryStore) -> None:
    """Nothing is lost or stored twice over a restart, producer or not."""
    first = InProcessServer(memory)
    with Proxy(first.address) as proxy:
        store = connect_store(proxy.address)
        store.create_topic(TopicSpec("t"))
        sent = []
        stop = threading.Event()

        def append() -> None:
            number = 0
            while not stop.is_set():
                sent.append(store.append("t", 0, numbered(number)))
                number += 1
                time.sleep(0.0005)

        thread = threading.Thread(target=append)
        thread.start()
        time.sleep(0.3)
        first.close()
        with InProcessServer(memory) as second:
            proxy.target = second.address
            time.sleep(0.5)
            stop.set()
            thread.join()
            offsets = [pending.result(10).base_offset for pending in sent]
        assert offsets == list(range(len(sent)))
        assert memory.topics["t"][0].end == len(sent)
        store.close()


def test_an_endpoint_that_stays_away_fails_them_in_time(proxy: Proxy) -> None:
    store = connect_store(proxy.address, config=RemoteConfig(delivery_timeout_ms=300))
    store.create_topic(TopicSpec("t"))
    store.append("t", 0, numbered(0, 1)).result(5)
    proxy.refusing = True
    proxy.cut()
    time.sleep(0.1)
    started = time.monotonic()
    with pytest.raises(UnavailableError):
        store.append("t", 0, numbered(1, 1)).result(10)
    assert time.monotonic() - started < 4
    proxy.refusing = False
    assert store.append("t", 0, numbered(2, 1)).result(10).base_offset == 1
    store.close()


def test_a_message_that_the_server_does_not_take_fails_and_the_next_goes() -> None:
    rpc = RpcConfig(message_bytes_max=256 * 1024, consume_message_bytes=1024)
    with InProcessServer(MemoryStore(), rpc=rpc) as server:
        store = connect_store(server.address)
        store.create_topic(TopicSpec("t"))
        with pytest.raises(RequestTooLargeError):
            store.append("t", 0, batch(bytes(300 * 1024))).result(10)
        assert store.append("t", 0, numbered(1)).result(10).base_offset == 0
        store.close()


def test_a_server_with_too_many_streams_is_tried_again() -> None:
    memory = MemoryStore()
    with InProcessServer(memory, rpc=RpcConfig(streams_max=1)) as server:
        first, second = connect_store(server.address), connect_store(server.address)
        first.create_topic(TopicSpec("t"))
        first.append("t", 0, numbered(0)).result(5)
        waiting = second.append("t", 0, numbered(1))
        time.sleep(0.2)
        assert not waiting.done
        first.close()
        assert waiting.result(10).base_offset == 1
        second.close()


def test_closing_fails_what_is_unanswered(
    memory: MemoryStore, memory_server: InProcessServer
) -> None:
    store = connect_store(memory_server.address)
    sent = append_unanswered(store, memory, 3, producer_id=None)
    store.close()
    for pending in sent:
        with pytest.raises(ClientClosedError, match="may have been stored"):
            pending.result(1)


def test_a_callback_may_close_the_store(memory_server: InProcessServer) -> None:
    store = connect_store(memory_server.address)
    store.create_topic(TopicSpec("t"))
    closed = threading.Event()

    def close(_: object) -> None:
        store.close()
        closed.set()

    store.append("t", 0, numbered(0)).add_done_callback(close)
    assert closed.wait(5)
