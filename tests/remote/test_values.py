"""Every number of the contract is known at both ends; test_store has the round trips."""

from __future__ import annotations

import pytest

from logstore.api import (
    GroupHeartbeat,
    GroupKind,
    GroupSummary,
    OffsetQuery,
    OffsetSpec,
    ResetTo,
    TopicPartition,
)
from logstore.remote import values
from logstore.v1 import consume_service_pb2 as consume
from logstore.v1 import group_service_pb2 as group
from logstore_server.rpc import consume_service, group_service


def test_both_ends_agree_on_what_a_number_means() -> None:
    assert {number: to for to, number in values.RESET_TARGETS.items()} == (
        group_service.RESET_TARGETS
    )
    assert set(values.RESET_TARGETS) == set(ResetTo)
    assert {number: spec for spec, number in values.OFFSET_SPECS.items()} == (
        consume_service.OFFSET_SPECS
    )
    assert set(values.OFFSET_SPECS) == set(OffsetSpec)


@pytest.mark.parametrize("kind", group_service.KINDS)
def test_kinds_of_groups(kind: GroupKind) -> None:
    number = group_service.KINDS[kind]
    summary = group.GroupSummary(group_id="g", kind=number, state="empty", members=2)
    assert values.group_summary(summary) == GroupSummary("g", kind, "empty", 2)


def test_what_a_heartbeat_leaves_out_stays_out() -> None:
    silent = values.heartbeat_message(GroupHeartbeat("g"), 0)
    assert {field.name for field, _ in silent.ListFields()} == {"group_id"}
    assert group_service._heartbeat(silent, "host") == GroupHeartbeat("g", client_host="host")


def test_empty_is_not_the_same_as_left_out() -> None:
    heartbeat = GroupHeartbeat("g", "m", 3, "i", "c", "host", 1000, 2000, (), "p.*", "sticky", ())
    message = values.heartbeat_message(heartbeat, 5)
    assert message.max_wait_ms == 5
    assert group_service._heartbeat(message, "host") == heartbeat


def test_partitions_keep_their_order() -> None:
    partitions = (TopicPartition("b", 1), TopicPartition("a", 0))
    assert values.partitions_of(values.partition_messages(partitions)) == partitions


def test_queries() -> None:
    message = values.query_message(OffsetQuery("t", 1, OffsetSpec.LATEST))
    assert message == consume.OffsetQuery(topic="t", partition=1, spec=consume.OFFSET_SPEC_LATEST)
    assert values.query_message(OffsetQuery("t", 1, 0)).WhichOneof("target") == "timestamp_ms"
