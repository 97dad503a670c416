"""CreatePartitions (key 37), versions 0 to 3: more partitions for topics.

What each version added
    2  flexible        3  THROTTLING_QUOTA_EXCEEDED

Records stay where they are. There is one node: an assignment names it alone.

Not done: the timeout.
"""

from __future__ import annotations

from typing import Any

from logstore.errors import LogStoreError
from logstore_server.kafka.admin import RefusedError, check_replicas, outcome, repeated
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode


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
            if topic.assignments is not None:
                _check_assignments(request, topic)
            await request.bridge.call(
                request.store.add_partitions,
                topic.name,
                total=topic.count,
                validate_only=body.validate_only,
            )
            results[topic.name] = {"name": topic.name, **outcome()}
        except (LogStoreError, RefusedError) as error:
            results[topic.name] = {"name": topic.name, **outcome(error)}
    return {"throttle_time": 0, "results": list(results.values())}


def _check_assignments(request: Request, topic: Any) -> None:
    (known,) = request.store.describe_topics([topic.name])
    added = topic.count - len(known.partitions)
    if added > 0 and len(topic.assignments) != added:
        raise RefusedError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"{added} partitions would be added, but {len(topic.assignments)} are assigned",
        )
    node_id = request.store.describe_store().node_id
    for assignment in topic.assignments:
        check_replicas(node_id, assignment.broker_ids)
