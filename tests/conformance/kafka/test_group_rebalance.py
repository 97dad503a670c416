"""Groups of real clients, each member a process: they join, share, leave, die, come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import logstore
from logstore.config import GroupConfig, StoreConfig
from logstore.store import LocalLogStore
from logstore_server.config import KafkaConfig
from tests.conformance.kafka.members import Member, Team, team
from tests.server.in_process import InProcessServer

# Sessions have to end and processes to start, which takes its time on a machine that is busy.
pytestmark = pytest.mark.timeout(300)
PARTITIONS = 6
TOPIC, GROUP = "t", "g"
SESSION_S = 6.0  # Kafka's least

# kind, options
CLIENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "kafka-python": ("kafka-python", {"session_timeout_ms": 6000}),
    "kafka-python-cooperative": (
        "kafka-python",
        {"session_timeout_ms": 6000, "cooperative": True},
    ),
    "aiokafka": ("aiokafka", {"session_timeout_ms": 6000, "heartbeat_interval_ms": 500}),
    "confluent": ("confluent", {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}),
    "confluent-cooperative": (
        "confluent",
        {
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "partition.assignment.strategy": "cooperative-sticky",
        },
    ),
    "confluent-new-protocol": ("confluent", {"group.protocol": "consumer"}),
    "grpc": ("grpc", {"session_timeout": SESSION_S}),
}
STATIC_OPTION = {
    "kafka-python": "group_instance_id",
    "aiokafka": "group_instance_id",
    "confluent": "group.instance.id",
    "grpc": "group_instance_id",
}


class Bench:
    """A topic, its records, and the members of a group that read it."""

    def __init__(self, server: InProcessServer, members: Team) -> None:
        self.server = server
        self.members = members
        self.sent: list[tuple[int, int]] = []
        self._store = logstore.connect(server.address)
        self._store.create_topic(TOPIC, partitions=PARTITIONS)
        self._producer = self._store.producer()

    def close(self) -> None:
        self._store.close()

    def send(self, count: int) -> None:
        """To each partition."""
        for partition in range(PARTITIONS):
            deliveries = [
                self._producer.send(TOPIC, b"v", partition=partition) for _ in range(count)
            ]
            self.sent += [(partition, item.result(10).offset) for item in deliveries]

    def start(self, name: str, **more: Any) -> Member:
        kind, options = CLIENTS[name]
        address = self.server.address if kind == "grpc" else self.server.kafka
        return self.members.start(kind, address, TOPIC, GROUP, **options, **more)

    def start_static(self, name: str, instance_id: str) -> Member:
        return self.start(name, **{STATIC_OPTION[CLIENTS[name][0]]: instance_id})

    def wait_until_all_is_processed(self) -> None:
        self.members.wait_until(
            lambda: set(self.members.processed()) >= set(self.sent), "all records processed"
        )

    def check(self, *dead: Member) -> None:
        """Twice only what a dead member had not committed."""
        counts = Counter(self.members.processed())
        assert set(counts) == set(self.sent)
        allowed = {
            (partition, offset)
            for member in dead
            for partition, offset in member.records
            if offset >= member.committed.get(partition, 0)
        }
        assert {record for record, count in counts.items() if count > 1} <= allowed


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    """Its members need not wait long for the dead; of the new protocol the times are ours."""
    times = GroupConfig(session_timeout_ms=round(SESSION_S * 1000), heartbeat_interval_ms=500)
    store = LocalLogStore.open(str(tmp_path / "data"), config=StoreConfig(group=times))
    with InProcessServer(store, kafka=KafkaConfig(port=0)) as server:
        yield server
    store.close()


@pytest.fixture
def bench(server: InProcessServer) -> Iterator[Bench]:
    with team() as members:
        bench = Bench(server, members)
        yield bench
        bench.close()


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_members_share_join_leave_and_die(bench: Bench, name: str) -> None:
    first = bench.start(name)
    bench.send(20)
    bench.members.wait_until_shared(PARTITIONS)
    second, third = bench.start(name), bench.start(name)
    bench.send(20)
    bench.members.wait_until_shared(PARTITIONS, least=2)
    bench.wait_until_all_is_processed()

    second.stop()
    bench.send(20)
    bench.members.wait_until_shared(PARTITIONS, least=3)
    bench.wait_until_all_is_processed()

    bench.send(20)
    third.kill()
    bench.send(20)
    bench.members.wait_until_shared(PARTITIONS, least=6)
    bench.wait_until_all_is_processed()
    first.stop()
    bench.check(third)


@pytest.mark.parametrize(
    "name", ["kafka-python", "aiokafka", "confluent", "confluent-new-protocol"]
)
def test_a_static_member_comes_back_to_what_it_had(bench: Bench, name: str) -> None:
    other, member = bench.start_static(name, "one"), bench.start_static(name, "two")
    bench.send(20)
    bench.members.wait_until_shared(PARTITIONS, least=3)
    bench.wait_until_all_is_processed()
    had, others = member.assigned, other.assigned
    epoch = group_epoch(bench)
    member.kill() if name != "confluent-new-protocol" else member.stop()
    bench.send(20)
    again = bench.start_static(name, "two")
    bench.members.wait_until_shared(PARTITIONS, least=3)
    bench.wait_until_all_is_processed()
    assert (again.assigned, other.assigned) == (had, others)
    assert group_epoch(bench) == epoch, "nobody else was disturbed"
    bench.check(member)


def group_epoch(bench: Bench) -> int:
    epoch: int = bench.server.store.describe_group(GROUP).group_epoch
    return epoch


@pytest.mark.parametrize(
    "names",
    [
        ("grpc", "kafka-python", "confluent"),
        ("confluent-cooperative", "grpc", "kafka-python-cooperative"),
        ("confluent-new-protocol", "aiokafka", "grpc"),
        ("kafka-python", "confluent-new-protocol", "confluent-cooperative"),
    ],
    ids="+".join,
)
def test_a_mixed_group(bench: Bench, names: tuple[str, ...]) -> None:
    """Issue 4, Shows 5, in several orders of joining; each dies once in one of them."""
    members = []
    for name in names:
        bench.send(10)
        members.append(bench.start(name))
        least = PARTITIONS // len(members)
        bench.members.wait_until_shared(PARTITIONS, least=least)
    bench.send(20)
    bench.wait_until_all_is_processed()
    bench.send(20)
    members[1].kill()
    bench.send(20)
    bench.members.wait_until_shared(PARTITIONS, least=3)
    bench.wait_until_all_is_processed()
    members[0].stop()
    bench.send(20)
    bench.members.wait_until_shared(PARTITIONS, least=6)
    bench.wait_until_all_is_processed()
    members[2].stop()
    bench.check(members[1])
