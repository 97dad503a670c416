from __future__ import annotations

import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from logstore.v1 import produce_service_pb2 as produce
from logstore.v1 import store_service_pb2 as store
from logstore_server.config import RpcConfig
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore
from tests.server.rpc.stubs import TIMEOUT, Requests, Stubs, batch, refused
from tests.support.tcp_proxy import Proxy


@pytest.mark.parametrize("name", ["", "logstore.v1.ProduceService", "logstore.v1.GroupService"])
def test_health(memory_stubs: Stubs, name: str) -> None:
    stub = health_pb2_grpc.HealthStub(memory_stubs.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_stopping_server_says_that_it_is_not_healthy(memory: MemoryStore) -> None:
    with InProcessServer(memory) as server, Stubs(server.address) as stubs:
        stub = health_pb2_grpc.HealthStub(stubs.channel)
        states = stub.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        assert next(states).status == health_pb2.HealthCheckResponse.SERVING
        server.begin_stop()
        assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
        states.cancel()


def test_reflection_tells_every_service(memory_stubs: Stubs) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(memory_stubs.channel)
    ask = reflection_pb2.ServerReflectionRequest
    answers = stub.ServerReflectionInfo(
        iter([ask(list_services=""), ask(file_containing_symbol="logstore.v1.Record")]),
        timeout=TIMEOUT,
    )
    names = {service.name for service in next(answers).list_services_response.service}
    assert names >= {
        f"logstore.v1.{name}Service" for name in ("Store", "Topic", "Produce", "Consume", "Group")
    }
    assert names >= {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert next(answers).file_descriptor_response.file_descriptor_proto


def test_a_stopping_server_finishes_what_is_in_flight(memory: MemoryStore) -> None:
    with InProcessServer(memory) as server, Stubs(server.address) as stubs:
        stubs.create("t")
        memory.held = True
        request = produce.ProduceRequest(topic="t", batch=batch(b"x"))
        call = stubs.produce.Produce.future(request, timeout=TIMEOUT)
        while not memory.topics["t"][0].end:
            time.sleep(0.01)
        server.begin_stop()
        time.sleep(0.2)
        memory.release()
        assert call.result().last_offset == 0


def test_the_grace_is_kept(memory: MemoryStore) -> None:
    """A call that does not end is cancelled when the grace is over."""
    server = InProcessServer(memory, grace_ms=300)
    with Stubs(server.address) as stubs:
        stubs.create("t")
        memory.held = True
        request = produce.ProduceRequest(topic="t", batch=batch(b"x"))
        call = stubs.produce.Produce.future(request, timeout=TIMEOUT)
        while not memory.topics["t"][0].end:
            time.sleep(0.01)
        started = time.monotonic()
        server.close()
        assert 0.2 < time.monotonic() - started < 4
        assert call.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


def test_a_port_that_is_taken_is_a_clear_error(memory: MemoryStore) -> None:
    with InProcessServer(memory) as server:
        port = int(server.address.rpartition(":")[2])
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            InProcessServer(memory, port=port)


def test_a_message_over_the_limit_is_refused_and_the_connection_lives() -> None:
    rpc = RpcConfig(message_bytes_max=256 * 1024, consume_message_bytes=1024)
    with InProcessServer(MemoryStore(), rpc=rpc) as server, Stubs(server.address) as stubs:
        stubs.create("t")
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        request = produce.ProduceRequest(topic="t", batch=bytes(300 * 1024))
        assert refused(stubs.produce.Produce, request) == (code, "")
        item = produce.ProduceStreamBatch(topic="t", batch=bytes(300 * 1024))
        stream = Requests(produce.ProduceStreamRequest(batches=[item]))
        assert refused(stubs.produce.ProduceStream, iter(stream)) == (code, "")
        assert stubs.append("t", b"fits").base_offset == 0


def test_calls_beyond_the_limit_are_refused() -> None:
    memory = MemoryStore()
    with (
        InProcessServer(memory, rpc=RpcConfig(calls_max=2)) as server,
        Stubs(server.address) as stubs,
    ):
        stubs.create("t")
        memory.held = True
        request = produce.ProduceRequest(topic="t", batch=batch(b"x"))
        calls = [stubs.produce.Produce.future(request, timeout=TIMEOUT) for _ in range(2)]
        while memory.topics["t"][0].end < 2:
            time.sleep(0.01)
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused(stubs.store.DescribeStore, store.DescribeStoreRequest()) == (code, "")
        memory.release()
        assert [call.result().base_offset for call in calls] == [0, 1]


def test_a_client_that_pings_too_often_is_sent_away(memory: MemoryStore) -> None:
    rpc = RpcConfig(client_ping_interval_ms_min=60_000)
    options = [("grpc.keepalive_time_ms", 100), ("grpc.http2.max_pings_without_data", 0)]
    with InProcessServer(memory, rpc=rpc) as server, Stubs(server.address, options) as stubs:
        stubs.create("t")
        memory.held = True
        request = produce.ProduceRequest(topic="t", batch=batch(b"x"))
        with pytest.raises(grpc.RpcError) as caught:
            stubs.produce.Produce(request, timeout=60)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "pings" in str(caught.value.details())
        with Stubs(server.address) as other:
            memory.release()
            assert other.append("t", b"y").base_offset == 1


def test_a_deadline_ends_the_call_and_the_server_goes_on(
    memory: MemoryStore, memory_stubs: Stubs
) -> None:
    memory_stubs.create("t")
    memory.held = True
    request = produce.ProduceRequest(topic="t", batch=batch(b"x"))
    code = grpc.StatusCode.DEADLINE_EXCEEDED
    assert refused(memory_stubs.produce.Produce, request, timeout=0.2) == (code, "")
    threading.Timer(0.1, memory.release).start()
    assert memory_stubs.append("t", b"y").base_offset == 1  # the first one was stored all the same


def test_a_client_that_does_not_answer_is_let_go(memory: MemoryStore) -> None:
    rpc = RpcConfig(keepalive_time_ms=1_000, keepalive_timeout_ms=1_000)
    with (
        InProcessServer(memory, rpc=rpc) as server,
        Proxy(server.address) as proxy,
        Stubs(proxy.address) as stubs,
    ):
        stubs.create("t")
        assert proxy.freeze() == proxy.held() == 1
        deadline = time.monotonic() + 15
        while proxy.held():
            assert time.monotonic() < deadline, "the server still holds its connection"
            time.sleep(0.05)
