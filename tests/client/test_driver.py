from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import logstore
from logstore.client.driver import PAUSE_SECONDS, DriverThread
from logstore.clock import SystemClock
from logstore.config import StoreConfig
from logstore.errors import DiskFullError

SECONDS_MAX = 30.0


class DrivenStore:
    """The driver's side of a store; says what was called."""

    def __init__(self) -> None:
        self.flushes = self.ticks = self.maintained = 0
        self.may_finish = threading.Event()
        self.may_finish.set()
        self.deadline: float | None = None
        self.error: Exception | None = None
        self.on_flush: Callable[[], None] = lambda: None
        self.on_deadline: Callable[[], None] = lambda: None
        self._changed = threading.Condition()

    def attach_driver(
        self, *, on_flush: Callable[[], None], on_deadline: Callable[[], None]
    ) -> None:
        self.on_flush, self.on_deadline = on_flush, on_deadline

    def next_deadline(self) -> float | None:
        return self.deadline

    def tick(self) -> None:
        with self._changed:
            self.ticks += 1
            self._changed.notify_all()

    def run_flush(self) -> None:
        with self._changed:
            self.flushes += 1
            self._changed.notify_all()
            error, self.error = self.error, None
        if error is not None:
            raise error

    def run_maintenance(self) -> None:
        with self._changed:
            self.maintained += 1
            self.deadline = None
            self._changed.notify_all()
        assert self.may_finish.wait(SECONDS_MAX)

    def wait_for(self, done: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(done, SECONDS_MAX)


def test_it_flushes_when_told_and_ticks_when_due() -> None:
    store, clock = DrivenStore(), SystemClock()
    driver = DriverThread(store, clock)  # type: ignore[arg-type]
    store.wait_for(lambda: store.ticks >= 1)
    assert store.flushes == 0
    store.on_flush()
    store.wait_for(lambda: store.flushes == 1)
    ticks = store.ticks
    store.deadline = clock.monotonic()
    store.on_deadline()
    store.wait_for(lambda: store.ticks > ticks + 1)
    driver.stop()
    ticks = store.ticks
    store.on_flush()
    assert (store.flushes, store.ticks) == (1, ticks), "it has stopped"


def test_a_long_maintenance_delays_neither_flush_nor_tick() -> None:
    store, clock = DrivenStore(), SystemClock()
    store.may_finish.clear()
    store.deadline = clock.monotonic()
    driver = DriverThread(store, clock)  # type: ignore[arg-type]
    store.wait_for(lambda: store.maintained == 1)
    store.on_flush()
    store.wait_for(lambda: store.flushes == 1)
    store.deadline = clock.monotonic()
    ticks = store.ticks
    store.on_deadline()
    store.wait_for(lambda: store.ticks > ticks)
    assert store.maintained == 1, "it is still at the first"
    store.may_finish.set()
    store.wait_for(lambda: store.maintained == 2)
    driver.stop()


@pytest.mark.parametrize(
    ("error", "level"), [(DiskFullError("full"), "WARNING"), (OSError("broken"), "ERROR")]
)
def test_it_logs_errors_and_goes_on(
    error: Exception, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = DrivenStore()
    with caplog.at_level(logging.WARNING, "logstore.client.driver"):
        driver = DriverThread(store, SystemClock())  # type: ignore[arg-type]
        store.error = error
        store.on_flush()
        store.wait_for(lambda: store.flushes == 1)
        store.on_flush()
        store.wait_for(lambda: store.flushes == 2)
        driver.stop()
    assert [record.levelname for record in caplog.records] == [level]


def test_an_error_that_stays_does_not_take_the_processor(caplog: pytest.LogCaptureFixture) -> None:
    store, clock = DrivenStore(), SystemClock()

    def next_deadline() -> float:
        raise DiskFullError("again and again")

    store.next_deadline = next_deadline  # type: ignore[method-assign]
    began = clock.monotonic()
    driver = DriverThread(store, clock)  # type: ignore[arg-type]
    store.wait_for(lambda: store.ticks >= 4)
    assert clock.monotonic() - began >= 3 * PAUSE_SECONDS
    driver.stop()
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_what_nobody_waits_for_becomes_visible_within_the_flush_interval(tmp_path: Path) -> None:
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t", configs={"flush_interval_ms": "20"})
        with store.consumer("t") as consumer, store.producer(acks=1) as producer:
            producer.send("t", b"x")
            assert [record.value for record in consumer.poll(SECONDS_MAX)] == [b"x"]


def test_closing_the_store_ends_the_threads(tmp_path: Path) -> None:
    def drivers() -> set[str]:
        names = {thread.name for thread in threading.enumerate()}
        return {name for name in names if name.startswith("logstore-")}

    before = drivers()
    with logstore.open(tmp_path / "data"):
        assert drivers() - before == {"logstore-driver", "logstore-maintenance"}
    assert drivers() == before


def test_a_store_compacts_by_itself_and_consumers_read_past_the_gaps(tmp_path: Path) -> None:
    config = StoreConfig(retention_check_interval_ms=20)
    with logstore.open(tmp_path / "data", config=config) as store:
        topic = {"cleanup_policy": "compact", "segment_bytes": str(16 << 10)}
        store.create_topic("t", configs=topic | {"min_cleanable_dirty_ratio": "0.01"})
        with store.producer() as producer:
            for number in range(200):
                producer.send("t", bytes(2000), key=b"%d" % (number % 3)).result(SECONDS_MAX)
        end = SystemClock().monotonic() + SECONDS_MAX
        while store.describe_topics(["t"])[0].partitions[0].size_bytes > 60_000:
            assert SystemClock().monotonic() < end
            threading.Event().wait(0.02)
        with store.consumer("t", group="g", auto_offset_reset="earliest") as consumer:
            offsets: list[int] = []
            while not offsets or offsets[-1] < 199:
                offsets += [record.offset for record in consumer.poll(SECONDS_MAX)]
            consumer.commit()
        assert offsets == sorted(set(offsets))
        assert set(range(197, 200)) <= set(offsets)
        assert len(offsets) < 40
        (committed,) = store.log_store.committed_offsets("g")
        assert committed.offset == 200
