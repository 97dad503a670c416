"""The clients of traffic.py through confluent-kafka: the same ledger, the same claims.

What librdkafka says of a record decides what is claimed of it: delivered is stored, at the offset
that it was told; any error, of time above all, leaves open whether it is in the log, so that such
a record is never called lost, only given up. A producer that is over (a fatal error) is made anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from tests.torture.ledger import GroupLedger, OwnershipLedger, make_value
from tests.torture.traffic import (
    BURST_RECORDS,
    ERROR_PAUSE,
    GROUP,
    MOVED_ON,
    UNANSWERED_MAX,
    Member,
    Writer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CLASSIC, CONSUMER = "classic", "consumer"  # group.protocol
POLL_SECONDS = 0.2
POLLED_MAX = 200  # records, before they are committed
# librdkafka waits up to ten seconds before it tries to connect again: too long beside a kill every
# second or two. What it logs of every broken connection is not kept; its errors are.
COMMON: dict[str, Any] = {
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 500,
    "log_level": 0,
}
# What a member may be told that the group has gone on without, and while nobody answers.
GONE_ON = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._STATE,  # it is leaving, or has no assignment
    }
)
UNANSWERED = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._WAIT_COORD,
        KafkaError._DESTROY,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)


def error_of(exception: KafkaException) -> KafkaError:
    error = exception.args[0]
    assert isinstance(error, KafkaError)
    return error


class KafkaWriter(Writer):
    """A Writer whose producer is confluent-kafka's, idempotent."""

    def work(self) -> None:
        self._unanswered = 0
        while not self.stopping.is_set():
            self._live()

    def _live(self) -> None:
        """Until it is to stop, or its producer has met an error that is the end of it."""
        self._is_over = False
        producer = Producer(
            {
                "bootstrap.servers": self.address,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 1,
                "delivery.timeout.ms": round(self._delivery_seconds * 1000),
                "error_cb": self._told,
                **COMMON,
            }
        )
        while not (self.stopping.is_set() or self._is_over):
            if not self._is_held():
                self._burst(producer)
            producer.poll(0)
            while self._unanswered > UNANSWERED_MAX and not self._is_over:
                producer.poll(0.1)
            self.stopping.wait(self._pause)
        left = producer.flush(self._delivery_seconds + 60)
        if left:
            raise AssertionError(f"{self.name}: {left} records have no outcome")

    def _burst(self, producer: Producer) -> None:
        for _ in range(BURST_RECORDS):
            number = self.ledger.sent()
            size = (number * 131 + self.ledger.writer * 17) % self._value_bytes_max
            try:
                producer.produce(
                    self._topic,
                    make_value(self.ledger.writer, number, size),
                    partition=number % self._partitions,
                    on_delivery=partial(self._delivered, number),
                )
            except KafkaException as error:  # of a producer that is over
                self._refused(number, error_of(error))
                return
            self._unanswered += 1

    def _delivered(self, number: int, error: KafkaError | None, message: Message) -> None:
        self._unanswered -= 1
        if error is not None:
            self._refused(number, error)
            return
        partition, offset = message.partition(), message.offset()
        if partition is None or offset is None or offset < 0:
            raise AssertionError(f"{self.name}: record {number} is stored, but not where")
        self.ledger.stored(number, partition, offset)

    def _refused(self, number: int, error: KafkaError) -> None:
        self._told(error)
        self.reasons.add(error.name())
        self.ledger.gave_up(number)

    def _told(self, error: KafkaError) -> None:
        self.met(KafkaException(error))
        if error.fatal():
            self._is_over = True


class Batches:
    """What a consumer has polled of the partitions that it still has, and not dealt with.

    Records are polled one by one: what comes behind a rebalance is of the new assignment, and what
    came before it of a partition that is gone is dropped here by `gone`.
    """

    def __init__(self) -> None:
        self.records: dict[int, list[Message]] = {}

    def poll(self, consumer: Consumer) -> None:
        """For POLL_SECONDS at most, or until there are POLLED_MAX. Raises KafkaException."""
        deadline = time.monotonic() + POLL_SECONDS
        for _ in range(POLLED_MAX):
            left = deadline - time.monotonic()
            # Once there are some, only those that are here already.
            message = consumer.poll(0 if self.records or left < 0 else left)
            if message is None:
                if self.records or left <= 0:
                    return
                continue
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            self.records.setdefault(partition_of(message), []).append(message)

    def gone(self, partitions: list[TopicPartition]) -> None:
        for part in partitions:
            self.records.pop(part.partition, None)


def partition_of(message: Message) -> int:
    partition = message.partition()
    assert partition is not None
    return partition


def offset_of(message: Message) -> int:
    offset = message.offset()
    assert offset is not None
    return offset


def consumer_config(address: str, group: str, protocol: str, session: float) -> dict[str, Any]:
    """`session`: seconds; in the new protocol it is the server's to say."""
    config: dict[str, Any] = {
        "bootstrap.servers": address,
        "group.id": group,
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        **COMMON,
    }
    if protocol == CLASSIC:
        config["session.timeout.ms"] = round(session * 1000)
        config["heartbeat.interval.ms"] = round(session * 1000 / 5)
    return config


class KafkaMember(Member):
    """A Member whose consumer is confluent-kafka's, of either protocol."""

    def __init__(
        self,
        address: str,
        topic: str,
        name: str,
        group: GroupLedger,
        ownership: OwnershipLedger,
        run_number: Callable[[], int],
        *,
        protocol: str,
        polls_per_life: int = 400,
        session_timeout: float = 5.0,
        commit_seconds: float = 30.0,
        tolerated: frozenset[str] = MOVED_ON,
    ) -> None:
        super().__init__(
            address, topic, name, group, ownership, run_number,
            polls_per_life=polls_per_life, session_timeout=session_timeout,
            commit_seconds=commit_seconds, tolerated=tolerated,
        )  # fmt: skip
        self._protocol = protocol
        self._owned: set[int] = set()
        self._batches = Batches()
        self._offsets: dict[int, int] = {}  # read and not committed
        self._codes = GONE_ON | UNANSWERED
        if "STORAGE_FAILED" in tolerated:
            self._codes |= {KafkaError.KAFKA_STORAGE_ERROR}

    def work(self) -> None:
        config = consumer_config(self.address, GROUP, self._protocol, self._session_timeout)
        while not self.stopping.is_set():
            consumer = Consumer(config | {"error_cb": self._told})
            try:
                consumer.subscribe(
                    [self._topic], on_assign=self._given, on_revoke=self._taken, on_lost=self._lost
                )
                self._live_as(consumer)
            finally:
                consumer.close()

    def _live_as(self, consumer: Consumer) -> None:
        for _ in range(self._polls_per_life):
            if self.stopping.is_set():
                return
            with self._tolerating():
                self._batches.poll(consumer)
            self._take_records()
            with self._tolerating():
                self._commit_all(consumer)

    def _take_records(self) -> None:
        records, self._batches.records = self._batches.records, {}
        for partition, messages in records.items():
            for message in messages:
                self._read(partition, offset_of(message), message.value())
            self._offsets[partition] = offset_of(messages[-1]) + 1

    def _commit_all(self, consumer: Consumer) -> None:
        if not self._offsets:
            return
        begun_at, run = time.monotonic(), self._run_number()
        asked = dict(self._offsets)
        answers = consumer.commit(
            offsets=[TopicPartition(self._topic, part, offset) for part, offset in asked.items()],
            asynchronous=False,
        )
        for answer in answers or []:
            if answer.error is not None:
                raise KafkaException(answer.error)
        self._group.committed(asked)
        if run == self._run_number():
            self._ownership.committed(self.name, asked, begun_at=begun_at, run=run)
        self._offsets.clear()

    @contextmanager
    def _tolerating(self) -> Iterator[None]:
        """Goes on after what a member may meet while its group or its server changes."""
        try:
            yield
        except KafkaException as error:
            self.met(error)
            if not (error_of(error).retriable() or error_of(error).code() in self._codes):
                raise
            self.stopping.wait(ERROR_PAUSE)

    def _told(self, error: KafkaError) -> None:
        self.met(KafkaException(error))

    def _given(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._owned |= {part.partition for part in partitions}
        self._assigned_numbers([part.partition for part in partitions])

    def _taken(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """What was read is committed before another has it."""
        self._take_records()
        with self._tolerating():
            self._commit_all(consumer)
        self._lost(consumer, partitions)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._batches.gone(partitions)
        gone = [part.partition for part in partitions if part.partition in self._owned]
        for partition in gone:
            self._offsets.pop(partition, None)
        self._owned -= set(gone)
        self._ended_numbers(gone)
