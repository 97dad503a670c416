"""What the admin APIs share: results with their error, one node's answer about replicas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from logstore.api import TopicInfo
from logstore.errors import LogStoreError, UnknownTopicError
from logstore_server.kafka.context import Request
from logstore_server.kafka.errors import ErrorCode, error_code, error_message

REPLICATION_FACTOR = 1
REPLICATION_FACTOR_DEFAULT = -1  # asks for the broker's
# Kafka's sign for "was not asked" in sets of operations.
NOT_ASKED = -(1 << 31)


class RefusedError(Exception):
    """One item of a request is answered with this code and sentence."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def outcome(error: Exception | None = None) -> dict[str, Any]:
    """error_code and error_message of an item's result; other exceptions are bugs."""
    if error is None:
        return {"error_code": ErrorCode.NONE, "error_message": None}
    if isinstance(error, RefusedError):
        return {"error_code": error.code, "error_message": error.message}
    if isinstance(error, LogStoreError):
        return {"error_code": error_code(error), "error_message": error_message(error)}
    raise error


def repeated(names: Iterable[object]) -> set[object]:
    """What is named more than once, where once is all that makes sense."""
    return {name for name, count in Counter(names).items() if count > 1}


def check_replicas(node_id: int, replicas: Sequence[int]) -> None:
    """The only replica that a partition can have is on this node."""
    if list(replicas) != [node_id]:
        raise RefusedError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"a partition has one replica, on node {node_id}; {list(replicas)} was asked for",
        )


def topics_by_name(request: Request) -> dict[str, TopicInfo]:
    """All topics, those of the store itself too."""
    return {topic.name: topic for topic in request.store.describe_topics(include_internal=True)}


def find_topic(request: Request, name: str) -> TopicInfo | None:
    try:
        return request.store.describe_topics([name])[0]
    except UnknownTopicError:
        return None


def has_partition(topic: TopicInfo | None, partition: int) -> bool:
    return topic is not None and 0 <= partition < len(topic.partitions)
