"""AlterReplicaLogDirs (key 34), versions 1 to 2: moving partitions between directories.

What each version added
    2  flexible

There is one directory. A partition that is to go there is there already; any other is not found.
"""

from __future__ import annotations

from typing import Any

from logstore_server.kafka.admin import find_topic, has_partition
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode


def handle(request: Request) -> Values:
    data_dir = request.store.describe_store().data_dir
    results: dict[str, list[dict[str, Any]]] = {}
    for directory in request.body.dirs:
        for asked in directory.topics:
            topic = find_topic(request, asked.name)
            for partition in asked.partitions:
                if directory.path != data_dir:
                    code = ErrorCode.LOG_DIR_NOT_FOUND
                elif has_partition(topic, partition):
                    code = ErrorCode.NONE
                else:
                    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                results.setdefault(asked.name, []).append(
                    {"partition_index": partition, "error_code": code}
                )
    return {
        "throttle_time": 0,
        "results": [
            {"topic_name": name, "partitions": partitions} for name, partitions in results.items()
        ],
    }
