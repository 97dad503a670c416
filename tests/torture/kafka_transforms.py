"""transforms.py through confluent-kafka: consume, transform, produce in its transactions.

An error of a transaction says what is to be done, as librdkafka documents it: `retriable`, the same
call again; `txn_requires_abort`, abort it and read on from where it began; anything else, the
producer is over, and a new one of the same transactional id ends what that left open. Of a commit
without an answer nobody knows whether it was done: the group's offset, which went with it, tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
    libversion,
)

from tests.torture.kafka_traffic import (
    COMMON,
    GONE_ON,
    UNANSWERED,
    Batches,
    consumer_config,
    error_of,
    offset_of,
)
from tests.torture.ledger import make_value
from tests.torture.traffic import DELIVERY_SECONDS, ERROR_PAUSE
from tests.torture.transforms import ABORTED_SHARE, ABORTED_WRITER, GROUP, Transformer

TRY_SECONDS = 5.0  # of one call, which is then made again
SESSION_SECONDS = 5.0
# A producer that has lost all brokers forgets them and begins anew, but still waits for the one
# that it remembers as its group's coordinator: send_offsets_to_transaction never returns, whatever
# its timeout (confluentinc/librdkafka, issues 5511 and 5456). Both of the first two runs of six
# kills ended so.
REBOOTSTRAPS = libversion()[1] >= 0x020B0000
RECOVERY = {"metadata.recovery.strategy": "none"} if REBOOTSTRAPS else {}
# Why a transaction may end without the transformer's doing: besides what a member may be told.
ENDED = frozenset(
    {
        KafkaError._FATAL,  # the reason was told before
        KafkaError._FENCED,
        KafkaError.INVALID_TXN_STATE,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.PRODUCER_FENCED,
        KafkaError.KAFKA_STORAGE_ERROR,
    }
)


class KafkaTransformer(Transformer):
    """A Transformer whose producer and consumer are confluent-kafka's."""

    def __init__(
        self,
        address: str,
        source: str,
        target: str,
        number: int,
        seed: int,
        *,
        protocol: str,
        life: int = 150,
    ) -> None:
        super().__init__(address, source, target, number, seed, life=life)
        self._protocol = protocol
        self._batches = Batches()

    def work(self) -> None:
        while not self.stopping.is_set():
            try:
                self._live_once()
            except KafkaException as exception:
                error = error_of(exception)
                self._met_error(error)
                is_usual = error.retriable() or error.txn_requires_abort()
                if not (is_usual or error.code() in GONE_ON | UNANSWERED | ENDED):
                    raise
                self.stopping.wait(ERROR_PAUSE)

    def _met_error(self, error: KafkaError) -> None:
        self.met(KafkaException(error))
        self.counts[error.name()] += 1

    def _live_once(self) -> None:
        """Until its life is over, or a transaction can be neither ended nor aborted."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.address,
            "transactional.id": self._transactional_id,
            "linger.ms": 1,
            "error_cb": lambda error: self.met(KafkaException(error)),
            **COMMON,
            **RECOVERY,
        }
        producer = Producer(config)
        try:
            self._insist(producer.init_transactions)
            consumer = Consumer(
                consumer_config(self.address, GROUP, self._protocol, SESSION_SECONDS)
                | {"error_cb": config["error_cb"], "isolation.level": "read_committed"}
            )
            try:
                consumer.subscribe([self._source], on_revoke=self._gone, on_lost=self._gone)
                for _ in range(self._life):
                    if self.stopping.is_set():
                        return
                    self._turn(producer, consumer)
            finally:
                self._batches = Batches()
                consumer.close()
        finally:
            producer.purge()

    def _gone(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._batches.gone(partitions)

    def _turn(self, producer: Producer, consumer: Consumer) -> None:
        try:
            self._batches.poll(consumer)
        except KafkaException as exception:
            error = error_of(exception)
            if not (error.retriable() or error.code() in GONE_ON | UNANSWERED):
                raise
            self._met_error(error)
        records, self._batches.records = self._batches.records, {}
        if not records:
            return
        is_doomed = self._random.random() < ABORTED_SHARE
        try:
            self._transact(producer, consumer, records, is_doomed=is_doomed)
        except KafkaException as exception:
            error = error_of(exception)
            if not error.txn_requires_abort():
                raise
            self._met_error(error)
            self._insist(producer.abort_transaction)
            self._read_again(consumer, records)

    def _transact(
        self,
        producer: Producer,
        consumer: Consumer,
        records: dict[int, list[Message]],
        *,
        is_doomed: bool,
    ) -> None:
        producer.begin_transaction()
        for partition, messages in records.items():
            for message in messages:
                producer.produce(self._target, message.value(), partition=partition)
        ends = {part: offset_of(messages[-1]) + 1 for part, messages in records.items()}
        positions = [TopicPartition(self._source, part, end) for part, end in ends.items()]
        metadata = consumer.consumer_group_metadata()
        self._insist(
            lambda seconds: producer.send_offsets_to_transaction(positions, metadata, seconds)
        )
        if is_doomed:
            self._poison += 1
            value = make_value(ABORTED_WRITER, self._poison, 50)
            producer.produce(self._target, value, partition=self._random.choice(list(records)))
            producer.flush(TRY_SECONDS)
            self._insist(producer.abort_transaction)
            self.counts["aborts"] += 1
            self._read_again(consumer, records)
            return
        self._insist(producer.commit_transaction)
        self.counts["transactions"] += 1
        self.copied |= ends

    def _read_again(self, consumer: Consumer, records: dict[int, list[Message]]) -> None:
        """From where the transaction began, what it still has."""
        for partition, messages in records.items():
            try:
                consumer.seek(TopicPartition(self._source, partition, offset_of(messages[0])))
            except KafkaException as exception:  # it has not got it any more
                if error_of(exception).code() not in GONE_ON:
                    raise
                self._met_error(error_of(exception))

    def _insist(self, call: Callable[[float], object]) -> None:
        """Again while librdkafka says that it may be. Raises KafkaException."""
        deadline = time.monotonic() + DELIVERY_SECONDS
        while True:
            try:
                call(TRY_SECONDS)
            except KafkaException as exception:
                error = error_of(exception)
                if not error.retriable() or time.monotonic() > deadline:
                    raise
                self._met_error(error)
                time.sleep(ERROR_PAUSE)  # some say so at once
            else:
                return
