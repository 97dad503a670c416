"""CreateTopics (key 19), versions 2 to 7: topics with their partitions and configs.

What each version added
    3  nothing                           5  flexible; the answer tells partitions and configs
    4  -1 for the broker's defaults      6  THROTTLING_QUOTA_EXCEEDED    7  the topic's id

There is one node, so the replication factor is 1 (or -1) and every assignment names it alone. Each
topic is created by itself; durable when answered. The partitioner is murmur2 unless said otherwise,
which is what Kafka's clients use.

Not done: the timeout; names that differ only in '.' and '_' are different topics.
"""

from __future__ import annotations

from typing import Any

from logstore.api import TopicInfo, TopicSpec
from logstore.errors import LogStoreError
from logstore_server.kafka.admin import (
    REPLICATION_FACTOR,
    REPLICATION_FACTOR_DEFAULT,
    RefusedError,
    check_replicas,
    outcome,
    repeated,
)
from logstore_server.kafka.config_answers import source_of
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.topic_configs import topic_entries, with_default_partitioner

DEFAULT = -1


async def handle(request: Request) -> Values:
    body = request.body
    twice = repeated(topic.name for topic in body.topics)
    results: dict[str, dict[str, Any]] = {}
    for topic in body.topics:
        if topic.name in results:
            continue
        try:
            if topic.name in twice:
                raise RefusedError(
                    ErrorCode.INVALID_REQUEST, f"topic {topic.name!r} is named twice"
                )
            spec = _spec(request, topic)
            created = await request.bridge.call(
                request.store.create_topic, spec, validate_only=body.validate_only
            )
            results[topic.name] = _created(created, spec, validate_only=body.validate_only)
        except (LogStoreError, RefusedError) as error:
            results[topic.name] = {
                "name": topic.name, "topic_id": None, "configs": None, **outcome(error)
            }  # fmt: skip
    return {"throttle_time": 0, "topics": list(results.values())}


def _spec(request: Request, topic: Any) -> TopicSpec:
    configs: dict[str, str] = {}
    for config in topic.configs:
        if config.value is None:
            raise RefusedError(ErrorCode.INVALID_CONFIG, f"config {config.name} has no value")
        if config.name in configs:
            raise RefusedError(ErrorCode.INVALID_CONFIG, f"config {config.name} is given twice")
        configs[config.name] = config.value
    return TopicSpec(
        name=topic.name,
        partitions=_partitions(request, topic),
        configs=with_default_partitioner(configs),
    )


def _partitions(request: Request, topic: Any) -> int:
    if topic.assignments:
        return _assigned(request, topic)
    if topic.replication_factor not in (REPLICATION_FACTOR, REPLICATION_FACTOR_DEFAULT):
        raise RefusedError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"replication factor {topic.replication_factor} cannot be had: there is one node, so "
            "it is 1 (or -1 for the default)",
        )
    if topic.num_partitions == DEFAULT:
        return request.serving.config.num_partitions
    return int(topic.num_partitions)


def _assigned(request: Request, topic: Any) -> int:
    if topic.num_partitions != DEFAULT or topic.replication_factor != DEFAULT:
        raise RefusedError(
            ErrorCode.INVALID_REQUEST,
            "either assignments or numbers of partitions and replicas are given; the others are -1",
        )
    node_id = request.store.describe_store().node_id
    if sorted(one.partition_index for one in topic.assignments) != list(
        range(len(topic.assignments))
    ):
        raise RefusedError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT, "partitions are assigned from 0 on, each once"
        )
    for assignment in topic.assignments:
        check_replicas(node_id, assignment.broker_ids)
    return len(topic.assignments)


def _created(topic: TopicInfo, spec: TopicSpec, *, validate_only: bool) -> dict[str, Any]:
    return {
        "name": topic.name,
        "topic_id": None if validate_only else topic.topic_id,
        "num_partitions": spec.partitions,
        "replication_factor": REPLICATION_FACTOR,
        "configs": [
            {
                "name": entry.name,
                "value": entry.value,
                "read_only": entry.is_fixed,
                "config_source": source_of(entry),
                "is_sensitive": False,
            }
            for entry in topic_entries(topic.configs, topic.overrides)
        ],
        **outcome(),
    }
