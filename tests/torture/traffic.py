"""Clients of a torture run: writers and a group's members, threads that keep the ledger.

Each has a connection of its own and goes on through whatever happens to the server; what they
meet that they should not is kept in `error` and raised by `Traffic.stop`.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import logstore
from logstore.api import TopicPartition
from logstore.client.consumer import Consumer
from logstore.client.delivery import Delivery
from logstore.client.producer import Producer
from logstore.errors import LogStoreError
from logstore.remote import RemoteConfig
from tests.torture.ledger import GroupLedger, OwnershipLedger, WriterLedger, make_value

GROUP = "crew"
# What a member may meet when the server has forgotten its group's members.
MOVED_ON = frozenset({"UNKNOWN_MEMBER", "FENCED_MEMBER", "STALE_MEMBER_EPOCH"})
BURST_RECORDS = 20
UNANSWERED_MAX = 400  # records of one writer
VALUE_BYTES_MAX = 400
DELIVERY_SECONDS = 120.0
# On a machine that has much else to do, the first answer may take its time.
CONNECT_MS = 60_000
ERROR_PAUSE = 0.05  # seconds, before a member asks again what it was refused
FRAMES_TOLD = 8  # of what a client that stands still is doing


class Client(threading.Thread):
    """A thread that works until it is told to stop, and keeps what ended it early."""

    def __init__(self, name: str, address: str) -> None:
        super().__init__(name=name, daemon=True)
        self.address = address
        self.stopping = threading.Event()
        self.error: BaseException | None = None
        self.config = RemoteConfig(connect_timeout_ms=CONNECT_MS)
        self._met: tuple[float, BaseException] | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # raised by Traffic.stop, in the runner's thread
            self.error = error
            self.met(error)

    def work(self) -> None:
        raise NotImplementedError

    def met(self, error: BaseException) -> None:
        """An error that it goes on after; the last one is told when it stands still."""
        self._met = time.monotonic(), error

    def state(self) -> str:
        """What it is doing, and what it met last."""
        lines = [f"{self.name}: {'runs' if self.is_alive() else 'has ended'}"]
        if self._met is not None:
            at, error = self._met
            lines.append(f"  {time.monotonic() - at:.1f} s ago it met {error!r}")
        frame = sys._current_frames().get(self.ident or 0)
        if frame is not None:
            lines += [
                f"  {Path(called.filename).name}:{called.lineno} {called.name}"
                for called in traceback.extract_stack(frame)[-FRAMES_TOLD:]
            ]
        return "\n".join(lines)


class Writer(Client):
    """Sends bursts, numbered per writer, to all partitions in turn; acks=all, idempotent.

    `pause`: seconds between bursts, which sets the rate; no burst begins while `is_held`. A record
    that the producer gives up is noted as such, with the error's reason; the writer goes on.
    """

    def __init__(
        self,
        address: str,
        topic: str,
        partitions: int,
        number: int,
        *,
        pause: float = 0.02,
        value_bytes_max: int = VALUE_BYTES_MAX,
        delivery_seconds: float = DELIVERY_SECONDS,
        is_held: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(f"writer-{number}", address)
        self.ledger = WriterLedger(number)
        self.reasons: set[str] = set()
        self._topic = topic
        self._partitions = partitions
        self._pause = pause
        self._value_bytes_max = value_bytes_max
        self._delivery_seconds = delivery_seconds
        self._is_held = is_held
        self._waiting: deque[tuple[int, Delivery]] = deque()

    def work(self) -> None:
        with (
            logstore.connect(self.address, config=self.config) as store,
            store.producer(
                acks="all", linger_ms=1, delivery_timeout=self._delivery_seconds
            ) as producer,
        ):
            while not self.stopping.is_set():
                if not self._is_held():
                    self._send_burst(producer)
                self._collect(UNANSWERED_MAX)
                self.stopping.wait(self._pause)
            self._collect(0)

    def _send_burst(self, producer: Producer) -> None:
        for _ in range(BURST_RECORDS):
            number = self.ledger.sent()
            size = (number * 131 + self.ledger.writer * 17) % self._value_bytes_max
            delivery = producer.send(
                self._topic,
                value=make_value(self.ledger.writer, number, size),
                partition=number % self._partitions,
            )
            self._waiting.append((number, delivery))

    def _collect(self, left_max: int) -> None:
        """Take answers that are here, and wait for more while too many are not."""
        while self._waiting and (len(self._waiting) > left_max or self._waiting[0][1].done):
            number, delivery = self._waiting.popleft()
            try:
                stored = delivery.result(self._delivery_seconds + 60)
            except LogStoreError as error:
                self.met(error)
                self.reasons.add(error.reason)
                self.ledger.gave_up(number)
            else:
                self.ledger.stored(number, stored.partition, stored.offset)


class Member(Client):
    """Reads as one of the group and commits; now and then it leaves and comes back.

    `run_number` tells which start of the server is the current one.
    """

    def __init__(
        self,
        address: str,
        topic: str,
        name: str,
        group: GroupLedger,
        ownership: OwnershipLedger,
        run_number: Callable[[], int],
        *,
        polls_per_life: int = 400,
        session_timeout: float = 5.0,
        commit_seconds: float = 30.0,
        tolerated: frozenset[str] = MOVED_ON,
    ) -> None:
        super().__init__(name, address)
        self._topic = topic
        self._group = group
        self._ownership = ownership
        self._run_number = run_number
        self._polls_per_life = polls_per_life
        self._session_timeout = session_timeout
        self._commit_seconds = commit_seconds
        self._tolerated = tolerated
        self._begun: dict[int, int] = {}  # newly assigned partitions: the commits known then

    def work(self) -> None:
        with logstore.connect(self.address, config=self.config) as store:
            while not self.stopping.is_set():
                consumer = store.consumer(
                    group=GROUP,
                    auto_offset_reset="earliest",
                    enable_auto_commit=False,
                    session_timeout=self._session_timeout,
                    request_timeout=self._commit_seconds,
                )
                with consumer:
                    consumer.subscribe(
                        [self._topic],
                        on_assigned=self._assigned,
                        on_revoked=self._ended,
                        on_lost=self._ended,
                    )
                    self._live(consumer)

    def _live(self, consumer: Consumer) -> None:
        for _ in range(self._polls_per_life):
            if self.stopping.is_set():
                return
            offsets: dict[TopicPartition, int] = {}
            try:
                for part in consumer.poll_batch(0.2):
                    for record in part.records:
                        self._read(part.partition, record.offset, record.value)
                    offsets[TopicPartition(part.topic, part.partition)] = record.offset + 1
                if offsets:
                    self._commit(consumer, offsets)
            except LogStoreError as error:
                self.met(error)
                if not error.retriable and error.reason not in self._tolerated:
                    raise
                self.stopping.wait(ERROR_PAUSE)

    def _commit(self, consumer: Consumer, offsets: dict[TopicPartition, int]) -> None:
        begun_at, run = time.monotonic(), self._run_number()
        consumer.commit(offsets)
        numbers = {part.partition: offset for part, offset in offsets.items()}
        self._group.committed(numbers)
        if run == self._run_number():
            self._ownership.committed(self.name, numbers, begun_at=begun_at, run=run)

    def _read(self, partition: int, offset: int, value: bytes | None) -> None:
        floor = self._begun.pop(partition, None)
        if floor is not None:
            self._group.began(self.name, partition, offset, floor)
        self._group.read(self.name, partition, offset, value)

    def _assigned(self, partitions: list[TopicPartition]) -> None:
        self._assigned_numbers([partition for _, partition in partitions])

    def _ended(self, partitions: list[TopicPartition]) -> None:
        self._ended_numbers([partition for _, partition in partitions])

    def _assigned_numbers(self, partitions: Sequence[int]) -> None:
        floors = self._group.floors()
        for partition in partitions:
            self._begun[partition] = floors[partition]
            self._ownership.assigned(self.name, partition, time.monotonic())

    def _ended_numbers(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self._begun.pop(partition, None)
            self._ownership.ended(self.name, partition, time.monotonic())


class Traffic:
    """Writers and members on one topic from start to stop."""

    def __init__(
        self, writers: Sequence[Writer], members: Sequence[Client], group: GroupLedger
    ) -> None:
        self.writers = writers
        self.members = members
        self.group = group

    @property
    def ledgers(self) -> list[WriterLedger]:
        return [writer.ledger for writer in self.writers]

    @property
    def acknowledged(self) -> int:
        return sum(ledger.acknowledged for ledger in self.ledgers)

    @property
    def given_up(self) -> int:
        return sum(ledger.given_up for ledger in self.ledgers)

    def wait_for_records(self, count: int, seconds: float) -> float | None:
        """Seconds until so many more are acknowledged; None if that takes longer than `seconds`."""
        started, before = time.monotonic(), self.acknowledged
        while self.acknowledged < before + count:
            self.raise_errors()
            if time.monotonic() - started > seconds:
                return None
            time.sleep(0.02)
        return time.monotonic() - started

    def states(self) -> str:
        return "\n".join(client.state() for client in (*self.writers, *self.members))

    def raise_errors(self) -> None:
        for client in (*self.writers, *self.members):
            if client.error is not None:
                raise client.error

    def stop_writers(self) -> None:
        stop(self.writers)

    def stop_members(self) -> None:
        stop(self.members)

    def __enter__(self) -> Traffic:
        for client in (*self.writers, *self.members):
            client.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in (*self.writers, *self.members):
            client.stopping.set()
        if kind is None:
            self.stop_writers()
            self.stop_members()
            self.raise_errors()


def stop(clients: Sequence[Client]) -> None:
    for client in clients:
        client.stopping.set()
    for client in clients:
        client.join(DELIVERY_SECONDS + 90)
        if client.is_alive():
            raise AssertionError(f"a client does not end\n{client.state()}")
