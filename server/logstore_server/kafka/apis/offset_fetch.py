"""OffsetFetch (key 9), versions 1 to 10: how far groups have read. -1 where nothing is committed,
or the partition, topic or group is not there.

What each version added
    2  all of a group's offsets (topics null), an error for all     3  throttle time
    5  the leader's epoch as committed     6  flexible
    7  require_stable: UNSTABLE_OFFSET_COMMIT where a transaction may move it (KIP-447)
    8  several groups     9  a member and its epoch, which must be right (KIP-848)
   10  topics by id
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from logstore.api import OffsetsQuery, TopicPartition
from logstore.errors import LogStoreError, UnknownTopicError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.groups import group_error_code, topic_id_of

TOP_LEVEL_ERROR_VERSION = 2
SEVERAL_VERSION = 8
TOPIC_IDS_VERSION = 10

Rows = dict[str, list[Values]]  # topic -> its partitions


@dataclass(frozen=True, slots=True)
class Asked:
    """`topics`: name -> partitions; None: all. `unknown`: ids of topics that are not there."""

    topics: Mapping[str, tuple[int, ...]] | None
    ids: Mapping[str, uuid.UUID]
    unknown: Mapping[uuid.UUID | None, tuple[int, ...]]


def handle(request: Request) -> Values:
    body = request.body
    if request.version >= SEVERAL_VERSION:
        groups = [_group(request, group) for group in body.groups]
        return {"throttle_time": 0, "groups": groups}
    return {"throttle_time": 0, **_group(request, body)}


def _group(request: Request, group: Any) -> Values:
    asked = _asked(request, group)
    partitions = None
    if asked.topics is not None:
        partitions = tuple(
            TopicPartition(name, number)
            for name, numbers in asked.topics.items()
            for number in numbers
        )
    rows: Rows = {name: [] for name in asked.topics or ()}
    code = ErrorCode.NONE
    try:
        found = request.store.coordination.offsets(
            OffsetsQuery(
                group_id=group.group_id,
                partitions=partitions,
                member_id=getattr(group, "member_id", None) or "",
                member_epoch=getattr(group, "member_epoch", -1),
                require_stable=getattr(request.body, "require_stable", False),
            )
        )
    except LogStoreError as error:
        code = group_error_code(error)
        for part in partitions or ():
            rows[part.topic].append(_row(part.partition, code))
    else:
        for committed, unstable in found:
            row = _row(
                committed.partition,
                ErrorCode.NONE if unstable is None else group_error_code(unstable),
                offset=committed.offset if unstable is None else -1,
                leader_epoch=committed.leader_epoch,
                metadata=committed.metadata,
            )
            rows.setdefault(committed.topic, []).append(row)
    if request.version >= TOP_LEVEL_ERROR_VERSION and code is not ErrorCode.NONE:
        rows = {}
    topics = [_topic(request, asked, name, items) for name, items in rows.items()]
    topics += [
        {
            "topic_id": topic_id,
            "partitions": [_row(number, ErrorCode.UNKNOWN_TOPIC_ID) for number in numbers],
        }
        for topic_id, numbers in asked.unknown.items()
    ]
    return {"group_id": group.group_id, "topics": topics, "error_code": code}


def _asked(request: Request, group: Any) -> Asked:
    if group.topics is None:
        return Asked(None, {}, {})
    if request.version < TOPIC_IDS_VERSION:
        return Asked({topic.name: topic.partition_indexes for topic in group.topics}, {}, {})
    topics, ids, unknown = {}, {}, {}
    for topic in group.topics:
        try:
            if topic.topic_id is None:
                raise UnknownTopicError("no topic has the id zero")
            name = request.store.topic_name(topic.topic_id)
            topics[name], ids[name] = topic.partition_indexes, topic.topic_id
        except UnknownTopicError:
            unknown[topic.topic_id] = topic.partition_indexes
    return Asked(topics, ids, unknown)


def _topic(request: Request, asked: Asked, name: str, rows: list[Values]) -> Values:
    topic_id = asked.ids.get(name)
    if topic_id is None and request.version >= TOPIC_IDS_VERSION:
        topic_id = topic_id_of(request.store, name)
    return {"name": name, "topic_id": topic_id, "partitions": rows}


def _row(
    partition: int,
    code: ErrorCode,
    *,
    offset: int = -1,
    leader_epoch: int = -1,
    metadata: str = "",
) -> Values:
    return {
        "partition_index": partition,
        "committed_offset": offset,
        "committed_leader_epoch": leader_epoch,
        "metadata": metadata,
        "error_code": code,
    }
