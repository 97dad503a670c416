"""A real server process: fast to answer, small, and orderly at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from logstore.store import LocalLogStore
from logstore.v1 import produce_service_pb2 as produce
from logstore.v1 import store_service_pb2 as store
from tests.server.rpc.stubs import TIMEOUT, Requests, Stubs, batch

FIRST_ANSWER_S_MAX = 0.5
IDLE_MIB_MAX = 80


@contextmanager
def process(data: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [
        sys.executable,
        "-m",
        "logstore_server",
        "serve",
        str(data),
        "--port",
        "0",
        "--kafka-port",
        "0",
    ]
    server = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"(127\.0\.0\.1:\d+)", line)
        assert found, line
        yield server, found[1]
    finally:
        server.kill()
        server.communicate()


def test_the_first_answer_comes_soon_and_an_idle_server_is_small(tmp_path: Path) -> None:
    """The best of a few starts: the machine may be busy with other tests."""
    best_s = 10.0
    for number in range(6):
        started = time.monotonic()
        with process(tmp_path / str(number)) as (server, address), Stubs(address) as stubs:
            stubs.store.DescribeStore(store.DescribeStoreRequest(), timeout=TIMEOUT)
            best_s = min(best_s, time.monotonic() - started)
            status = Path(f"/proc/{server.pid}/status")
            if status.exists():
                resident = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
                assert resident is not None
                assert int(resident[1]) < IDLE_MIB_MAX * 1024
        if best_s < FIRST_ANSWER_S_MAX:
            break
    assert best_s < FIRST_ANSWER_S_MAX


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_answers_what_it_took_and_is_marked_clean(
    tmp_path: Path, how: signal.Signals
) -> None:
    data = tmp_path / "data"
    with process(data) as (server, address), Stubs(address) as stubs:
        stubs.create("t", 4)
        count = 400
        stream = Requests()
        for number in range(count):
            item = produce.ProduceStreamBatch(
                correlation_id=number, topic="t", partition=number % 4, batch=batch(bytes(5000))
            )
            stream.send(produce.ProduceStreamRequest(batches=[item]))
        results = stubs.produce.ProduceStream(iter(stream), timeout=TIMEOUT)
        answered = [result.correlation_id for result in next(results).results]
        os.kill(server.pid, how)
        with pytest.raises(grpc.RpcError) as caught:  # noqa: PT012
            for answer in results:
                answered += [result.correlation_id for result in answer.results]
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert server.wait(TIMEOUT) == 0
        stream.end()
    opened = LocalLogStore.open(str(data))
    try:
        assert opened.recovery_notes == []
        (topic,) = opened.describe_topics(["t"])
        assert sum(item.high_watermark for item in topic.partitions) == len(answered)
        assert {item.leader_epoch for item in topic.partitions} == {0}  # no unclean end since
    finally:
        opened.close()


def test_an_idle_server_stops_at_once(tmp_path: Path) -> None:
    with process(tmp_path / "data") as (server, _):
        started = time.monotonic()
        server.terminate()
        assert server.wait(TIMEOUT) == 0
        assert time.monotonic() - started < 2


def test_a_second_server_on_the_directory_says_why_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with process(data):
        command = [
            sys.executable,
            "-m",
            "logstore_server",
            "serve",
            str(data),
            "--port",
            "0",
            "--kafka-port",
            "0",
        ]
        second = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        assert second.returncode != 0
        assert "another process" in second.stderr.lower()
        assert "Traceback" not in second.stderr


def test_a_second_server_on_the_port_says_why_not(tmp_path: Path) -> None:
    with process(tmp_path / "a") as (_, address):
        port = address.rpartition(":")[2]
        command = [
            sys.executable,
            "-m",
            "logstore_server",
            "serve",
            str(tmp_path / "b"),
            "--no-kafka",
        ]
        second = subprocess.run(
            [*command, "--port", port], capture_output=True, text=True, timeout=TIMEOUT
        )
        assert second.returncode != 0
        assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
        assert "Traceback" not in second.stderr
