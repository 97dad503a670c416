"""Whose clients a torture run's traffic is: our own over gRPC, or confluent-kafka of either group
protocol. They keep the same ledger, and what prepares, asks and checks is always gRPC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.server_process import ServerProcess
from tests.torture.kafka_traffic import CLASSIC, CONSUMER, KafkaMember, KafkaWriter
from tests.torture.kafka_transforms import KafkaTransformer
from tests.torture.traffic import Member, Writer
from tests.torture.transforms import Transformer

# A member of the new protocol is told by the server how often to be heard of.
KAFKA_OPTIONS = (
    "--set", "store.group.session_timeout_ms=5000",
    "--set", "store.group.heartbeat_interval_ms=1000",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClientKind:
    """How the clients of one kind are made; each takes what those of traffic.py take."""

    name: str
    is_kafka: bool
    writer: Callable[..., Writer]
    member: Callable[..., Member]
    transformer: Callable[..., Transformer]

    def server(self, data: Path, *, errors: Path) -> ServerProcess:
        options = KAFKA_OPTIONS if self.is_kafka else ()
        return ServerProcess(data, *options, errors=errors, with_kafka=self.is_kafka)

    def address(self, server: ServerProcess) -> str:
        return server.kafka_address if self.is_kafka else server.address

    def part(self, name: str) -> str:
        """The name of a part with these clients."""
        return f"{name}/{self.name}" if self.is_kafka else name


def _kafka(protocol: str) -> ClientKind:
    return ClientKind(
        f"kafka-{protocol}",
        True,
        KafkaWriter,
        partial(KafkaMember, protocol=protocol),
        partial(KafkaTransformer, protocol=protocol),
    )


GRPC = ClientKind("grpc", False, Writer, Member, Transformer)
KAFKA_CLASSIC = _kafka(CLASSIC)
KAFKA_CONSUMER = _kafka(CONSUMER)
