"""What a session does with a client that is slow, or gone, or many requests ahead."""

from __future__ import annotations

import gc
import socket
import struct

from logstore_server.config import KafkaConfig
from tests.server.in_process import InProcessServer
from tests.server.kafka.wire import Wire, answers, request_bytes


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
