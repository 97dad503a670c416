from __future__ import annotations

from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.api import Acks, ProducerIdentity
from logstore.client.producer_core import (
    IN_FLIGHT_IDEMPOTENT,
    SEQUENCES,
    Batch,
    PartitionQueue,
    ProducerSettings,
)
from logstore.errors import (
    BatchTooLargeError,
    DuplicateSequenceError,
    LogStoreError,
    OutOfOrderSequenceError,
    RequestTimeoutError,
    UnavailableError,
)

FIRST = ProducerIdentity(1, 0)
SECOND = ProducerIdentity(2, 0)
is_idle, is_renewal_due = attrgetter("is_idle"), attrgetter("is_renewal_due")


def make_queue(**changes: object) -> PartitionQueue:
    values: dict[str, object] = {"linger": 0.0, "delivery_timeout": 100.0, **changes}
    return PartitionQueue(
        "t",
        0,
        ProducerSettings(**values),  # type: ignore[arg-type]
        batch_bytes=1024,
        expedite=lambda batch: None,
    )


def named_queue(**changes: object) -> PartitionQueue:
    queue = make_queue(**changes)
    queue.renew(FIRST)
    return queue


def add(queue: PartitionQueue, now: float = 0.0, records: int = 1) -> Batch:
    batch = queue.open_batch(now)
    for _ in range(records):
        assert batch.builder is not None
        assert batch.builder.try_append(None, b"x", 1000)
    queue.seal()
    return batch


def take_all(queue: PartitionQueue, now: float = 0.0) -> list[Batch]:
    taken = []
    while (batch := queue.take(now)) is not None:
        taken.append(batch)
    return taken


def test_batches_are_taken_in_the_order_of_their_records() -> None:
    queue = named_queue()
    batches = [add(queue, records=2) for _ in range(3)]
    assert take_all(queue) == batches
    assert [batch.sequence for batch in batches] == [0, 2, 4]
    assert {batch.identity for batch in batches} == {FIRST}


def test_a_filling_batch_is_taken_after_its_linger() -> None:
    queue = named_queue(linger=5.0)
    batch = queue.open_batch(10.0)
    assert batch.builder is not None
    batch.builder.try_append(None, b"x", 1000)
    assert queue.due(10.0) == 15.0
    assert queue.take(14.9) is None
    assert queue.take(15.0) is batch
    assert queue.filling is None
    assert batch.record_count == 1


def test_nothing_is_due_of_an_idle_partition() -> None:
    queue = named_queue()
    assert is_idle(queue)
    assert queue.due(0.0) is None
    add(queue)
    assert not is_idle(queue)
    (batch,) = take_all(queue)
    assert not is_idle(queue)
    queue.succeeded(batch)
    assert is_idle(queue)


@pytest.mark.parametrize(("idempotent", "limit"), [(True, IN_FLIGHT_IDEMPOTENT), (False, 1)])
def test_so_many_are_in_flight_at_most(idempotent: bool, limit: int) -> None:
    queue = named_queue(idempotent=idempotent, acks=Acks.ALL)
    batches = [add(queue) for _ in range(limit + 1)]
    assert take_all(queue) == batches[:limit]
    assert queue.due(0.0) is None
    queue.succeeded(batches[0])
    assert take_all(queue) == batches[limit:]


def test_nothing_is_sent_before_there_is_a_producer_id() -> None:
    queue = make_queue()
    batch = add(queue)
    assert is_renewal_due(queue)
    assert queue.due(0.0) == 0.0
    assert queue.take(0.0) is None
    queue.renew(FIRST)
    assert queue.take(0.0) is batch


def test_a_gap_behind_a_retried_batch_is_retried_too() -> None:
    queue = named_queue(retry_backoff=1.0)
    batches = [add(queue, now=number) for number in range(4)]
    take_all(queue, 10.0)
    assert queue.failure(batches[0], UnavailableError("away"), 10.0) is None
    assert queue.failure(batches[2], OutOfOrderSequenceError("gap"), 10.0) is None
    assert queue.take(20.0) is None, "batches 1 and 3 are in flight"
    assert queue.failure(batches[1], OutOfOrderSequenceError("gap"), 10.0) is None
    assert queue.failure(batches[3], UnavailableError("away"), 10.0) is None
    assert queue.take(10.9) is None, "it backs off"
    sequences = [batch.sequence for batch in batches]
    assert take_all(queue, 11.0) == batches
    assert [batch.sequence for batch in batches] == sequences == [0, 1, 2, 3]
    assert {batch.identity for batch in batches} == {FIRST}


def test_the_back_off_doubles_up_to_its_limit() -> None:
    queue = named_queue(retry_backoff=1.0, retry_backoff_max=3.0)
    batch = add(queue)
    now, waits = 0.0, []
    for _ in range(4):
        assert queue.take(now) is batch
        assert queue.failure(batch, UnavailableError("away"), now) is None
        due = queue.due(now)
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits == [1.0, 2.0, 3.0, 3.0]


def test_a_success_ends_the_back_off() -> None:
    queue = named_queue(retry_backoff=5.0)
    first, second = add(queue), add(queue)
    take_all(queue)
    assert queue.failure(first, UnavailableError("away"), 0.0) is None
    queue.succeeded(second)
    assert queue.due(0.0) == 0.0


def test_after_a_lasting_failure_the_partition_goes_on_as_another_producer() -> None:
    queue = named_queue()
    batches = [add(queue) for _ in range(7)]
    assert take_all(queue) == batches[:5]
    refusal = BatchTooLargeError("too large")
    assert queue.failure(batches[0], refusal, 0.0) is refusal
    assert not is_renewal_due(queue), "others are in flight"
    assert queue.take(0.0) is None
    for batch in batches[1:5]:
        assert queue.failure(batch, OutOfOrderSequenceError("gap"), 0.0) is None
    assert is_renewal_due(queue)
    queue.renew(SECOND)
    assert take_all(queue, 10.0) == batches[1:6]
    assert [(batch.identity, batch.sequence) for batch in batches[1:6]] == [
        (SECOND, number) for number in range(5)
    ]


def test_what_may_be_stored_is_tried_under_its_old_identity_before_another_is_got() -> None:
    queue = named_queue(retry_backoff=0.0)
    batches = [add(queue) for _ in range(4)]
    take_all(queue)
    assert queue.failure(batches[0], UnavailableError("stored, and no answer"), 0.0) is None
    refusal = BatchTooLargeError("too large")
    assert queue.failure(batches[1], refusal, 0.0) is refusal
    assert queue.failure(batches[2], OutOfOrderSequenceError("gap"), 0.0) is None
    assert queue.failure(batches[3], UnavailableError("away"), 0.0) is None
    assert not is_renewal_due(queue)
    assert take_all(queue) == [batches[0]]
    assert (batches[0].identity, batches[0].sequence) == (FIRST, 0)
    queue.succeeded(batches[0])
    assert is_renewal_due(queue)
    queue.renew(SECOND)
    assert take_all(queue) == batches[2:]
    assert [batch.identity for batch in batches[2:]] == [SECOND, SECOND]


def test_a_gap_that_nothing_explains_is_told() -> None:
    queue = named_queue()
    batch = add(queue)
    take_all(queue)
    gap = OutOfOrderSequenceError("gap")
    assert queue.failure(batch, gap, 0.0) is gap
    assert queue.needs_identity


def test_a_gap_behind_a_batch_without_an_answer_yet_is_retried_behind_it() -> None:
    queue = named_queue(retry_backoff=0.0)
    batches = [add(queue) for _ in range(3)]
    take_all(queue)
    assert queue.failure(batches[2], OutOfOrderSequenceError("gap"), 0.0) is None
    assert queue.failure(batches[1], OutOfOrderSequenceError("gap"), 0.0) is None
    queue.succeeded(batches[0])
    assert take_all(queue) == batches[1:]
    queue.succeeded(batches[1])
    gap = OutOfOrderSequenceError("gap")
    assert queue.failure(batches[2], gap, 0.0) is gap, "nothing before it explains it"


def test_order_does_not_hang_on_the_clock() -> None:
    queue = named_queue(retry_backoff=0.0)
    batches = [add(queue, now=5.0) for _ in range(3)]
    take_all(queue, 5.0)
    for place in (2, 0, 1):
        assert queue.failure(batches[place], UnavailableError("away"), 5.0) is None
    assert take_all(queue, 5.0) == batches


def test_a_forgotten_duplicate_is_told_and_not_sent_again() -> None:
    queue = named_queue()
    batch = add(queue)
    take_all(queue)
    known = DuplicateSequenceError("stored before")
    assert queue.failure(batch, known, 0.0) is known
    assert is_idle(queue)


def test_after_its_deadline_a_failed_batch_is_given_up_with_the_last_error() -> None:
    queue = named_queue(delivery_timeout=10.0)
    batch = add(queue, now=0.0)
    take_all(queue, 1.0)
    verdict = queue.failure(batch, UnavailableError("away"), 10.0)
    assert isinstance(verdict, RequestTimeoutError)
    assert "away" in verdict.message
    assert verdict.details == {"topic": "t", "partition": "0"}
    assert is_idle(queue)
    assert queue.needs_identity


def test_what_waits_too_long_expires_oldest_first() -> None:
    queue = named_queue(delivery_timeout=10.0)
    batches = [add(queue, now=number) for number in range(3)]
    assert list(queue.expired(9.9)) == []
    assert list(queue.expired(11.0)) == batches[:2]
    assert not queue.needs_identity, "they never had a sequence"
    assert take_all(queue, 11.0) == batches[2:]


def test_a_batch_that_fills_expires_too() -> None:
    queue = make_queue(delivery_timeout=10.0, linger=2.0)
    batch = queue.open_batch(0.0)
    assert queue.expires_at == 12.0, "it could not be sent before its linger"
    assert list(queue.expired(11.9)) == []
    assert list(queue.expired(12.0)) == [batch]
    assert queue.is_idle


def test_nothing_expires_while_something_is_in_flight() -> None:
    queue = named_queue(delivery_timeout=10.0)
    first = add(queue)
    take_all(queue)
    second = add(queue)
    assert list(queue.expired(99.0)) == []
    assert queue.expires_at is None, "so that nobody waits for a time that is over"
    queue.succeeded(first)
    assert list(queue.expired(99.0)) == [second]


def test_an_expired_batch_that_was_sent_before_leaves_a_gap() -> None:
    queue = named_queue(delivery_timeout=10.0, retry_backoff=1.0)
    batch = add(queue)
    take_all(queue)
    assert queue.failure(batch, UnavailableError("away"), 9.5) is None
    assert list(queue.expired(10.0)) == [batch]
    assert queue.needs_identity


def test_sequences_wrap_around() -> None:
    queue = named_queue()
    queue.next_sequence = SEQUENCES - 1
    first, second = add(queue, records=2), add(queue)
    take_all(queue)
    assert (first.sequence, second.sequence) == (SEQUENCES - 1, 1)


def test_without_idempotence_there_is_neither_identity_nor_sequence() -> None:
    queue = make_queue(idempotent=False)
    batch = add(queue)
    assert not is_renewal_due(queue)
    assert queue.take(0.0) is batch
    assert batch.identity is None


class Log:
    """What a store does with sequences: takes the next one, knows the last five, refuses gaps."""

    def __init__(self) -> None:
        self.stored: list[Batch] = []
        self._next: dict[ProducerIdentity, int] = {}
        self._known: list[tuple[ProducerIdentity, int]] = []

    def append(self, batch: Batch) -> LogStoreError | None:
        assert batch.identity is not None
        place = (batch.identity, batch.sequence)
        if place in self._known:
            return None
        following = self._next.get(batch.identity, 0)
        if batch.sequence < following:
            return DuplicateSequenceError("long ago")
        if batch.sequence > following:
            return OutOfOrderSequenceError("gap")
        self._next[batch.identity] = batch.sequence + batch.record_count
        self._known = [*self._known, place][-IN_FLIGHT_IDEMPOTENT:]
        self.stored.append(batch)
        return None


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(["add", "take", "ok", "lost", "no answer", "refuse"]), max_size=60))
def test_order_holds_and_nothing_is_stored_twice_whatever_fails(steps: list[str]) -> None:
    """The store sees batches in the order of sending; answers arrive in that order too."""
    queue, log, now = named_queue(delivery_timeout=30.0), Log(), 0.0
    added: list[Batch] = []
    told: dict[Batch, LogStoreError | None] = {}
    wire: list[Batch] = []
    ids = iter(range(2, 1000))

    def answer(step: str) -> None:
        batch = wire.pop(0)
        if step == "refuse":
            error: LogStoreError | None = BatchTooLargeError("refused")
        elif step == "lost":
            error = UnavailableError("never arrived")
        else:
            error = log.append(batch)
            if step == "no answer" and error is None:
                error = UnavailableError("stored, but nobody heard of it")
        if error is None:
            queue.succeeded(batch)
            told[batch] = None
        elif (verdict := queue.failure(batch, error, now)) is not None:
            told[batch] = verdict

    def take() -> None:
        told.update((batch, RequestTimeoutError("late")) for batch in queue.expired(now))
        if queue.is_renewal_due:
            queue.renew(ProducerIdentity(next(ids), 0))
        wire.extend(take_all(queue, now))

    for step in steps:
        now += 2.0
        if step == "add":
            added.append(add(queue, now=now))
        elif step == "take":
            take()
        elif wire:
            answer(step)
    while not queue.is_idle:
        now += 0.001
        queue.wait_until = 0.0
        take()
        while wire:
            answer("ok")

    assert set(told) == set(added)
    places = [added.index(batch) for batch in log.stored]
    assert len(places) == len(set(places)), "stored twice"
    assert places == sorted(places), "overtaken"
    for batch in added:
        if told[batch] is None:
            assert batch in log.stored


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_order_holds_too_when_answers_overtake_each_other(data: st.DataObject) -> None:
    """The store sees batches in the order of sending; answers arrive in any."""
    queue, log, now = named_queue(delivery_timeout=1000.0, retry_backoff=0.0), Log(), 0.0
    added: list[Batch] = []
    told: dict[Batch, LogStoreError | None] = {}
    answers: list[tuple[Batch, LogStoreError | None]] = []
    ids = iter(range(2, 1000))

    def take(fates: list[str]) -> None:
        if queue.is_renewal_due:
            queue.renew(ProducerIdentity(next(ids), 0))
        for batch, fate in zip(take_all(queue, now), fates, strict=False):
            error: LogStoreError | None = UnavailableError(fate)
            if fate == "refused":
                error = BatchTooLargeError(fate)
            elif fate != "lost":
                error = log.append(batch) or (error if fate == "no answer" else None)
            answers.append((batch, error))

    def hear(place: int) -> None:
        batch, error = answers.pop(place % len(answers))
        if error is None:
            queue.succeeded(batch)
            told[batch] = None
        elif (verdict := queue.failure(batch, error, now)) is not None:
            told[batch] = verdict

    fates = st.lists(
        st.sampled_from(["stored", "lost", "no answer", "refused"]), min_size=5, max_size=5
    )
    for _ in range(data.draw(st.integers(1, 8))):
        added.extend(add(queue) for _ in range(data.draw(st.integers(0, 4))))
        take(data.draw(fates))
        for place in data.draw(st.lists(st.integers(0, 9), max_size=4)):
            if answers:
                hear(place)
    while not queue.is_idle:
        queue.wait_until = 0.0
        take(["stored"] * 5)
        while answers:
            hear(data.draw(st.integers(0, 9)))

    assert set(told) == set(added)
    places = [added.index(batch) for batch in log.stored]
    assert len(places) == len(set(places)), "stored twice"
    assert places == sorted(places), "overtaken"
    for batch in added:
        if told[batch] is None:
            assert batch in log.stored
        else:
            assert isinstance(told[batch], BatchTooLargeError), "only what was refused is given up"
