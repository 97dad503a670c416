"""What every assignor promises, over arbitrary members, subscriptions and present owners."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.api import TopicPartition
from logstore.errors import UnknownAssignorError
from logstore.group.assignors import (
    ASSIGNORS,
    DEFAULT_ASSIGNOR,
    Assignment,
    assign_range,
    assign_round_robin,
    assign_sticky,
    find_assignor,
)

NAMES = ("alpha", "beta", "gamma", "delta")
MEMBERS = ("m1", "m2", "m3", "m4", "m5")

Topics = dict[str, frozenset[str]]
Counts = dict[str, int]

counts_of_topics = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9), max_size=4)
any_topics = st.dictionaries(
    st.sampled_from(MEMBERS), st.frozensets(st.sampled_from(NAMES)), max_size=5
)
any_owners = st.dictionaries(
    st.sampled_from(MEMBERS),
    st.sets(st.builds(TopicPartition, st.sampled_from(NAMES), st.integers(0, 9))),
)


def parts(counts: Counts) -> list[TopicPartition]:
    return [TopicPartition(topic, p) for topic, count in counts.items() for p in range(count)]


def owner_of(assignment: Assignment) -> dict[TopicPartition, str]:
    return {part: member for member, owned in assignment.items() for part in owned}


@st.composite
def same_topics(draw) -> tuple[Topics, Counts]:
    """Some members, all reading the same topics."""
    counts = draw(counts_of_topics)
    members = draw(st.sets(st.sampled_from(MEMBERS), min_size=1))
    return dict.fromkeys(sorted(members), frozenset(counts)), counts


@st.composite
def owned_by_some(draw, counts: Counts, members: list[str]) -> Assignment:
    """Each partition with one owner or none, as after members came or partitions were added."""
    present: Assignment = {member: set() for member in members}
    for part in parts(counts):
        owner = draw(st.sampled_from([*members, None]))
        if owner is not None:
            present[owner].add(part)
    return present


@pytest.mark.parametrize("name", sorted(ASSIGNORS))
@given(topics=any_topics, counts=counts_of_topics, present=any_owners)
def test_every_partition_that_is_read_has_one_reader(name, topics, counts, present):
    assignment = ASSIGNORS[name](topics, counts, present)

    assert set(assignment) == set(topics)
    given_out = [part for owned in assignment.values() for part in owned]
    assert len(given_out) == len(set(given_out)), "one partition, one member"
    read = frozenset().union(*topics.values()) if topics else frozenset()
    assert set(given_out) == {part for part in parts(counts) if part.topic in read}
    for member, owned in assignment.items():
        assert {part.topic for part in owned} <= topics[member]


@pytest.mark.parametrize("name", sorted(ASSIGNORS))
@given(topics=any_topics, counts=counts_of_topics, present=any_owners, chance=st.randoms())
def test_the_order_of_the_arguments_does_not_matter(name, topics, counts, present, chance):
    def shuffled(mapping):
        items = list(mapping.items())
        chance.shuffle(items)
        return dict(items)

    again = ASSIGNORS[name](shuffled(topics), shuffled(counts), shuffled(present))

    assert again == ASSIGNORS[name](topics, counts, present)


@pytest.mark.parametrize("assign", [assign_sticky, assign_round_robin])
@given(case=same_topics(), present=any_owners)
def test_members_that_read_the_same_own_as_many_but_for_one(assign, case, present):
    topics, counts = case
    sizes = [len(owned) for owned in assign(topics, counts, present).values()]

    assert max(sizes) - min(sizes) <= 1


@given(case=same_topics())
def test_range_gives_runs_of_each_topic(case):
    topics, counts = case
    assignment = assign_range(topics, counts, {})

    for topic, count in counts.items():
        runs = [
            sorted(part.partition for part in assignment[member] if part.topic == topic)
            for member in sorted(topics)
        ]
        assert [p for run in runs for p in run] == list(range(count)), "neighbours, in order"
        sizes = [len(run) for run in runs]
        assert sizes == sorted(sizes, reverse=True)
        assert max(sizes) - min(sizes) <= 1


def test_range_brings_partitions_of_the_same_number_together():
    topics = dict.fromkeys(["m1", "m2"], frozenset(["alpha", "beta"]))

    assert assign_range(topics, {"alpha": 3, "beta": 3}, {}) == {
        "m1": {TopicPartition(t, p) for t in ("alpha", "beta") for p in (0, 1)},
        "m2": {TopicPartition(t, 2) for t in ("alpha", "beta")},
    }


def test_round_robin_deals_over_the_borders_of_topics():
    topics = dict.fromkeys(["m1", "m2"], frozenset(["alpha", "beta"]))

    assert assign_round_robin(topics, {"alpha": 1, "beta": 2}, {}) == {
        "m1": {TopicPartition("alpha", 0), TopicPartition("beta", 1)},
        "m2": {TopicPartition("beta", 0)},
    }


@given(data=st.data(), case=same_topics())
def test_sticky_moves_only_what_members_have_too_much(data, case):
    topics, counts = case
    present = data.draw(owned_by_some(counts, sorted(topics)))
    assignment = assign_sticky(topics, counts, present)

    # The fullest members may keep one more than the others, where it does not divide.
    share, extra = divmod(sum(counts.values()), len(topics))
    sizes = sorted((len(owned) for owned in present.values()), reverse=True)
    can_stay = sum(min(size, share + (i < extra)) for i, size in enumerate(sizes))
    stayed = sum(len(present[member] & assignment[member]) for member in topics)
    assert stayed == can_stay


@given(topics=any_topics, counts=counts_of_topics, present=any_owners)
def test_sticky_leaves_its_own_result_alone(topics, counts, present):
    assignment = assign_sticky(topics, counts, present)

    assert assign_sticky(topics, counts, assignment) == assignment


@given(topics=any_topics, counts=counts_of_topics, present=any_owners)
def test_sticky_ends_where_no_single_move_evens_out(topics, counts, present):
    assignment = assign_sticky(topics, counts, present)

    for part, giver in owner_of(assignment).items():
        for taker in (member for member in topics if part.topic in topics[member]):
            assert len(assignment[giver]) <= len(assignment[taker]) + 1


@given(case=same_topics(), present=any_owners)
def test_sticky_leaves_those_who_stay_what_they_have(case, present):
    topics, counts = case
    before = assign_sticky(topics, counts, present)
    gone = sorted(topics)[0]
    rest = {member: read for member, read in topics.items() if member != gone}
    after = assign_sticky(rest, counts, before)

    for member in rest:
        assert before[member] <= after[member]


def test_the_known_ones_are_named_for_one_that_is_not():
    assert find_assignor(DEFAULT_ASSIGNOR) is assign_sticky
    with pytest.raises(UnknownAssignorError, match="range, roundrobin, sticky") as caught:
        find_assignor("best")
    assert caught.value.details["assignor"] == "best"
