"""The checker names each kind of violation, and none where there is none."""

from __future__ import annotations

import pytest

from tests.simulator import checker
from tests.simulator.checker import Checker
from tests.simulator.history import (
    KEYS,
    TOMBSTONE,
    Acknowledged,
    Bounds,
    CommitRead,
    Committed,
    Committing,
    Ended,
    Event,
    Forgotten,
    History,
    MayForget,
    Opened,
    Owners,
    PartitionGone,
    PartitionMade,
    Place,
    Read,
    RecordSeen,
    Refused,
    Sent,
    SequenceGap,
    Settled,
    StoredBefore,
    Surprise,
    TransactionEnded,
    TransactionEnding,
    Trouble,
    TroubleOver,
)

P = Place("t", "id", 0)
OTHER = Place("t", "id", 1)
A, B, C, D = (b"r%09d" % number + b"filler" for number in range(4))


def sent(number: int, *values: bytes, place: Place = P, producer: str = "p") -> Sent:
    return Sent(number, place, producer, values, 1000)


def acknowledged(number: int, base: int, *, durable: bool = True) -> Acknowledged:
    return Acknowledged(number, base, durable, duplicate=False)


def read(start: int, stop: int, *values: bytes, whole: bool = False) -> Read:
    records = tuple(RecordSeen(start + at, value, 1000) for at, value in enumerate(values))
    return Read("reader", P, start, stop, records, whole)


def bounds(
    end: int, *, start: int = 0, epoch: int = 0, flushed: int | None = None, kept: int | None = None
) -> Bounds:
    return Bounds(
        P,
        start,
        end,
        end,
        epoch,
        end if flushed is None else flushed,
        end if kept is None else kept,
    )


def kinds(*events: Event, durability: str = "fsync") -> list[str]:
    history = History(0)
    for event in (PartitionMade(P, durability), PartitionMade(OTHER, durability), *events):
        history.add(event)
    return [violation.kind for violation in Checker().check(history)]


STORED: list[Event] = [sent(1, A, B), acknowledged(1, 0)]
IN_TRANSACTION = Sent(1, P, "p", (A,), 1000, 7)
ENDED: list[Event] = [IN_TRANSACTION, TransactionEnding(7, commit=True)]
ABORTED = TransactionEnded(7, committed=False)
COMMITTED_READ = Read("r", P, 0, 1, (RecordSeen(0, A, 1000),), committed=True)
UNSEEN = Read("r", P, 0, 2, (), markers=(1,), committed=True)
COMMITTING_IN_ONE = Committing("g", P, 5, 7)
COMMITTING = Committing("g", P, 5)
KILL, POWER = Ended("kill", open=True), Ended("power_loss", open=True)


def test_all_is_well() -> None:
    events = [*STORED, read(0, 2, A, B), bounds(2), KILL, Opened(()), bounds(2, epoch=1)]
    assert kinds(*events, read(0, 2, A, B, whole=True)) == []


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        (checker.LOST, [*STORED, bounds(2), read(0, 2)]),
        (checker.LOST, [*STORED, POWER, bounds(1, epoch=1)]),
        (checker.LOST, [SequenceGap(P, "p")]),
        (checker.LOST, [*STORED, StoredBefore(1, P, "p")]),
        (checker.NEVER_DURABLE, [sent(1, A), read(0, 1, A), POWER, bounds(0, epoch=1)]),
        (checker.NEVER_DURABLE, [bounds(2), POWER, bounds(1, epoch=1)]),
        (checker.NEVER_DURABLE, [bounds(2), POWER, bounds(3, epoch=1, kept=1)]),
        (checker.DUPLICATED, [*STORED, read(2, 3, B)]),
        (checker.REORDERED, [sent(1, A), sent(2, B), read(0, 2, B, A, whole=True)]),
        (checker.PHANTOM, [read(0, 1, A)]),
        (checker.PHANTOM, [sent(1, A, place=OTHER), read(0, 1, A)]),
        (checker.PHANTOM, [sent(1, A), Refused(1, "DISK_FULL", certain=True), read(0, 1, A)]),
        (checker.WRONG_BYTES, [sent(1, A), read(0, 1, A[:-1])]),
        (checker.WRONG_BYTES, [sent(1, A), Read("r", P, 0, 1, (RecordSeen(0, A, 999),))]),
        (checker.OFFSET_REUSED, [*STORED, sent(2, C), acknowledged(2, 1)]),
        (checker.OFFSET_REUSED, [*STORED, sent(2, C), read(0, 1, C)]),
        (checker.HOLE, [*STORED, sent(2, C), read(2, 4, C)]),
        (checker.FORGOTTEN, [bounds(2, start=1)]),
        (checker.FORGOTTEN, [MayForget(P, 1), Forgotten(P, 1), bounds(2)]),
        (checker.EPOCH, [bounds(2, epoch=1), KILL, bounds(2, epoch=1)]),
        (checker.EPOCH, [bounds(2, epoch=1), bounds(2)]),
        (checker.COMMIT_BACKWARDS, [COMMITTING, Committed("g", P, 5), CommitRead("g", P, -1)]),
        (checker.COMMIT_BACKWARDS, [COMMITTING, CommitRead("g", P, 5), CommitRead("g", P, 4)]),
        (checker.COMMIT_PHANTOM, [CommitRead("g", P, 5)]),
        (checker.COMMIT_PHANTOM, [Committing("h", P, 5), CommitRead("g", P, 5)]),
        (checker.OWNED_TWICE, [Owners("g", (("m1", (P, OTHER)), ("m2", (P,))))]),
        (checker.ABORTED_READ, [IN_TRANSACTION, COMMITTED_READ]),
        (checker.ABORTED_READ, [*ENDED, ABORTED, COMMITTED_READ]),
        (checker.ABORTED_READ, [*ENDED, COMMITTED_READ, ABORTED]),
        (checker.STUCK, [Settled(P, 1, 2)]),
        (checker.COMMIT_PHANTOM, [COMMITTING_IN_ONE, ABORTED, CommitRead("g", P, 5)]),
        (checker.LOST, [*ENDED, TransactionEnded(7, committed=True), acknowledged(1, 0), UNSEEN]),
        (checker.SURPRISE, [Surprise("what")]),
    ],
)  # fmt: skip
def test_each_violation_is_named(kind: str, events: list[Event]) -> None:
    assert kinds(*events) == [kind] or set(kinds(*events)) == {kind}


def test_every_kind_is_tested() -> None:
    marks = test_each_violation_is_named.pytestmark  # type: ignore[attr-defined]
    assert {kind for kind, _ in marks[0].args[1]} == set(checker.VIOLATIONS)


def test_page_cache_may_lose_a_suffix_above_the_flush_to_a_power_loss() -> None:
    before = [*STORED, bounds(2, flushed=1)]
    again: list[Event] = [sent(2, C), acknowledged(2, 1), read(0, 2, A, C, whole=True)]

    def found(*events: Event) -> list[str]:
        return kinds(*before, *events, durability="page_cache")

    assert found(POWER, bounds(1, epoch=1), SequenceGap(P, "p"), *again) == []
    assert found(POWER, bounds(0, epoch=1)) == [checker.LOST]
    assert found(POWER, bounds(1, epoch=0)) == [checker.EPOCH, checker.EPOCH]
    assert found(POWER, bounds(2, epoch=1, kept=1), *again) == []
    assert checker.LOST in found(KILL, bounds(1, epoch=1))
    assert checker.OFFSET_REUSED in found(POWER, bounds(2, epoch=1), *again)


def test_commits_follow_a_log_that_lost_its_end() -> None:
    events = [*STORED, Committing("g", P, 2), Committed("g", P, 2), bounds(2, flushed=0)]
    after: list[Event] = [POWER, bounds(1, epoch=1)]
    assert kinds(*events, *after, CommitRead("g", P, 1), durability="page_cache") == []
    assert kinds(*events, *after, CommitRead("g", P, 0), durability="page_cache") == [
        checker.COMMIT_BACKWARDS
    ]


def test_what_was_only_written_may_go_with_a_crash() -> None:
    written: list[Event] = [sent(1, A), acknowledged(1, 0, durable=False)]
    assert kinds(*written, POWER, bounds(0, epoch=1), sent(2, B), acknowledged(2, 0)) == []
    assert kinds(*written, sent(2, B), read(0, 1, B)) == [checker.OFFSET_REUSED]


def test_an_attempt_in_doubt_may_have_stored_what_a_later_one_did_not() -> None:
    refused = Refused(1, "DISK_FULL", certain=True)
    assert kinds(sent(1, A), KILL, sent(1, A), refused, read(0, 1, A)) == []
    assert kinds(sent(1, A), refused, sent(1, A), read(0, 1, A)) == []


def test_a_producer_whose_batches_were_given_up_on_a_full_disk_may_be_forgotten() -> None:
    full = Trouble("room for 0 bytes", is_full=True)
    trimmed: list[Event] = [MayForget(P, 2), Forgotten(P, 2), bounds(2, start=2)]
    forgotten = [*STORED, full, *trimmed]
    assert kinds(*forgotten, SequenceGap(P, "p"), acknowledged(1, 5)) == []
    assert kinds(*forgotten, SequenceGap(P, "q")) == [checker.LOST]
    for remembered in (
        [*STORED, *trimmed],
        [*STORED, *trimmed, full],
        [*STORED, full, TroubleOver(), bounds(2), *trimmed],
        [*STORED, Trouble("sync EIO"), *trimmed],
    ):
        assert kinds(*remembered, SequenceGap(P, "p")) == [checker.LOST]
        assert checker.DUPLICATED in kinds(*remembered, acknowledged(1, 5))


def test_a_deleted_topic_is_not_missed() -> None:
    gone = [*STORED, Committing("g", P, 1), Committed("g", P, 1), PartitionGone(P)]
    assert kinds(*gone, CommitRead("g", P, -1), bounds(0)) == []


def test_a_transaction_is_seen_whole_or_not_at_all() -> None:
    other = Sent(2, P, "p", (B,), 1000, 7)
    sends = [*ENDED, other, acknowledged(1, 0), acknowledged(2, 1)]
    seen = [RecordSeen(0, A, 1000), RecordSeen(1, B, 1000)]

    def found(*records: RecordSeen) -> list[str]:
        return kinds(*sends, Read("r", P, 0, 3, records, markers=(2,), committed=True))

    assert found() == found(*seen) == []
    assert found(seen[0]) == [checker.LOST]
    assert found(seen[1]) == [checker.LOST]


def test_offsets_of_a_committed_transaction_stay_and_its_records_are_flushed() -> None:
    committed = TransactionEnded(7, committed=True)
    events = [*ENDED, acknowledged(1, 0), COMMITTING_IN_ONE, bounds(2, flushed=0), committed]
    assert kinds(*events, CommitRead("g", P, -1)) == [checker.COMMIT_BACKWARDS]
    assert kinds(*events, CommitRead("g", P, 5)) == []
    assert kinds(*events, POWER, bounds(1, epoch=1), durability="page_cache") == []
    lost = kinds(*events, POWER, bounds(0, epoch=1), durability="page_cache")
    assert checker.LOST in lost


def of_key(number: int, text: bytes = b"") -> bytes:
    return b"r%09d" % (number * KEYS) + text


def test_of_a_compacted_log_the_last_record_of_each_key_stays() -> None:
    old, new, gone = of_key(1), of_key(2), of_key(3, TOMBSTONE)
    place = Place("c", "id", 0)

    def found(stay: bool, *seen: tuple[int, bytes]) -> list[str]:
        history = History(0)
        history.add(PartitionMade(place, "fsync", compacted=True, tombstones_stay=stay))
        for number, value in enumerate((old, new, gone, B)):
            history.add(Sent(number, place, "p", (value,), 1000))
            history.add(acknowledged(number, number))
        records = tuple(RecordSeen(offset, value, 1000) for offset, value in seen)
        history.add(Read("r", place, 0, 4, records, whole=True))
        return [violation.kind for violation in Checker().check(history)]

    assert found(True, (0, old), (2, gone), (3, B)) == found(True, (2, gone), (3, B)) == []
    assert found(True, (3, B)) == [checker.LOST]  # the tombstone
    assert found(False, (3, B)) == []
    assert found(False, (1, new), (3, B)) == [checker.LOST]  # it came back
    assert found(False, (2, gone)) == [checker.LOST]  # B


def test_a_tombstone_in_doubt_may_have_come_and_gone_behind_what_was_sent_after_it() -> None:
    place = Place("t", "id", 0)
    record, gone = b"r000000001", b"r000000008" + TOMBSTONE  # of one key

    def found(*events: Event, gone_by: str = "p", again: bool = True) -> list[str]:
        """`gone` is sent, then `record`, which is acknowledged, then maybe `gone` once more."""
        history = History(0)
        history.add(PartitionMade(place, "fsync", compacted=True, tombstones_stay=False))
        history.add(Sent(0, place, gone_by, (gone,), 1000))
        history.add(Sent(1, place, "q", (record,), 1000))
        history.add(acknowledged(1, 0))
        if again:
            history.add(Sent(0, place, gone_by, (gone,), 1000))
        for event in events:
            history.add(event)
        history.add(Read("r", place, 0, 2, (), whole=True))
        return [violation.kind for violation in Checker().check(history)]

    assert found() == []
    assert found(again=False) == [checker.LOST], "it was sent before"
    assert found(gone_by="q") == [checker.LOST], "the batches of a producer do not change places"
    refused = Refused(0, "DISK_FULL", certain=True)
    assert found(refused, refused) == [checker.LOST]
