from __future__ import annotations

import pytest

from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.fetch_sessions import EPOCH_MAX, FetchSessions, Wanted

NAMES = {"uses_ids": False}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> FetchSessions:
    ids = iter(range(7, 100))
    return FetchSessions(sessions_max=2, idle_s_min=10, now=clock, new_id=lambda: next(ids))


def wanted(partition: int, offset: int = 0) -> Wanted:
    return Wanted("t", partition, offset, 100)


def opened(sessions: FetchSessions, *partitions: int) -> int:
    started = sessions.start(0, 0, [wanted(one) for one in partitions], (), **NAMES)
    return started.session.session_id if started.session else 0


def test_without_a_session_everything_is_answered(sessions: FetchSessions) -> None:
    started = sessions.start(0, -1, [wanted(1)], (), **NAMES)
    assert (started.session, started.is_incremental, len(sessions)) == (None, False, 0)
    assert started.wanted == [wanted(1)]


def test_a_session_keeps_what_is_wanted(sessions: FetchSessions) -> None:
    number = opened(sessions, 1, 2)
    started = sessions.start(number, 1, [wanted(2, 50), wanted(3)], [("t", 1)], **NAMES)
    assert started.is_incremental
    assert list(started.wanted) == [wanted(2, 50), wanted(3)]
    assert list(sessions.start(number, 2, [], (), **NAMES).wanted) == [wanted(2, 50), wanted(3)]


def test_what_was_served_is_asked_last(sessions: FetchSessions) -> None:
    number = opened(sessions, 1, 2, 3)
    session = sessions.sessions()[number]
    session.served(("t", 1))
    started = sessions.start(number, 1, [], (), **NAMES)
    assert [one.partition for one in started.wanted] == [2, 3, 1]
    session.served(("t", 99))  # forgotten meanwhile


def test_errors(sessions: FetchSessions) -> None:
    number = opened(sessions, 1)
    assert sessions.start(999, 1, [], (), **NAMES).error is ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    for epoch in (2, EPOCH_MAX):
        error = sessions.start(number, epoch, [], (), **NAMES).error
        assert error is ErrorCode.INVALID_FETCH_SESSION_EPOCH
    error = sessions.start(number, 1, [], (), uses_ids=True).error
    assert error is ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR


def test_the_epoch_goes_round_to_1(sessions: FetchSessions) -> None:
    number = opened(sessions, 1)
    sessions.sessions()[number].next_epoch = EPOCH_MAX
    assert sessions.start(number, EPOCH_MAX, [], (), **NAMES).error is ErrorCode.NONE
    assert sessions.start(number, 1, [], (), **NAMES).error is ErrorCode.NONE


@pytest.mark.parametrize("epoch", [-1, 0])
def test_a_session_is_closed_by_its_client(sessions: FetchSessions, epoch: int) -> None:
    number = opened(sessions, 1)
    sessions.start(number, epoch, [], (), **NAMES)
    assert len(sessions) == 0


def test_a_session_of_nothing_ends(sessions: FetchSessions) -> None:
    number = opened(sessions, 1)
    assert sessions.start(number, 1, [], [("t", 1)], **NAMES).session is None
    assert len(sessions) == 0


def test_there_is_room_for_so_many_and_only_an_idle_one_is_put_out(
    sessions: FetchSessions, clock: Clock
) -> None:
    first, second = opened(sessions, 1), opened(sessions, 1)
    assert opened(sessions, 1) == 0
    clock.now = 9
    sessions.start(first, 1, [], (), **NAMES)
    clock.now = 11
    third = opened(sessions, 1)
    assert set(sessions.sessions()) == {first, third}
    assert second not in sessions.sessions()
