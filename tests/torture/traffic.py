"""Clients of a torture run: writers and a group's members, threads that keep the ledger.

Each has a connection of its own and goes on through whatever happens to the server; what they
meet that they should not is kept in `error` and raised by `Traffic.stop`.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

import logstore
from logstore.api import TopicPartition
from logstore.client.consumer import Consumer
from logstore.client.delivery import Delivery
from logstore.errors import LogStoreError, StorageFailedError
from logstore.remote import RemoteConfig
from tests.torture.checker import Claims, Stored
from tests.torture.ledger import (
    GroupLedger,
    OwnershipLedger,
    WriterLedger,
    make_value,
)

GROUP = "crew"
# What a member may meet when the server has forgotten its group's members.
MOVED_ON = frozenset({"UNKNOWN_MEMBER", "FENCED_MEMBER", "STALE_MEMBER_EPOCH"})
BURST_RECORDS = 20
UNANSWERED_MAX = 400  # records of one writer
VALUE_BYTES_MAX = 400
DELIVERY_SECONDS = 120.0


class Client(threading.Thread):
    """A thread that works until it is told to stop, and keeps what ended it early."""

    def __init__(self, name: str, address: str) -> None:
        super().__init__(name=name, daemon=True)
        self.address = address
        self.stopping = threading.Event()
        self.error: BaseException | None = None
        self.config = RemoteConfig()

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # raised by Traffic.stop, in the runner's thread
            self.error = error

    def work(self) -> None:
        raise NotImplementedError


class Writer(Client):
    """Sends bursts, numbered per writer, to all partitions in turn; acks=all, idempotent.

    `pause`: seconds between bursts, which sets the rate. A record that the producer gives up is
    noted as such, with the error's reason; the writer goes on.
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
    ) -> None:
        super().__init__(f"writer-{number}", address)
        self.ledger = WriterLedger(number)
        self.reasons: set[str] = set()
        self._topic = topic
        self._partitions = partitions
        self._pause = pause
        self._value_bytes_max = value_bytes_max
        self._delivery_seconds = delivery_seconds
        self._waiting: deque[tuple[int, Delivery]] = deque()

    def work(self) -> None:
        with (
            logstore.connect(self.address, config=self.config) as store,
            store.producer(
                acks="all", linger_ms=1, delivery_timeout=self._delivery_seconds
            ) as producer,
        ):
            while not self.stopping.is_set():
                for _ in range(BURST_RECORDS):
                    number = self.ledger.sent()
                    size = (number * 131 + self.ledger.writer * 17) % self._value_bytes_max
                    delivery = producer.send(
                        self._topic,
                        value=make_value(self.ledger.writer, number, size),
                        partition=number % self._partitions,
                    )
                    self._waiting.append((number, delivery))
                self._collect(UNANSWERED_MAX)
                self.stopping.wait(self._pause)
            self._collect(0)

    def _collect(self, left_max: int) -> None:
        """Take answers that are here, and wait for more while too many are not."""
        while self._waiting and (len(self._waiting) > left_max or self._waiting[0][1].done):
            number, delivery = self._waiting.popleft()
            try:
                stored = delivery.result(self._delivery_seconds + 60)
            except LogStoreError as error:
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
                if not error.retriable and error.reason not in self._tolerated:
                    raise

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
        floors = self._group.floors()
        for _, partition in partitions:
            self._begun[partition] = floors[partition]
            self._ownership.assigned(self.name, partition, time.monotonic())

    def _ended(self, partitions: list[TopicPartition]) -> None:
        for _, partition in partitions:
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
            raise AssertionError(f"{client.name} does not end")


def committed_offsets(address: str, topic: str, partitions: int, group: str = GROUP) -> list[int]:
    """Of the group, per partition; 0 where nothing is committed."""
    with logstore.connect(address) as store:
        found = {
            item.partition: max(item.offset, 0)
            for item in store.committed_offsets(group)
            if item.topic == topic
        }
    return [found.get(partition, 0) for partition in range(partitions)]


def take_claims(address: str, topic: str, partitions: int, traffic: Traffic) -> Claims:
    floors = traffic.group.floors()
    committed = committed_offsets(address, topic, partitions)
    traffic.group.found_committed(floors, dict(enumerate(committed)))
    return Claims(traffic.ledgers, traffic.group, committed)


def read_all(
    address: str,
    topic: str,
    partitions: int,
    *,
    seconds: float = 300.0,
    idle_seconds: float = math.inf,
) -> Stored:
    """All that is visible when it is called, or comes before nothing comes for `idle_seconds`.
    Raises AssertionError if that takes too long."""
    stored = Stored(partitions)
    with logstore.connect(address) as store, store.consumer() as consumer:
        infos = store.describe_topic(topic).partitions
        stored.starts = [info.log_start_offset for info in infos]
        ends = {
            info.partition: info.high_watermark
            for info in infos
            if info.high_watermark > info.log_start_offset
        }
        consumer.assign([(topic, partition) for partition in ends])
        consumer.seek_to_beginning()
        deadline = time.monotonic() + seconds
        heard_at = time.monotonic()
        while any(consumer.position(topic, partition) < end for partition, end in ends.items()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{topic} could not be read to its end in {seconds} s")
            try:
                parts = consumer.poll_batch(1.0)
            except StorageFailedError:  # told at the end of a partition that takes no writes
                continue
            if parts:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > idle_seconds:
                break
            for part in parts:
                for record in part.records:
                    stored.add(part.partition, record.offset, record.value)
    return stored


def wait_for_group(
    address: str, topic: str, partitions: int, group: str = GROUP, *, seconds: float = 120.0
) -> None:
    """Until the group has committed all that is visible."""
    deadline = time.monotonic() + seconds
    while True:
        with logstore.connect(address) as store:
            ends = [info.high_watermark for info in store.describe_topic(topic).partitions]
        committed = committed_offsets(address, topic, partitions, group)
        if committed == ends:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{group} stands at {committed}, the log ends at {ends}")
        time.sleep(0.1)
