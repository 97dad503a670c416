"""DescribeCluster (key 60), versions 0 to 2: who this cluster is.

What each version added
    1  whether brokers or controllers are asked for        2  brokers that are fenced

There is one node, a broker. Controllers are asked for at their own listeners, which there are none
of: MISMATCHED_ENDPOINT_TYPE, as a broker of Kafka's answers.
"""

from __future__ import annotations

from typing import Any

from logstore.api.access import CLUSTER_NAME, ResourceType
from logstore_server.kafka.admin import NOT_ASKED, outcome
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.guard import operations_of

BROKERS = 1


def handle(request: Request) -> Values:
    store = request.store.describe_store()
    endpoint_type = getattr(request.body, "endpoint_type", BROKERS)
    answer: dict[str, Any] = {
        "throttle_time": 0,
        "endpoint_type": endpoint_type,
        "cluster_id": store.cluster_id,
        "controller_id": store.node_id,
        "brokers": [],
        **outcome(),
    }
    if endpoint_type != BROKERS:
        return answer | {
            "error_code": ErrorCode.MISMATCHED_ENDPOINT_TYPE,
            "error_message": "this is a broker; it knows of no controllers",
        }
    node = {
        "broker_id": store.node_id,
        "host": request.serving.host,
        "port": request.serving.port,
        "rack": None,
        "is_fenced": False,
    }
    is_asked = request.body.include_cluster_authorized_operations
    operations = operations_of(request, ResourceType.CLUSTER, CLUSTER_NAME)
    return answer | {
        "brokers": [node],
        "cluster_authorized_operations": operations if is_asked else NOT_ASKED,
    }
