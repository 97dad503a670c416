"""Metadata (key 3), versions 0 to 13: brokers, topics, partitions and who leads them.

There is one broker, this one, under the address that `advertised_host` and `advertised_port` tell.
A named topic that is missing is made if the request and `auto_create_topics` allow it, with
`num_partitions` partitions and the partitioner of Kafka's clients.

What each version added
    1  null means all topics, an empty list none (0: empty means all); racks, controller, internal
    2  cluster id         3  throttle time       4  allow_auto_topic_creation (before: always)
    5  offline replicas   7  leader epochs       8  authorized operations, on request
    9  flexible          10  topic ids          11  none of the cluster's authorized operations
   12  topics are asked for by id               13  an error for all of it

Not done: authorized operations are not told (-2147483648).
"""

from __future__ import annotations

import uuid
from typing import Any

from logstore.api import TopicInfo, TopicSpec
from logstore.errors import LogStoreError, TopicExistsError, UnknownTopicError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, error_code

TOPICS_BY_ID_VERSION = 12
# One key stays in one partition whoever sends it: Kafka's Java clients hash with this.
PARTITIONER = "murmur2"


async def handle(request: Request) -> Values:
    body = request.body
    topics = body.topics
    if topics is None or (request.version == 0 and not topics):
        infos = request.store.describe_topics(include_internal=True)
        found = [_topic(request, info) for info in infos]
    else:
        found = [await _named_topic(request, topic) for topic in topics]
    store = request.store.describe_store()
    serving = request.serving
    return {
        "throttle_time": 0,
        "brokers": [
            {"node_id": store.node_id, "host": serving.host, "port": serving.port, "rack": None}
        ],
        "cluster_id": store.cluster_id,
        "controller_id": store.node_id,
        "topics": found,
        "error_code": ErrorCode.NONE,
    }


async def _named_topic(request: Request, topic: Any) -> Values:
    topic_id: uuid.UUID | None = getattr(topic, "topic_id", None)
    name: str | None = topic.name
    try:
        if topic_id is not None:
            name = request.store.topic_name(topic_id)
        elif name is None:
            # Only a topic that is asked for by id may go without a name; none was given here.
            return _failed("", None, ErrorCode.INVALID_REQUEST)
        (info,) = request.store.describe_topics([name])
        return _topic(request, info)
    except UnknownTopicError:
        if topic_id is not None:
            name = None if request.version >= TOPICS_BY_ID_VERSION else ""
            return _failed(name, topic_id, ErrorCode.UNKNOWN_TOPIC_ID)
    except LogStoreError as error:
        return _failed(name, topic_id, error_code(error))
    assert name is not None
    may_create = getattr(request.body, "allow_auto_topic_creation", True)
    if not may_create or not request.serving.config.auto_create_topics:
        return _failed(name, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    try:
        return _topic(request, await create_topic(request, name))
    except LogStoreError as error:
        return _failed(name, None, error_code(error))


async def create_topic(request: Request, name: str) -> TopicInfo:
    spec = TopicSpec(
        name, request.serving.config.num_partitions, configs={"partitioner": PARTITIONER}
    )
    try:
        return await request.bridge.call(request.store.create_topic, spec)
    except TopicExistsError:  # by another client, just now
        (info,) = request.store.describe_topics([name])
        return info


def _topic(request: Request, info: TopicInfo) -> Values:
    node_ids = (request.store.describe_store().node_id,)
    return {
        "error_code": ErrorCode.NONE,
        "name": info.name,
        "topic_id": info.topic_id,
        "is_internal": info.internal,
        "partitions": [
            {
                "error_code": ErrorCode.NONE,
                "partition_index": partition.partition,
                "leader_id": node_ids[0],
                "leader_epoch": partition.leader_epoch,
                "replica_nodes": node_ids,
                "isr_nodes": node_ids,
                "offline_replicas": (),
            }
            for partition in info.partitions
        ],
    }


def _failed(name: str | None, topic_id: uuid.UUID | None, code: ErrorCode) -> Values:
    return {
        "error_code": code,
        "name": name,
        "topic_id": topic_id,
        "is_internal": False,
        "partitions": (),
    }
