"""The three patterns, on any store; run embedded by test_patterns.py, remote by test_remote.py."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from logstore import Consumer, Store

SECONDS_MAX = 60.0
PARTITIONS = 6
KEYS = 40


class Worker:
    """A member of a group in a thread of its own; puts what it processed into `done`."""

    def __init__(self, store: Store, group: str, done: Done, **options: Any) -> None:
        chosen = {"auto_offset_reset": "earliest", "group": group, "max_poll_records": 20}
        self.count = 0
        self._consumer: Consumer = store.consumer("work", **(chosen | options))
        self._done = done
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._consumer.wake()
        self._thread.join(SECONDS_MAX)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with self._consumer as consumer:
                while not self._stop.is_set():
                    records = consumer.poll(0.2)
                    self.count += len(records)
                    self._done.add([(r.partition, r.offset, r.key) for r in records])
        except BaseException as error:
            self._failure = error


class Done:
    """What was processed, in the order of processing."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int, bytes | None]] = []
        self._changed = threading.Condition()

    def add(self, records: list[tuple[int, int, bytes | None]]) -> None:
        with self._changed:
            self.records += records
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.places()) >= count, SECONDS_MAX), (
                f"{len(self.places())} of {count} were processed"
            )

    def places(self) -> set[tuple[int, int]]:
        return {(partition, offset) for partition, offset, _ in self.records}


def produce(store: Store, count: int) -> None:
    with store.producer() as producer:
        producer.send_many(
            "work",
            [b"%d" % number for number in range(count)],
            [b"key-%d" % (number % KEYS) for number in range(count)],
        )


def point_to_point(store: Store) -> None:
    """One group: each record goes to one member, in order for each partition."""
    store.create_topic("work", partitions=PARTITIONS)
    done = Done()
    workers = [Worker(store, "g", done) for _ in range(3)]
    produce(store, 3000)
    done.wait_for(3000)
    for worker in workers:
        worker.stop()
    assert set(Counter(done.records).values()) == {1}
    for partition in range(PARTITIONS):
        own = [offset for where, offset, _ in done.records if where == partition]
        assert own == list(range(len(own)))


def publish_subscribe(store: Store) -> None:
    """Each group gets everything."""
    store.create_topic("work", partitions=PARTITIONS)
    produce(store, 1000)
    seen = [Done() for _ in range(3)]
    workers = [Worker(store, f"g{number}", done) for number, done in enumerate(seen)]
    for done in seen:
        done.wait_for(1000)
    for worker in workers:
        worker.stop()
    assert all(len(done.records) == 1000 for done in seen)
    assert len({frozenset(done.records) for done in seen}) == 1


def work_queue(store: Store) -> None:
    """Members come and go under load; work moves with the partitions, none is lost, and since
    all leave in good order, none is done twice."""
    store.create_topic("work", partitions=PARTITIONS)
    done = Done()
    total, step = 8000, 2000
    first = Worker(store, "g", done)
    producing = threading.Thread(target=produce, args=(store, total))
    producing.start()
    done.wait_for(step)
    second, third = Worker(store, "g", done), Worker(store, "g", done)
    done.wait_for(2 * step)
    first.stop()
    done.wait_for(3 * step)
    fourth = Worker(store, "g", done)
    second.stop()
    producing.join()
    done.wait_for(total)
    third.stop()
    fourth.stop()
    assert len(done.places()) == total
    assert set(Counter(done.records).values()) == {1}
    assert first.count > 0
    committed = {item.partition: item.offset for item in store.committed_offsets("g")}
    assert sum(committed.values()) == total
