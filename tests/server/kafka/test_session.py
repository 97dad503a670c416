"""What a session does with a client that is slow, or gone, or many requests ahead."""

from __future__ import annotations

import gc
import socket
import struct
import time
from typing import Any

import pytest

from logstore.api import TopicSpec
from logstore.record import encode_batch
from logstore_server.config import KafkaConfig
from tests.server.in_process import InProcessServer
from tests.server.kafka.wire import Wire, answers, request_bytes

LARGE_FETCH: dict[str, Any] = {
    "replica_id": -1,
    "max_wait": 0,
    "min_bytes": 1,
    "max_bytes": 1 << 26,
    "isolation_level": 0,
    "topics": [
        {
            "topic": "large",
            "partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 26}],
        }
    ],
}


def fill(store) -> None:
    store.create_topic(TopicSpec("large"))
    for _ in range(20):
        store.append("large", 0, encode_batch([bytes(900_000)])).result(10)


def test_a_flood_whose_answers_are_not_read_stops_the_client_not_the_server(store) -> None:
    config = KafkaConfig(port=0, requests_in_flight_max=8)
    with InProcessServer(store, kafka=config) as server, Wire(server.kafka) as flood:
        flood.socket.settimeout(1.0)
        one = request_bytes("metadata", 1, {"topics": None}) * 1_000
        sent = 0
        try:
            while sent < 1 << 28:
                sent += flood.socket.send(one)
        except TimeoutError:
            pass
        assert sent < 1 << 28
        assert answers(server.kafka)


def test_clients_that_leave_with_their_request_leave_no_handler_behind(server, store) -> None:
    """A handler that had not begun must not be reported as never awaited: warnings are errors."""
    with Wire(server.kafka) as wire:
        wire.ask("init_producer_id", 4, transactional_id=None, transaction_timeout=1)
    one = request_bytes("init_producer_id", 4, {"transactional_id": None, "transaction_timeout": 1})
    for _ in range(50):
        with Wire(server.kafka) as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.socket.sendall(one * 20)
    assert answers(server.kafka)
    gc.collect()


def test_a_connection_on_which_nothing_moves_is_closed(store) -> None:
    """One that said nothing, one that was answered, one in the middle of a frame, one that does not
    read its answer; not one that asks now and then."""
    fill(store)
    config = KafkaConfig(port=0, connections_idle_ms=1_000)
    with InProcessServer(store, kafka=config) as server:
        silent, answered, begun, slow, busy = wires = [Wire(server.kafka) for _ in range(5)]
        answered.ask("api_versions", 0)
        begun.socket.sendall(b"\0\0\1\0half")
        slow.send("fetch", 4, **LARGE_FETCH)
        started = time.monotonic()
        while time.monotonic() < started + 2.5:
            assert busy.ask("api_versions", 0).api_keys
        assert silent.is_closed()
        assert answered.is_closed()
        assert begun.is_closed()
        with pytest.raises((EOFError, ConnectionResetError)):
            slow.receive_frame()
        assert busy.ask("api_versions", 0).api_keys
        for wire in wires:
            wire.close()


def test_who_waits_for_the_server_or_reads_slowly_is_not_idle(store) -> None:
    fill(store)
    config = KafkaConfig(port=0, connections_idle_ms=1_000)
    with (
        InProcessServer(store, kafka=config) as server,
        Wire(server.kafka) as waiting,
        Wire(server.kafka) as slow,
    ):
        waiting.send("fetch", 4, **LARGE_FETCH | {"max_wait": 2_500, "min_bytes": 1 << 30})
        slow.send("fetch", 4, **LARGE_FETCH)
        left = int.from_bytes(slow.socket.recv(4), "big")
        started = time.monotonic()
        while left:
            is_slow = time.monotonic() < started + 2.5
            piece = slow.socket.recv(min(left, 1 << 17 if is_slow else 1 << 20))
            assert piece
            left -= len(piece)
            time.sleep(0.02 if is_slow else 0)  # as slow a reader as this
        assert slow.ask("api_versions", 0).api_keys
        _, answer = waiting.receive("fetch", 4)
        assert answer.responses
