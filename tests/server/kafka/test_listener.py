from __future__ import annotations

import socket
import struct

import pytest

from logstore_server.config import KafkaConfig
from tests.server.in_process import InProcessServer
from tests.server.kafka.wire import Wire, answers, raw_request, request_bytes


def test_requests_are_answered_in_their_order(wire: Wire) -> None:
    wire.socket.sendall(
        b"".join(request_bytes("metadata", 1, {"topics": None}, correlation_id=n) for n in range(9))
    )
    assert [wire.receive("metadata", 1)[0] for _ in range(9)] == list(range(9))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"\xff" * 64,
        bytes(64),
        struct.pack(">i", 2**31 - 1),
        struct.pack(">i", -5),
        raw_request(3, 9999, b""),
        raw_request(12345, 0, b""),
        raw_request(0, 2, bytes(40)),
        raw_request(3, 12, b""),  # cut short
        raw_request(3, 1, b"\x7f\xff\xff\xff"),  # two billion topics
        raw_request(3, 12, b"\0\xff\xff\xff\xff\x07"),
        raw_request(1, 12, b"\0" * 20 + b"\xff\xff\xff\xff\x07"),
        struct.pack(">ihhih", 10, 3, 1, 7, 32767),  # a client id that is not there
    ],
)
def test_what_is_no_request_closes_its_connection_and_no_other(
    server: InProcessServer, wire: Wire, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with Wire(server.kafka) as bad:
        bad.socket.sendall(data)
        assert bad.is_closed()
    assert wire.ask("metadata", 1, topics=None).brokers
    assert answers(server.kafka)
    assert len([one for one in caplog.messages if "is closed" in one]) == 1


def test_a_client_that_goes_in_the_middle_of_a_frame_harms_nobody(server: InProcessServer) -> None:
    with Wire(server.kafka) as bad:
        bad.socket.sendall(request_bytes("metadata", 1, {"topics": None})[:-2])
    assert answers(server.kafka)


def test_what_was_sent_before_the_end_is_answered(wire: Wire) -> None:
    wire.send("metadata", 1, topics=None)
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.receive("metadata", 1)[1].brokers
    assert wire.is_closed()


def test_more_connections_than_allowed_are_closed(store) -> None:
    with (
        InProcessServer(store, kafka=KafkaConfig(port=0, connections_max=1)) as server,
        Wire(server.kafka) as first,
    ):
        assert first.ask("api_versions", 0).api_keys
        with Wire(server.kafka) as second:
            assert second.is_closed()
        assert first.ask("api_versions", 0).api_keys


def test_the_address_that_clients_are_told(store) -> None:
    config = KafkaConfig(port=0, advertised_host="broker.example", advertised_port=19092)
    with InProcessServer(store, kafka=config) as server, Wire(server.kafka) as wire:
        (broker,) = wire.ask("metadata", 1, topics=[]).brokers
        assert (broker.host, broker.port) == ("broker.example", 19092)


def test_a_port_that_is_taken_is_told(server: InProcessServer, store) -> None:
    port = int(server.kafka.rpartition(":")[2])
    with pytest.raises(OSError, match=rf"cannot listen on 127.0.0.1:{port} .* --kafka-port"):
        InProcessServer(store, kafka=KafkaConfig(port=port))


def test_an_idle_client_does_not_hold_up_the_end(store) -> None:
    server = InProcessServer(store, kafka=KafkaConfig(port=0))
    with Wire(server.kafka) as wire:
        assert wire.ask("api_versions", 0).api_keys
        server.close()
        assert wire.is_closed()
