"""OffsetDelete (key 47), versions 0 to 0: forget offsets of topics that no member of the group
reads (KIP-496). Answered once that is on disk.

Of a group whose members' bytes are not those of consumers it is not known what they read: then it
must be empty.
"""

from __future__ import annotations

from typing import Any

from logstore.api import TopicPartition
from logstore.errors import GroupReadsTopicError, LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, error_code
from logstore_server.kafka.groups import group_error_code


async def handle(request: Request) -> Values:
    return await request.bridge.call(_delete, request)


def _delete(request: Request) -> Values:
    body = request.body
    try:
        request.store.delete_offsets(body.group_id, [])  # is it there?
        topics = [_delete_topic(request, body.group_id, topic) for topic in body.topics]
    except LogStoreError as error:
        return {"error_code": group_error_code(error), "throttle_time": 0, "topics": ()}
    return {"error_code": ErrorCode.NONE, "throttle_time": 0, "topics": topics}


def _delete_topic(request: Request, group_id: str, topic: Any) -> Values:
    codes = {item.partition_index: _exists(request, topic, item) for item in topic.partitions}
    wanted = [
        TopicPartition(topic.name, number)
        for number, code in codes.items()
        if code is ErrorCode.NONE
    ]
    try:
        request.store.delete_offsets(group_id, wanted)
    except GroupReadsTopicError as error:
        codes |= {part.partition: error_code(error) for part in wanted}
    return {
        "name": topic.name,
        "partitions": [
            {"partition_index": number, "error_code": code} for number, code in codes.items()
        ],
    }


def _exists(request: Request, topic: Any, item: Any) -> ErrorCode:
    try:
        request.store.partition_bounds(topic.name, item.partition_index)
    except LogStoreError as error:
        return error_code(error)
    return ErrorCode.NONE
