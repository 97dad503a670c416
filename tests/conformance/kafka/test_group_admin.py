"""Groups in the hands of the clients' admin classes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import kafka
import kafka.admin
import kafka.errors
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient
from kafka.structs import OffsetAndMetadata

import logstore
from logstore.api import OffsetToCommit, TopicPartition
from logstore.client.facade import Store
from tests.conformance.kafka.members import Team, team
from tests.server.in_process import InProcessServer

T0, T1 = kafka.TopicPartition("t", 0), kafka.TopicPartition("t", 1)


@pytest.fixture
def local(server: InProcessServer) -> Iterator[Store]:
    """With topic t of two partitions and ten records each, and a group `idle` of offsets only."""
    with logstore.connect(server.address) as store:
        store.create_topic("t", partitions=2)
        with store.producer() as producer:
            for number in range(20):
                producer.send("t", b"v", partition=number % 2)
        offsets = [OffsetToCommit("t", 0, 4, 2, "why"), OffsetToCommit("t", 1, 5)]
        store.log_store.commit_offsets("idle", offsets).result(10)
        yield store


@pytest.fixture
def members() -> Iterator[Team]:
    with team() as members:
        yield members


@pytest.fixture
def busy(server: InProcessServer, local: Store, members: Team) -> Team:
    """A group `g` of one kafka-python member."""
    members.start("kafka-python", server.kafka, "t", "g", group_instance_id="i", client_id="c")
    members.wait_until_shared(2)
    members.wait_until(lambda: committed(server, "g") == [10, 10], "all is committed")
    return members


def committed(server: InProcessServer, group: str) -> list[int]:
    parts = [TopicPartition("t", number) for number in range(2)]
    return [int(item.offset) for item in server.store.committed_offsets(group, parts)]


# --- kafka-python -----------------------------------------------------------------------------


@pytest.fixture
def admin(address: str) -> Iterator[kafka.KafkaAdminClient]:
    admin = kafka.KafkaAdminClient(bootstrap_servers=address)
    yield admin
    admin.close()


def test_kafka_python_lists_and_describes(admin, busy):
    found = {group["group_id"]: group for group in admin.list_groups()}
    assert found["g"]["protocol_type"] == "consumer"
    assert found["g"]["group_state"] == "Stable"
    assert found["idle"]["group_state"] == "Empty"
    assert [group["group_id"] for group in admin.list_groups(states_filter=["Empty"])] == ["idle"]
    described = admin.describe_groups(["g"])["g"]
    assert (described["group_state"], described["protocol_data"]) == ("Stable", "range")
    (member,) = described["members"]
    assert (member["client_id"], member["group_instance_id"]) == ("c", "i")


def test_kafka_python_reads_and_changes_offsets(admin, server, local):
    found = admin.list_group_offsets({"idle": None})["idle"]
    assert found[T0].offset == 4
    assert (found[T0].metadata, found[T0].leader_epoch) == ("why", 2)
    done = admin.alter_group_offsets("idle", {T0: OffsetAndMetadata(7, "", -1)})
    assert done[T0] is kafka.errors.NoError
    assert committed(server, "idle") == [7, 5]
    admin.reset_group_offsets("idle", {T0: kafka.admin.OffsetSpec.EARLIEST})
    assert committed(server, "idle") == [0, 5]
    assert admin.delete_group_offsets("idle", [T0])[T0] is kafka.errors.NoError
    assert committed(server, "idle") == [-1, 5]
    admin.delete_groups(["idle"])
    assert server.store.list_groups() == []


def test_kafka_python_is_refused_what_members_need(admin, server, busy):
    done = admin.delete_group_offsets("g", [T0])
    assert done[T0] is kafka.errors.GroupSubscribedToTopicError
    refused = admin.alter_group_offsets("g", {T0: OffsetAndMetadata(7, "", -1)})
    assert refused[T0] is kafka.errors.UnknownMemberIdError
    assert "NonEmptyGroup" in repr(admin.delete_groups(["g"]))
    assert committed(server, "g") == [10, 10]
    removed = admin.remove_group_members("g", [kafka.admin.MemberToRemove(group_instance_id="i")])
    assert "NoError" in repr(removed)


# --- confluent-kafka --------------------------------------------------------------------------


def results(futures: dict[str, Any]) -> dict[str, Any]:
    return {key: future.result(20) for key, future in futures.items()}


def test_confluent_lists_and_describes(address, busy):
    admin = AdminClient({"bootstrap.servers": address})
    listed = admin.list_consumer_groups().result(20)
    assert listed.errors == []
    assert {(group.group_id, group.state) for group in listed.valid} == {
        ("g", ConsumerGroupState.STABLE),
        ("idle", ConsumerGroupState.EMPTY),
    }
    found = results(admin.describe_consumer_groups(["g", "idle"]))
    (member,) = found["g"].members
    assert (member.client_id, member.group_instance_id) == ("c", "i")
    assert {(part.topic, part.partition) for part in member.assignment.topic_partitions} == {
        ("t", 0),
        ("t", 1),
    }
    assert found["idle"].members == []


def test_confluent_reads_and_changes_offsets(server, address, local):
    admin = AdminClient({"bootstrap.servers": address})
    asked = [ConsumerGroupTopicPartitions("idle")]
    found = results(admin.list_consumer_group_offsets(asked))["idle"].topic_partitions
    # Not their metadata: the client reads on behind it, up to a zero byte.
    assert [(part.partition, part.offset) for part in found] == [(0, 4), (1, 5)]
    parts = [confluent_kafka.TopicPartition("t", 0, 8)]
    results(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions("idle", parts)]))
    assert committed(server, "idle") == [8, 5]
    results(admin.delete_consumer_groups(["idle"]))
    assert server.store.list_groups() == []


def test_confluent_is_refused_what_members_need(address, busy):
    admin = AdminClient({"bootstrap.servers": address})
    with pytest.raises(confluent_kafka.KafkaException) as caught:
        results(admin.delete_consumer_groups(["g"]))
    assert caught.value.args[0].code() == confluent_kafka.KafkaError.NON_EMPTY_GROUP


def test_confluent_sees_members_over_grpc(server, address, local, members):
    members.start("grpc", server.address, "t", "h", client_id="over-grpc")
    members.wait_until_shared(2)
    admin = AdminClient({"bootstrap.servers": address})
    found = results(admin.describe_consumer_groups(["h"]))["h"]
    (member,) = found.members
    assert member.client_id == "over-grpc"
    assert len(member.assignment.topic_partitions) == 2


# --- aiokafka ---------------------------------------------------------------------------------


def test_aiokafka_lists_describes_and_reads_offsets(address, busy):
    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            listed = await admin.list_consumer_groups()
            assert sorted(listed) == [("g", "consumer"), ("idle", "")]
            (answer,) = await admin.describe_consumer_groups(["g"])
            assert answer.groups[0][:3] == (0, "g", "Stable")
            found = await admin.list_consumer_group_offsets("idle")
            assert {part.partition: item.offset for part, item in found.items()} == {0: 4, 1: 5}
        finally:
            await admin.close()

    asyncio.run(run())
