"""A member of a group as a process of its own, so that it can die: says on stdout what it does.

    python -m tests.conformance.kafka.member_process CLIENT ADDRESS TOPIC GROUP OPTIONS(json)

CLIENT is a key of CLIENTS; ADDRESS is the listener that it speaks to. A JSON line each:

    {"event": "assigned", "partitions": [0, 1]}          whenever that has changed
    {"event": "record", "partition": 0, "offset": 7}     before it is committed
    {"event": "committed", "offsets": {"0": 8}}
    {"event": "refused", "error": "..."}                 a commit during a rebalance: tried again
    {"event": "closed"}                                  after SIGTERM

A line is written before the program goes on: who reads the output of a killed member knows all
that it did.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any, Protocol

POLL_S = 0.1
RECORDS_MAX = 10
Found = list[tuple[int, int]]  # partition, offset

stopping: list[int] = []


def say(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event} | facts) + "\n")
    sys.stdout.flush()


class CommitRefused(Exception):
    """The group is rebalancing, and the client does not yet know its new generation."""


class Client(Protocol):
    """Commits by hand."""

    def poll(self) -> Found: ...

    def commit(self) -> None:
        """All that was polled. Raises CommitRefused."""
        ...

    def assigned(self) -> Iterable[int]: ...

    def close(self) -> None: ...


class KafkaPython:
    def __init__(self, address: str, topic: str, group: str, options: dict[str, Any]) -> None:
        import kafka
        from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

        if options.pop("cooperative", False):
            options["partition_assignment_strategy"] = [CooperativeStickyAssignor]
        self._consumer = kafka.KafkaConsumer(
            topic,
            bootstrap_servers=address,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_poll_records=RECORDS_MAX,
            **options,
        )

    def poll(self) -> Found:
        found = self._consumer.poll(timeout_ms=round(POLL_S * 1000))
        return [(record.partition, record.offset) for rows in found.values() for record in rows]

    def commit(self) -> None:
        from kafka.errors import CommitFailedError, RebalanceInProgressError

        try:
            self._consumer.commit()
        except (CommitFailedError, RebalanceInProgressError) as error:
            raise CommitRefused(repr(error)) from error

    def assigned(self) -> Iterable[int]:
        return [part.partition for part in self._consumer.assignment()]

    def close(self) -> None:
        self._consumer.close(autocommit=False)


class Confluent:
    def __init__(self, address: str, topic: str, group: str, options: dict[str, Any]) -> None:
        import confluent_kafka

        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": address,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
            | options
        )
        self._consumer.subscribe([topic])

    def poll(self) -> Found:
        messages = self._consumer.consume(RECORDS_MAX, POLL_S)
        found: Found = []
        for message in messages:
            assert message.error() is None, message.error()
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            found.append((partition, offset))
        return found

    def commit(self) -> None:
        import confluent_kafka
        from confluent_kafka import KafkaError

        try:
            self._consumer.commit(asynchronous=False)
        except confluent_kafka.KafkaException as error:
            if error.args[0].code() in (
                KafkaError.ILLEGAL_GENERATION,
                KafkaError.REBALANCE_IN_PROGRESS,
                KafkaError.STALE_MEMBER_EPOCH,
            ):
                raise CommitRefused(str(error)) from error
            raise

    def assigned(self) -> Iterable[int]:
        return [part.partition for part in self._consumer.assignment()]

    def close(self) -> None:
        self._consumer.close()


class Aiokafka:
    def __init__(self, address: str, topic: str, group: str, options: dict[str, Any]) -> None:
        import aiokafka

        self._runner = asyncio.Runner()

        async def start() -> Any:
            consumer = aiokafka.AIOKafkaConsumer(
                topic,
                bootstrap_servers=address,
                group_id=group,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                **options,
            )
            await consumer.start()
            return consumer

        self._consumer = self._runner.run(start())

    def poll(self) -> Found:
        found = self._runner.run(
            self._consumer.getmany(timeout_ms=round(POLL_S * 1000), max_records=RECORDS_MAX)
        )
        return [(record.partition, record.offset) for rows in found.values() for record in rows]

    def commit(self) -> None:
        self._runner.run(self._consumer.commit())

    def assigned(self) -> Iterable[int]:
        return [part.partition for part in self._consumer.assignment()]

    def close(self) -> None:
        self._runner.run(self._consumer.stop())
        self._runner.close()


class Grpc:
    def __init__(self, address: str, topic: str, group: str, options: dict[str, Any]) -> None:
        import logstore

        self._store = logstore.connect(address)
        self._consumer = self._store.consumer(
            topic,
            group=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_poll_records=RECORDS_MAX,
            **options,
        )

    def poll(self) -> Found:
        return [(record.partition, record.offset) for record in self._consumer.poll(POLL_S)]

    def commit(self) -> None:
        self._consumer.commit()

    def assigned(self) -> Iterable[int]:
        return [part.partition for part in self._consumer.assignment()]

    def close(self) -> None:
        self._consumer.close()
        self._store.close()


CLIENTS: dict[str, Callable[[str, str, str, dict[str, Any]], Client]] = {
    "kafka-python": KafkaPython,
    "confluent": Confluent,
    "aiokafka": Aiokafka,
    "grpc": Grpc,
}


def main(kind: str, address: str, topic: str, group: str, options: str) -> None:
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    client = CLIENTS[kind](address, topic, group, json.loads(options))
    told: list[int] | None = None
    done: dict[int, int] = {}  # to be committed
    while not stopping:
        records = client.poll()
        assigned = sorted(client.assigned())
        if assigned != told:
            say("assigned", partitions=assigned)
            told = assigned
        for partition, offset in records:
            say("record", partition=partition, offset=offset)
            done[partition] = offset + 1
        if not done:
            continue
        try:
            client.commit()
        except CommitRefused as error:
            say("refused", error=str(error))
        else:
            say("committed", offsets=done)
            done = {}
    client.close()
    say("closed")


if __name__ == "__main__":
    main(*sys.argv[1:6])
