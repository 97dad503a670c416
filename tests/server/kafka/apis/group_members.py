"""Members of groups over the wire, for the tests of the groups' APIs."""

from __future__ import annotations

from typing import Any

from logstore.api import TopicPartition
from logstore.group.consumer_protocol import encode_assignment, encode_subscription
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire

GROUP = "g"
SESSION_MS = 10_000
T0 = TopicPartition("t", 0)
SUBSCRIPTION = encode_subscription(["t"], [])


def join_fields(version: int, member_id: str = "", **asked: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "group_id": GROUP,
        "session_timeout": SESSION_MS,
        "member_id": member_id,
        "protocol_type": "consumer",
        "protocols": [{"name": "range", "metadata": SUBSCRIPTION}],
    }
    if version >= 1:
        fields["rebalance_timeout"] = 30_000
    return fields | asked


def join(wire: Wire, version: int = 9, member_id: str = "", **asked: Any) -> Any:
    """Once more under its id, where that is asked for first."""
    answer = wire.ask("join_group", version, **join_fields(version, member_id, **asked))
    if answer.error_code == ErrorCode.MEMBER_ID_REQUIRED:
        fields = join_fields(version, answer.member_id, **asked)
        answer = wire.ask("join_group", version, **fields)
    assert answer.error_code == ErrorCode.NONE
    return answer


def sync_fields(version: int, joined: Any, **asked: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "group_id": GROUP,
        "generation_id": joined.generation_id,
        "member_id": joined.member_id,
        "assignments": [],
    }
    if version >= 5:
        fields |= {"protocol_type": "consumer", "protocol_name": "range"}
    return fields | asked


def assign_one(wire: Wire) -> Any:
    """A member alone, stable; what its join was answered."""
    joined = join(wire)
    assignment = {"member_id": joined.member_id, "assignment": encode_assignment([T0])}
    answer = wire.ask("sync_group", 5, **sync_fields(5, joined, assignments=[assignment]))
    assert answer.error_code == ErrorCode.NONE
    return joined


def assigned_heartbeat(member_id: str, epoch: int, **asked: Any) -> dict[str, Any]:
    """Fields of a ConsumerGroupHeartbeat; a join's if the epoch is 0."""
    fields: dict[str, Any] = {"group_id": GROUP, "member_id": member_id, "member_epoch": epoch}
    if epoch == 0:
        fields |= {
            "rebalance_timeout": 30_000,
            "subscribed_topic_names": ["t"],
            "topic_partitions": [],
        }
    else:
        fields |= {"subscribed_topic_names": None, "topic_partitions": None}
    return fields | asked
