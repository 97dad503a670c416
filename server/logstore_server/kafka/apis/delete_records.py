"""DeleteRecords (key 21), versions 0 to 2: forget all below an offset; -1 is the high watermark.

The answer's low watermark is the log start, durable when it is told. Version 2 is flexible.

Not done: the timeout; the change is made or fails.
"""

from __future__ import annotations

from typing import Any

from logstore.errors import InvalidRequestError, LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, error_code


async def handle(request: Request) -> Values:
    return {
        "throttle_time": 0,
        "topics": [
            {
                "name": topic.name,
                "partitions": [
                    await _delete(request, topic.name, partition) for partition in topic.partitions
                ],
            }
            for topic in request.body.topics
        ],
    }


async def _delete(request: Request, topic: str, partition: Any) -> Values:
    index = partition.partition_index
    code = ErrorCode.NONE
    low_watermark = -1
    try:
        low_watermark = await request.bridge.call(
            request.store.delete_records, topic, index, before_offset=partition.offset
        )
    except InvalidRequestError:  # one of logstore's own topics
        code = ErrorCode.POLICY_VIOLATION
    except LogStoreError as error:
        code = error_code(error)
    return {"partition_index": index, "low_watermark": low_watermark, "error_code": code}
