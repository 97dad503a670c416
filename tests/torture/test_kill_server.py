"""Ten SIGKILLs of the server under four producers and a consumer group, then every claim checked.

What is acknowledged is there at its offset, with its bytes, once. No offset is used twice. The
group goes on from what it committed, and what it committed never moves backwards.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import logstore
from logstore.errors import LogStoreError
from tests.support.server_process import ServerProcess

TOPIC = "events"
PARTITIONS = 3
PRODUCERS = 4
KILLS = 10
EXPECTED_REASONS = {"UNKNOWN_MEMBER", "FENCED_MEMBER", "STALE_MEMBER_EPOCH"}
Place = tuple[int, int]  # partition, offset


class Writer(threading.Thread):
    """Sends numbered values until told to stop and keeps what was acknowledged, and where."""

    def __init__(self, address: str, number: int, stop: threading.Event) -> None:
        super().__init__(name=f"writer-{number}")
        self.acknowledged: dict[bytes, Place] = {}
        self.sent = 0
        self.error: BaseException | None = None
        self._address = address
        self._number = number
        self._stopping = stop

    def run(self) -> None:
        try:
            self._write()
        except BaseException as error:  # handed to the test's thread, which raises it
            self.error = error

    def _write(self) -> None:
        with (
            logstore.connect(self._address) as store,
            store.producer(acks="all", delivery_timeout=120, linger_ms=1) as producer,
        ):
            waiting = []
            while not self._stopping.is_set():
                value = b"%d:%d:" % (self._number, self.sent) + b"x" * (self.sent % 300)
                key = b"%d" % (self.sent % 17)
                waiting.append((value, producer.send(TOPIC, value=value, key=key)))
                self.sent += 1
                if len(waiting) == 200:
                    self._collect(waiting)
            self._collect(waiting)

    def _collect(self, waiting: list) -> None:  # type: ignore[type-arg]
        for value, delivery in waiting:
            stored = delivery.result(120)
            assert value not in self.acknowledged
            self.acknowledged[value] = (stored.partition, stored.offset)
        waiting.clear()


class Watcher(threading.Thread):
    """A group of one: reads, commits, and notes what it saw and where its commits stood."""

    def __init__(self, address: str, stop: threading.Event) -> None:
        super().__init__(name="watcher")
        self.seen: dict[Place, bytes] = {}
        self.error: BaseException | None = None
        self.commits = 0
        self._address = address
        self._stopping = stop

    def run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # handed to the test's thread, which raises it
            self.error = error

    def _read(self) -> None:
        with (
            logstore.connect(self._address) as store,
            store.consumer(
                TOPIC,
                group="watchers",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                session_timeout=5,
            ) as consumer,
        ):
            while not self._stopping.is_set():
                for record in consumer.poll(0.2):
                    place = (record.partition, record.offset)
                    assert record.value is not None
                    assert self.seen.setdefault(place, record.value) == record.value
                try:
                    consumer.commit()
                    self.commits += 1
                except LogStoreError as error:  # the server is away, or the group moved on
                    if not error.retriable and error.reason not in EXPECTED_REASONS:
                        raise


def read_all(address: str) -> dict[Place, bytes]:
    found: dict[Place, bytes] = {}
    with logstore.connect(address) as store, store.consumer() as consumer:
        consumer.assign([(TOPIC, partition) for partition in range(PARTITIONS)])
        consumer.seek_to_beginning()
        ends = {
            info.partition: info.high_watermark for info in store.describe_topic(TOPIC).partitions
        }
        while any(consumer.position(TOPIC, partition) < end for partition, end in ends.items()):
            for record in consumer.poll(5):
                assert record.value is not None
                assert (record.partition, record.offset) not in found
                found[record.partition, record.offset] = record.value
    return found


def committed(address: str) -> dict[int, int]:
    with logstore.connect(address) as store:
        return {item.partition: item.offset for item in store.committed_offsets("watchers")}


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_over_ten_kills(tmp_path: Path) -> None:
    stop = threading.Event()
    pauses = random.Random(1)
    with ServerProcess(tmp_path / "data") as server:
        with logstore.connect(server.address) as store:
            store.create_topic(TOPIC, partitions=PARTITIONS)
        writers = [Writer(server.address, number, stop) for number in range(PRODUCERS)]
        watcher = Watcher(server.address, stop)
        for thread in (*writers, watcher):
            thread.start()
        before: dict[int, int] = {}
        try:
            for _ in range(KILLS):
                time.sleep(pauses.uniform(0.3, 1.2))  # the moment of the kill is the test's input
                server.kill()
                server.start()
                now = committed(server.address)
                assert all(now[partition] >= offset for partition, offset in before.items())
                before = now
        finally:
            stop.set()
            for thread in (*writers, watcher):
                thread.join(150)
        assert [writer.error for writer in writers] == [None] * PRODUCERS
        assert watcher.error is None
        stored = read_all(server.address)
        check(writers, watcher, stored, committed(server.address))


def check(
    writers: list[Writer], watcher: Watcher, stored: dict[Place, bytes], ends: dict[int, int]
) -> None:
    acknowledged = {
        value: place for writer in writers for value, place in writer.acknowledged.items()
    }
    assert sum(writer.sent for writer in writers) == len(acknowledged) > 1000
    assert len(set(acknowledged.values())) == len(acknowledged), "an offset was given out twice"
    for value, place in acknowledged.items():
        assert stored.get(place) == value
    assert Counter(stored.values()).most_common(1)[0][1] == 1, "a record was stored twice"
    for place, value in watcher.seen.items():
        assert stored.get(place) == value, "a consumer saw what is not there"
    missed = {
        (partition, offset)
        for partition, offset in stored
        if offset < ends.get(partition, 0) and (partition, offset) not in watcher.seen
    }
    assert not missed, "the group skipped records"
    assert watcher.commits > 0
