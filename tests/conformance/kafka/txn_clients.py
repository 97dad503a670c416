"""Transactional producers, and readers of committed records, of three clients in one shape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as AioPart
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ConfluentPart
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as PythonPart

TIMEOUT_S = 20.0


class TransactionalProducer(Protocol):
    def begin(self) -> None: ...

    def send(self, topic: str, value: bytes) -> None: ...

    def commit(self) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


class ConfluentProducer:
    def __init__(self, address: str, name: str) -> None:
        self.producer = Producer({"bootstrap.servers": address, "transactional.id": name})
        self.producer.init_transactions(TIMEOUT_S)

    def begin(self) -> None:
        self.producer.begin_transaction()

    def send(self, topic: str, value: bytes) -> None:
        self.producer.produce(topic, value, partition=0)
        self.producer.flush(TIMEOUT_S)

    def commit(self) -> None:
        self.producer.commit_transaction(TIMEOUT_S)

    def abort(self) -> None:
        self.producer.abort_transaction(TIMEOUT_S)

    def close(self) -> None:
        self.producer.flush(TIMEOUT_S)


class PythonProducer:
    def __init__(self, address: str, name: str) -> None:
        self.producer = KafkaProducer(bootstrap_servers=address, transactional_id=name)
        self.producer.init_transactions()

    def begin(self) -> None:
        self.producer.begin_transaction()

    def send(self, topic: str, value: bytes) -> None:
        self.producer.send(topic, value, partition=0).get(TIMEOUT_S)

    def commit(self) -> None:
        self.producer.commit_transaction()

    def abort(self) -> None:
        self.producer.abort_transaction()

    def close(self) -> None:
        self.producer.close(timeout=TIMEOUT_S)


class AioProducer:
    def __init__(self, address: str, name: str) -> None:
        self.runner = asyncio.Runner()
        self.producer = self.runner.run(self._start(address, name))

    @staticmethod
    async def _start(address: str, name: str) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(bootstrap_servers=address, transactional_id=name)
        await producer.start()
        return producer

    def begin(self) -> None:
        self.runner.run(self.producer.begin_transaction())

    def send(self, topic: str, value: bytes) -> None:
        self.runner.run(self.producer.send_and_wait(topic, value, partition=0))

    def commit(self) -> None:
        self.runner.run(self.producer.commit_transaction())

    def abort(self) -> None:
        self.runner.run(self.producer.abort_transaction())

    def close(self) -> None:
        self.runner.run(self.producer.stop())
        self.runner.close()


PRODUCERS: dict[str, Callable[[str, str], TransactionalProducer]] = {
    "confluent": ConfluentProducer,
    "kafka-python": PythonProducer,
    "aiokafka": AioProducer,
}


def read_confluent(address: str, topic: str, end: bytes) -> list[bytes]:
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "unused",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.assign([ConfluentPart(topic, 0, 0)])
        found: list[bytes] = []
        while not found or found[-1] != end:
            record = consumer.poll(TIMEOUT_S)
            assert record is not None, f"no more than {found}"
            assert record.error() is None, record.error()
            value = record.value()
            assert value is not None
            found.append(value)
        return found
    finally:
        consumer.close()


def read_kafka_python(address: str, topic: str, end: bytes) -> list[bytes]:
    consumer = KafkaConsumer(
        bootstrap_servers=address,
        isolation_level="read_committed",
        consumer_timeout_ms=int(TIMEOUT_S * 1000),
    )
    try:
        part = PythonPart(topic, 0)
        consumer.assign([part])
        consumer.seek(part, 0)
        found: list[bytes] = []
        for record in consumer:
            found.append(record.value)
            if found[-1] == end:
                return found
        raise AssertionError(f"no more than {found}")
    finally:
        consumer.close()


def read_aiokafka(address: str, topic: str, end: bytes) -> list[bytes]:
    async def read() -> list[bytes]:
        consumer = AIOKafkaConsumer(bootstrap_servers=address, isolation_level="read_committed")
        await consumer.start()
        try:
            part = AioPart(topic, 0)
            consumer.assign([part])
            consumer.seek(part, 0)
            found: list[bytes] = []
            while not found or found[-1] != end:
                record = await asyncio.wait_for(consumer.getone(), TIMEOUT_S)
                found.append(record.value)
            return found
        finally:
            await consumer.stop()

    return asyncio.run(read())


READERS: dict[str, Callable[[str, str, bytes], list[bytes]]] = {
    "confluent": read_confluent,
    "kafka-python": read_kafka_python,
    "aiokafka": read_aiokafka,
}
