"""The group of three: consumers in a thread each that share a topic's partitions."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from logstore.client import Consumer, Store

JOIN_TIMEOUT_S = 30.0  # until all members have their partitions
STALL_TIMEOUT_S = 30.0  # without a record for so long, reading has failed
POLL_S = 0.2


@dataclass(slots=True)
class Member:
    """What one consumer of the group got; written by its thread, read when that has ended."""

    name: str
    partitions: set[int] = field(default_factory=set)
    seen: list[tuple[int, int]] = field(default_factory=list)  # partition and offset, as read


class GroupOfMembers:
    """Joins all members, lets them start at one moment, and ends when `expected` are read.

    Members take their partitions before the first record is read, so that the time measured is
    that of reading and each has its share of it.
    """

    def __init__(
        self, store: Store, topic: str, *, group: str, members: int, partitions: int, expected: int
    ) -> None:
        self._store = store
        self._topic = topic
        self._group = group
        self._share = partitions // members
        self._expected = expected
        self._members = [Member(f"member {number}") for number in range(1, members + 1)]
        self._joined = threading.Barrier(members + 1)
        self._started = threading.Barrier(members + 1)
        self._done = threading.Event()
        self._lock = threading.Lock()  # guards the next two
        self._read = 0
        self._progress_at = 0.0
        self._errors: list[BaseException] = []

    def run(self) -> tuple[list[Member], float]:
        """The members, and the seconds from the start until the last record was read."""
        threads = [
            threading.Thread(target=self._run_member, args=(member,), name=member.name)
            for member in self._members
        ]
        for thread in threads:
            thread.start()
        try:
            self._joined.wait(JOIN_TIMEOUT_S)
            began = self._progress_at = time.monotonic()
            self._started.wait(JOIN_TIMEOUT_S)
            seconds = self._wait_until_done() - began
        except threading.BrokenBarrierError:
            seconds = 0.0
        finally:
            self._done.set()
            self._joined.abort()
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]
        return self._members, seconds

    def _wait_until_done(self) -> float:
        while not self._done.wait(POLL_S):
            with self._lock:
                if time.monotonic() - self._progress_at > STALL_TIMEOUT_S:
                    break
        with self._lock:
            return self._progress_at

    def _run_member(self, member: Member) -> None:
        try:
            with self._store.consumer(
                group=self._group, auto_offset_reset="earliest", client_id=member.name
            ) as consumer:
                self._join(consumer, member)
                self._joined.wait(JOIN_TIMEOUT_S)
                self._started.wait(JOIN_TIMEOUT_S)
                consumer.resume()
                while not self._done.is_set():
                    self._read_some(consumer, member)
                self._read_some(consumer, member)  # nothing, unless something came twice
                consumer.commit()
        except threading.BrokenBarrierError:
            return
        except BaseException as error:
            self._errors.append(error)
            self._joined.abort()
            self._started.abort()
            self._done.set()

    def _join(self, consumer: Consumer, member: Member) -> None:
        consumer.subscribe([self._topic], on_assigned=lambda parts: consumer.pause(*parts))
        deadline = time.monotonic() + JOIN_TIMEOUT_S
        while len(consumer.assignment()) != self._share:
            consumer.poll(POLL_S)
            if time.monotonic() > deadline:
                raise click.ClickException(f"{member.name} got no partitions in {JOIN_TIMEOUT_S} s")
        member.partitions = {part.partition for part in consumer.assignment()}

    def _read_some(self, consumer: Consumer, member: Member) -> None:
        records = consumer.poll(POLL_S)
        if not records:
            return
        member.seen.extend((record.partition, record.offset) for record in records)
        with self._lock:
            self._read += len(records)
            self._progress_at = time.monotonic()
            if self._read >= self._expected:
                self._done.set()
