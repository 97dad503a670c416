"""What the APIs of groups share: their errors, how they wait, and their names for things."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from logstore.api import GroupKind, ServedLogStore, TopicPartition
from logstore.errors import (
    LogStoreError,
    StoreError,
    UnavailableError,
    UnknownTopicError,
    WrongEndpointError,
)
from logstore.pending import Pending
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, error_code

CLASSIC_STATES = {
    "empty": "Empty",
    "preparing": "PreparingRebalance",
    "completing": "CompletingRebalance",
    "stable": "Stable",
    "dead": "Dead",
}
CONSUMER_STATES = {"empty": "Empty", "reconciling": "Reconciling", "stable": "Stable"}


def group_error_code(error: LogStoreError) -> ErrorCode:
    """What ails the store makes a client look for its coordinator again."""
    if isinstance(error, WrongEndpointError):
        return ErrorCode.NOT_COORDINATOR
    if isinstance(error, StoreError | UnavailableError):
        return ErrorCode.COORDINATOR_NOT_AVAILABLE
    return error_code(error)


async def wait_for(request: Request, pending: Pending[Any]) -> LogStoreError | None:
    """Until it is done, or the server stops: then UnavailableError. Returns what it failed with."""
    if not pending.done and not request.serving.draining:
        done = asyncio.get_running_loop().create_future()

        def finish() -> None:
            if not done.done():
                done.set_result(None)

        pending.add_done_callback(lambda _: request.bridge.post(finish))
        forget = request.serving.on_drain(finish)
        try:
            await done
        finally:
            forget()
    if not pending.done:
        return UnavailableError("the server is stopping")
    return pending.error


def milliseconds(time: timedelta) -> int:
    return round(time.total_seconds() * 1000)


def client_host(request: Request) -> str:
    """As Kafka shows it."""
    return f"/{request.client.host}"


def is_classic(kind: GroupKind, protocol_type: str) -> bool:
    """A group that has nothing but offsets is one, to Kafka's tools."""
    return kind is GroupKind.CLASSIC or not protocol_type


def topic_id_of(store: ServedLogStore, name: str) -> uuid.UUID | None:
    """None when it is gone."""
    try:
        return store.describe_topics([name])[0].topic_id
    except UnknownTopicError:
        return None


def by_topic(partitions: Iterable[TopicPartition]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for topic, partition in partitions:
        found.setdefault(topic, []).append(partition)
    return found


def topics_with_ids(store: ServedLogStore, partitions: Sequence[TopicPartition]) -> list[Values]:
    """Partitions by topic, with its id; those of topics that are gone are left out."""
    return [
        {"topic_id": topic_id, "topic_name": topic, "partitions": numbers}
        for topic, numbers in by_topic(partitions).items()
        if (topic_id := topic_id_of(store, topic)) is not None
    ]
