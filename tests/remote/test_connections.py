from __future__ import annotations

import random
import threading
import time

import pytest

from logstore.api import TopicSpec
from logstore.errors import (
    ClientClosedError,
    InvalidRequestError,
    RequestTimeoutError,
    UnavailableError,
)
from logstore.remote import RemoteConfig, RemoteLogStore, connect_store
from logstore.remote.connections import Connections
from tests.remote.proxy import Proxy
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore
from tests.support.tcp_proxy import Proxy as FreezingProxy

NOBODY = "127.0.0.1:1"


def test_nobody_there_is_told_in_time() -> None:
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=NOBODY):
        connect_store(NOBODY, config=RemoteConfig(connect_timeout_ms=300))
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("endpoint", ["", "localhost", "localhost:", ":7070", "a:1,b", "a:99999"])
def test_what_is_no_endpoint_is_refused_at_once(endpoint: str) -> None:
    with pytest.raises(InvalidRequestError):
        connect_store(endpoint)


def test_it_waits_for_a_server_that_starts(memory: MemoryStore) -> None:
    with Proxy(NOBODY) as proxy:
        servers = []

        def start() -> None:
            servers.append(InProcessServer(memory))
            proxy.target = servers[0].address

        timer = threading.Timer(0.5, start)
        timer.start()
        store = connect_store(proxy.address)
        timer.join()
        store.create_topic(TopicSpec("t"))
        store.close()
        servers[0].close()


def test_calls_that_may_be_made_twice_survive_a_broken_connection(
    through: RemoteLogStore, proxy: Proxy
) -> None:
    proxy.refusing = True
    proxy.cut()
    timer = threading.Timer(0.4, lambda: setattr(proxy, "refusing", False))
    timer.start()
    assert through.describe_store().cluster_id == "memory"
    timer.join()


def test_calls_that_may_not_are_told_as_failed(through: RemoteLogStore, proxy: Proxy) -> None:
    proxy.refusing = True
    proxy.cut()
    time.sleep(0.1)
    with pytest.raises(UnavailableError):
        through.create_topic(TopicSpec("t"))


def test_no_answer_is_a_timeout(proxy: Proxy) -> None:
    store = connect_store(proxy.address, config=RemoteConfig(request_timeout_ms=300))
    proxy.stalled_upstream.set()
    started = time.monotonic()
    with pytest.raises(RequestTimeoutError):
        store.describe_store()
    assert time.monotonic() - started < 2
    store.close()


def test_backoff_doubles_within_its_bounds() -> None:
    config = RemoteConfig(backoff_ms_min=10, backoff_ms_max=100)
    connections = Connections(config, random.Random(1))
    for tries, full_s in enumerate([0.01, 0.02, 0.04, 0.08, 0.1, 0.1]):
        for _ in range(20):
            assert full_s / 2 <= connections.backoff_s(tries) <= full_s
    assert connections.backoff_s(10_000) <= 0.1
    connections.close()


def test_a_closed_store_says_so(server: InProcessServer) -> None:
    store = connect_store(server.address)
    store.close()
    store.close()
    with pytest.raises(ClientClosedError):
        store.describe_store()
    with pytest.raises(ClientClosedError):
        store.open_reader(bytes_max=1, partition_bytes_max=1)
    with pytest.raises(ClientClosedError):
        store.append("t", 0, b"").result(1)
    with pytest.raises(ClientClosedError):
        store.commit_offsets("g", []).result(1)


def test_closing_ends_calls_that_wait(memory: MemoryStore) -> None:
    config = RemoteConfig(backoff_ms_min=5_000, backoff_ms_max=5_000)
    with InProcessServer(memory) as server:
        store = connect_store(server.address, config=config)
    failures: list[Exception] = []

    def ask() -> None:
        try:
            store.describe_store()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    store.close()
    thread.join(3)
    assert isinstance(failures[0], ClientClosedError | UnavailableError)


def test_stores_of_one_process_have_connections_of_their_own(server: InProcessServer) -> None:
    first, second = connect_store(server.address), connect_store(server.address)
    first.close()
    assert second.describe_store().cluster_id
    second.close()


def test_a_connection_nobody_answers_on_is_given_up(memory_server: InProcessServer) -> None:
    config = RemoteConfig(keepalive_time_ms=1_000, keepalive_timeout_ms=1_000)
    with FreezingProxy(memory_server.address) as proxy:
        store = connect_store(proxy.address, config=config)
        store.create_topic(TopicSpec("t"))
        assert proxy.freeze() == 1
        started = time.monotonic()
        assert store.describe_topics(["t"])  # over a new connection
        assert time.monotonic() - started < 10
        store.close()
