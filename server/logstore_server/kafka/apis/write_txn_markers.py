"""WriteTxnMarkers (key 27), versions 1 to 2: for brokers among themselves; refused to everyone.

The coordinator and the partitions are one store, which writes its markers itself. A client that
could write one would end transactions of others. Each partition is CLUSTER_AUTHORIZATION_FAILED.
"""

from __future__ import annotations

from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode


def handle(request: Request) -> Values:
    return {
        "markers": [
            {
                "producer_id": marker.producer_id,
                "topics": [
                    {
                        "name": topic.name,
                        "partitions": [
                            {
                                "partition_index": index,
                                "error_code": ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
                            }
                            for index in topic.partition_indexes
                        ],
                    }
                    for topic in marker.topics
                ],
            }
            for marker in request.body.markers
        ]
    }
