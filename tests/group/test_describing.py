"""What is told of groups of both kinds."""

from __future__ import annotations

import pytest

from logstore.api import (
    ClassicProtocol,
    CommittedOffset,
    GroupKind,
    GroupSummary,
    ListedGroup,
    MemberInfo,
    PartitionLag,
)
from logstore.errors import UnknownTopicError
from logstore.group import describing
from logstore.group.consumer_group import ConsumerGroup
from logstore.group.consumer_protocol import encode_assignment, encode_subscription
from tests.group import classic_rig, rig


def bounds(topic: str, partition: int) -> tuple[int, int]:
    if topic != "t":
        raise UnknownTopicError(topic)
    return 10, 100


def test_a_server_assigned_group_knows_who_owns_what():
    consumer = rig.new_rig()
    consumer.join("a", assignor="range")
    group = consumer.group
    assert describing.summary_of(group) == GroupSummary("g", GroupKind.CONSUMER, "stable", 1)
    assert describing.listed(group) == ListedGroup("g", GroupKind.CONSUMER, "stable", "consumer")
    assert describing.assignor_of(group) == "range"
    assert describing.members_of(group) == group.describe()
    assert describing.owners_of(group.describe()) == dict.fromkeys(rig.tp(0, 1, 2, 3), "a")
    assert describing.topics_read(group) == frozenset({"t"})


def test_a_group_that_nobody_was_in_has_no_type():
    assert describing.listed(ConsumerGroup("g", rig.CONFIG)).protocol_type == ""


def test_a_classic_group_of_another_type_keeps_it_in_its_bytes():
    classic = classic_rig.new_rig()
    classic.join(new_id="a", client_id="c", client_host="h", protocol_type="connect")
    group = classic.group
    assert describing.summary_of(group) == GroupSummary("g", GroupKind.CLASSIC, "completing", 1)
    assert describing.listed(group) == ListedGroup("g", GroupKind.CLASSIC, "completing", "connect")
    assert describing.assignor_of(group) == ""
    classic.sync("a", assignments={"a": b"all"})
    assert describing.assignor_of(group) == "range"
    assert describing.members_of(group) == (
        MemberInfo("a", None, "c", "h", 1, (), None, (), (), is_classic=True),
    )
    assert describing.topics_read(group) is None


def test_a_classic_group_of_consumers_is_read():
    classic = classic_rig.new_rig()
    protocol = ClassicProtocol("range", encode_subscription(["t"], []))
    classic.join(new_id="a", protocols=(protocol,))
    classic.sync("a", assignments={"a": encode_assignment(rig.tp(1, 0))})
    (member,) = describing.members_of(classic.group)
    assert (member.subscribed_topics, member.assigned) == (("t",), tuple(sorted(rig.tp(0, 1))))
    assert describing.topics_read(classic.group) == frozenset({"t"})


def test_bytes_of_consumers_that_are_none_are_told_as_nothing():
    classic = classic_rig.new_rig()
    classic.join(new_id="a")
    classic.sync("a", assignments={"a": b"all"})
    (member,) = describing.members_of(classic.group)
    assert (member.subscribed_topics, member.assigned) == ((), ())
    assert describing.topics_read(classic.group) is None


@pytest.mark.parametrize(
    ("topic", "offset", "expected"),
    [
        ("t", 40, PartitionLag("t", 0, 40, 100, 60, "m", "a")),
        ("t", -1, PartitionLag("t", 0, -1, 100, 90, "m", "a")),
        ("t", 5, PartitionLag("t", 0, 5, 100, 90, "m", "a")),
        ("t", 120, PartitionLag("t", 0, 120, 100, 0, "m", "a")),
        ("gone", 40, PartitionLag("gone", 0, 40, 0, 0, "m", "a")),
    ],
)
def test_lag_counts_what_can_be_read(topic, offset, expected):
    assert describing.lag_of(CommittedOffset(topic, 0, offset, -1, "m", 0), "a", bounds) == expected
