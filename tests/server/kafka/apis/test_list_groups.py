from __future__ import annotations

import pytest

from logstore.api import OffsetToCommit, TopicSpec
from tests.server.kafka.apis.group_members import assign_one, assigned_heartbeat


@pytest.fixture
def groups(store, wire) -> None:
    """g: classic, stable; new: assigned by the server; offsets: nothing else."""
    store.create_topic(TopicSpec("t", 1))
    assign_one(wire)
    wire.ask("consumer_group_heartbeat", 1, **assigned_heartbeat("m", 0, group_id="new"))
    pending = store.commit_offsets("offsets", [OffsetToCommit("t", 0, 5)])
    store.run_flush()
    pending.result(10)


@pytest.mark.parametrize("version", range(6))
def test_all_groups_are_listed(groups, wire, version):
    answer = wire.ask("list_groups", version)
    found = [
        (
            group.group_id,
            group.protocol_type,
            getattr(group, "group_state", ""),
            getattr(group, "group_type", ""),
        )
        for group in answer.groups
    ]
    states = ("Stable", "Stable", "Empty") if version >= 4 else ("",) * 3
    types = ("Classic", "Consumer", "Classic") if version >= 5 else ("",) * 3
    assert found == [
        ("g", "consumer", states[0], types[0]),
        ("new", "consumer", states[1], types[1]),
        ("offsets", "", states[2], types[2]),
    ]


@pytest.mark.parametrize(
    ("states", "types", "expected"),
    [
        (["stable"], [], ["g", "new"]),
        (["Empty", "Dead"], [], ["offsets"]),
        ([], ["consumer"], ["new"]),
        (["Stable"], ["Classic"], ["g"]),
        (["Nonsense"], [], []),
        ([], ["share"], []),
    ],
)
def test_some_are_asked_for(groups, wire, states, types, expected):
    answer = wire.ask("list_groups", 5, states_filter=states, types_filter=types)
    assert [group.group_id for group in answer.groups] == expected
