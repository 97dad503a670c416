"""DescribeLogDirs (key 35), versions 1 to 4: how large the partitions are, and how full the disk.

What each version added
    2  flexible        3  an error of the whole        4  size of the disk and what is left of it

There is one directory, the store's.
"""

from __future__ import annotations

import shutil
from typing import Any

from logstore.api import TopicInfo
from logstore_server.kafka.admin import topics_by_name
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode

UNKNOWN = -1


async def handle(request: Request) -> Values:
    data_dir = request.store.describe_store().data_dir
    total, usable = await request.bridge.call(_disk, data_dir)
    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE,
        "results": [
            {
                "error_code": ErrorCode.NONE,
                "log_dir": data_dir,
                "topics": _topics(request),
                "total_bytes": total,
                "usable_bytes": usable,
            }
        ],
    }


def _disk(path: str) -> tuple[int, int]:
    try:
        usage = shutil.disk_usage(path)
    except OSError:  # of a store that is not on a disk
        return UNKNOWN, UNKNOWN
    return usage.total, usage.free


def _topics(request: Request) -> list[dict[str, Any]]:
    known = topics_by_name(request)
    asked = request.body.topics
    if asked is None:
        return [_topic(topic, range(len(topic.partitions))) for topic in known.values()]
    return [_topic(known[one.topic], one.partitions) for one in asked if one.topic in known]


def _topic(topic: TopicInfo, partitions: Any) -> dict[str, Any]:
    wanted = set(partitions)
    return {
        "name": topic.name,
        "partitions": [
            {
                "partition_index": one.partition,
                "partition_size": one.size_bytes,
                "offset_lag": 0,
                "is_future_key": False,
            }
            for one in topic.partitions
            if one.partition in wanted
        ],
    }
