"""What is told of groups of both kinds."""

from __future__ import annotations

import pytest

from logstore.api import CommittedOffset, GroupKind, GroupSummary, MemberInfo, PartitionLag
from logstore.errors import UnknownTopicError
from logstore.group import describing
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
    assert describing.assignor_of(group) == "range"
    assert describing.members_of(group) == group.describe()
    (part, *_) = group.describe()[0].assigned
    assert describing.owner_of(group, part) == "a"


def test_a_classic_group_keeps_it_in_its_bytes():
    classic = classic_rig.new_rig()
    classic.join(new_id="a", client_id="c", client_host="h")
    group = classic.group
    assert describing.summary_of(group) == GroupSummary("g", GroupKind.CLASSIC, "completing", 1)
    assert describing.assignor_of(group) == ""
    classic.sync("a", assignments={"a": b"all"})
    assert describing.assignor_of(group) == "range"
    assert describing.members_of(group) == (MemberInfo("a", None, "c", "h", 1, (), None, (), ()),)
    assert describing.owner_of(group, next(iter(rig.tp(0)))) == ""


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
