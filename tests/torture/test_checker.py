"""The torture run's checker finds each kind of violation, and none where there is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.torture.checker import Claims, Stored, check_claims, check_log, check_ownership
from tests.torture.ledger import GroupLedger, OwnershipLedger, WriterLedger, make_value

Log = list[list[tuple[int, bytes]]]  # per partition: offset and value


def value(number: int, writer: int = 1) -> bytes:
    return make_value(writer, number, number * 50)


class History:
    """One writer's records 0 to 5 in two partitions, all acknowledged, read and committed."""

    def __init__(self) -> None:
        self.writer = WriterLedger(1)
        self.group = GroupLedger(2)
        self.committed = [3, 3]
        self.log: Log = [[], []]
        for number in range(6):
            partition, offset = number % 2, number // 2
            assert self.writer.sent() == number
            self.writer.stored(number, partition, offset)
            self.group.read("m", partition, offset, value(number))
            self.log[partition].append((offset, value(number)))
        self.group.committed({0: 3, 1: 3})

    def kinds(self) -> set[str]:
        claims = Claims([self.writer], self.group, self.committed)
        stored = Stored(2)
        for partition, records in enumerate(self.log):
            for offset, held in records:
                stored.add(partition, offset, held)
        found = check_claims(claims, stored) + check_log([self.writer], stored)
        return {violation.kind for violation in found + self.group.violations}


def lose_the_last(history: History) -> None:
    del history.log[1][2]
    history.group = GroupLedger(2)
    history.committed = [0, 0]


def store_twice(history: History) -> None:
    history.log[0].append((3, value(0)))


def swap(history: History) -> None:
    writer = history.writer = WriterLedger(1)
    history.group, history.committed = GroupLedger(2), [0, 0]
    for number in range(6):
        writer.sent()
        if number in (2, 4):
            writer.gave_up(number)
        else:
            writer.stored(number, number % 2, number // 2)
    history.log[0][1:] = [(1, value(4)), (2, value(2))]


def invent(history: History) -> None:
    history.log[0].append((3, value(6)))


def store_what_was_refused(history: History) -> None:
    history.writer.refused(history.writer.sent())
    history.log[0].append((3, value(6)))


def flip_a_byte(history: History) -> None:
    broken = bytearray(history.log[0][1][1])
    broken[-1] ^= 1
    history.log[0][1] = (1, bytes(broken))
    history.writer.gave_up(2)
    history.group, history.committed = GroupLedger(2), [0, 0]


def tell_one_place_twice(history: History) -> None:
    history.writer.stored(2, 0, 0)
    history.log[0][1:] = []
    history.writer.gave_up(4)
    history.group, history.committed = GroupLedger(2), [0, 0]


def read_what_is_gone(history: History) -> None:
    history.group.read("m", 0, 3, value(6))


def read_another(history: History) -> None:
    history.group.read("m", 0, 1, value(5))


def skip(history: History) -> None:
    history.group = GroupLedger(2)
    history.group.read("m", 0, 2, value(4))


def fall_back(history: History) -> None:
    history.group.found_committed(history.group.floors(), {0: 3, 1: 2})


def begin_too_early(history: History) -> None:
    history.group.began("m", 1, 2, 3)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lose_the_last, "lost"),
        (store_twice, "duplicated"),
        (swap, "reordered"),
        (invent, "phantom"),
        (store_what_was_refused, "phantom"),
        (flip_a_byte, "wrong bytes"),
        (tell_one_place_twice, "offset reused"),
        (read_what_is_gone, "phantom"),
        (read_another, "offset reused"),
        (skip, "skipped"),
        (fall_back, "committed offset moved backwards"),
        (begin_too_early, "committed offset moved backwards"),
    ],
)
def test_it_finds(spoil: Callable[[History], None], kind: str) -> None:
    history = History()
    assert history.kinds() == set()
    spoil(history)
    assert kind in history.kinds()


def test_what_is_gone_by_retention_is_not_lost() -> None:
    history = History()
    stored = Stored(2)
    stored.starts = [3, 0]
    for offset, held in history.log[1]:
        stored.add(1, offset, held)
    claims = Claims([history.writer], history.group, history.committed)
    assert check_claims(claims, stored) + check_log([history.writer], stored) == []


def test_of_a_partition_that_is_not_served_nothing_is_said() -> None:
    history = History()
    stored = Stored(2)
    stored.leave_out(0)
    for offset, held in history.log[1][:2]:
        stored.add(1, offset, held)
    claims = Claims([history.writer], history.group, history.committed)
    found = check_claims(claims, stored) + check_log([history.writer], stored)
    assert [violation.kind for violation in found] == ["lost", "phantom"]
    assert all("1@2" in violation.evidence for violation in found)


def owned_twice(*, second_start: float, second_run: int, stood_still: bool = False) -> bool:
    """Whether it says so of one member's tenure from 1.0 to 2.0 and another's."""
    ownership = OwnershipLedger()
    ownership.assigned("a", 0, 1.0)
    ownership.committed("a", [0], begun_at=1.1, run=1)
    if stood_still:
        ownership.stood_still()
    ownership.assigned("b", 0, second_start)
    ownership.committed("b", [0], begun_at=second_start + 0.1, run=second_run)
    ownership.ended("a", 0, 2.0)
    ownership.ended("b", 0, 3.0)
    return bool(check_ownership(ownership))


def test_two_owners_at_once() -> None:
    assert owned_twice(second_start=1.5, second_run=1)
    assert not owned_twice(second_start=2.0, second_run=1)
    assert not owned_twice(second_start=1.5, second_run=2)  # it knew nothing of the new server
    assert not owned_twice(second_start=1.5, second_run=1, stood_still=True)


def test_a_commit_of_a_former_owner_that_was_accepted() -> None:
    assert owned_twice(second_start=1.05, second_run=2, stood_still=True)
