"""Topics, configs and partitions by the admin clients that people use, each unchanged."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewPartitions as AioNewPartitions
from aiokafka.admin import NewTopic as AioNewTopic
from aiokafka.admin.config_resource import ConfigResource as AioConfigResource
from aiokafka.admin.config_resource import ConfigResourceType as AioConfigResourceType
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource as PyConfigResource
from kafka.admin import ConfigResourceType as PyConfigResourceType
from kafka.admin import NewPartitions as PyNewPartitions
from kafka.admin import NewTopic as PyNewTopic
from kafka.errors import InvalidReplicationFactorError, TopicAlreadyExistsError

from tests.server.in_process import InProcessServer

WAIT_S = 30


def done(futures: dict[Any, Any]) -> dict[Any, Any]:
    return {key: future.result(WAIT_S) for key, future in futures.items()}


def test_confluent_kafka(address: str, server: InProcessServer) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    config = {"retention.ms": "1000", "cleanup.policy": "compact", "min.insync.replicas": "1"}
    done(admin.create_topics([NewTopic("t", 2, 1, config=config), NewTopic("gone", 1, 1)]))
    done(admin.create_partitions([NewPartitions("t", 4)]))
    done(admin.delete_topics(["gone"]))
    topics = admin.list_topics(timeout=WAIT_S).topics
    assert len(topics["t"].partitions) == 4
    assert "gone" not in topics

    resource = ConfigResource(ConfigResource.Type.TOPIC, "t")
    (found,) = done(admin.describe_configs([resource])).values()
    assert found["retention.ms"].value == "1000"
    assert found["cleanup.policy"].value == "compact"
    assert found["min.insync.replicas"].is_read_only
    change = ConfigResource(
        ConfigResource.Type.TOPIC,
        "t",
        incremental_configs=[
            ConfigEntry("retention.ms", "2000", incremental_operation=AlterConfigOpType.SET),
            ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.APPEND),
        ],
    )
    done(admin.incremental_alter_configs([change]))
    (found,) = done(admin.describe_configs([resource])).values()
    assert found["retention.ms"].value == "2000"
    assert found["cleanup.policy"].value == "compact,delete"

    with pytest.raises(KafkaException, match="REPLICATION_FACTOR"):
        done(admin.create_topics([NewTopic("three", 1, 3)]))
    with pytest.raises(KafkaException, match="ALREADY_EXISTS"):
        done(admin.create_topics([NewTopic("t", 1, 1)]))
    cluster = admin.describe_cluster().result(WAIT_S)
    assert [f"{node.host}:{node.port}" for node in cluster.nodes] == [server.kafka]


def test_kafka_python(address: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=address)
    try:
        admin.create_topics([PyNewTopic("t", 2, 1, topic_configs={"retention.ms": "1000"})])
        with pytest.raises(TopicAlreadyExistsError):
            admin.create_topics([PyNewTopic("t", 2, 1)])
        with pytest.raises(InvalidReplicationFactorError):
            admin.create_topics([PyNewTopic("three", 2, 3)])
        admin.create_partitions({"t": PyNewPartitions(3)})
        (topic,) = admin.describe_topics(["t"])
        assert len(topic["partitions"]) == 3
        resource = PyConfigResource(PyConfigResourceType.TOPIC, "t")
        found = str(admin.describe_configs([resource]))
        assert "retention.ms" in found
        assert "1000" in found
        admin.alter_configs(
            [PyConfigResource(PyConfigResourceType.TOPIC, "t", configs={"segment.ms": "7"})]
        )
        assert "t" in admin.list_topics()
        admin.delete_topics(["t"])
        assert "t" not in admin.list_topics()
        assert admin.describe_cluster()["brokers"]
        assert admin.describe_log_dirs()
        (topic,) = admin.describe_metadata_quorum()["topics"]
        (partition,) = topic["partitions"]
        assert partition["error"] is None
        assert [voter["replica_id"] for voter in partition["current_voters"]] == [
            partition["leader_id"]
        ]
    finally:
        admin.close()


def test_aiokafka(address: str) -> None:
    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            await admin.create_topics([AioNewTopic("t", 2, 1)])
            await admin.create_partitions({"t": AioNewPartitions(3)})
            (topic,) = await admin.describe_topics(["t"])
            assert len(topic["partitions"]) == 3
            resource = AioConfigResource(AioConfigResourceType.TOPIC, "t")
            (answer,) = await admin.describe_configs([resource])
            assert "retention.ms" in str(answer)
            changed = AioConfigResource(
                AioConfigResourceType.TOPIC, "t", configs={"retention.ms": "5"}
            )
            await admin.alter_configs([changed])
            await admin.delete_topics(["t"])
            assert "t" not in await admin.list_topics()
        finally:
            await admin.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of aiokafka's own calls
        asyncio.run(run())
