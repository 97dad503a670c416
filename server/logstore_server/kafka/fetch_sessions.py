"""Fetch sessions (KIP-227): a client that follows many partitions names only what has changed.

    request                           answer
    id 0, epoch -1   no session       everything, id 0
    id any, epoch 0  a new one        everything, and the session's id (0: no room for one)
    id S, epoch E    the session's    only partitions with data, an error or moved bounds
    id S, epoch -1   closes S         everything, id 0

The epoch counts the requests of a session from 1, and after 2^31-1 goes on with 1: a request that
was lost or sent twice is found by it.

Invariants: at most `sessions_max` sessions; one that was used less than `idle_s_min` ago is never
put out for another. Pure but for the clock and the ids that it is given; owned by the event loop.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from logstore_server.kafka.errors import ErrorCode

NO_SESSION = 0
EPOCH_FINAL = -1
EPOCH_INITIAL = 0
EPOCH_MAX = (1 << 31) - 1
SESSION_ID_MAX = (1 << 31) - 1

# A topic by name, or (from version 13 on) by id.
TopicKey: TypeAlias = str | uuid.UUID
PartitionKey: TypeAlias = tuple[TopicKey, int]


class Wanted(NamedTuple):
    """What a client asks of one partition."""

    topic: TopicKey
    partition: int
    offset: int
    bytes_max: int
    leader_epoch: int = -1
    fetched_epoch: int = -1


class Bounds(NamedTuple):
    high_watermark: int
    log_start_offset: int


@dataclass(slots=True, eq=False)
class Session:
    """`wanted` in the order of asking: what was served last is asked last. `told`: the bounds as
    the client knows them."""

    session_id: int
    uses_ids: bool
    wanted: dict[PartitionKey, Wanted]
    told: dict[PartitionKey, Bounds] = field(default_factory=dict)
    next_epoch: int = 1
    used_at: float = 0.0

    def served(self, key: PartitionKey) -> None:
        """Its partition goes behind the others."""
        wanted = self.wanted.pop(key, None)
        if wanted is not None:
            self.wanted[key] = wanted


class Started(NamedTuple):
    """What to read for one request. `session` None: everything is answered, and with id 0."""

    wanted: Sequence[Wanted]
    session: Session | None = None
    is_incremental: bool = False
    error: ErrorCode = ErrorCode.NONE


class FetchSessions:
    def __init__(
        self,
        *,
        sessions_max: int,
        idle_s_min: float,
        now: Callable[[], float],
        new_id: Callable[[], int],
    ) -> None:
        self._sessions_max = sessions_max
        self._idle_s_min = idle_s_min
        self._now = now
        self._new_id = new_id  # any number from 1 to SESSION_ID_MAX
        self._sessions: OrderedDict[int, Session] = OrderedDict()  # the least lately used first

    def __len__(self) -> int:
        return len(self._sessions)

    def start(
        self,
        session_id: int,
        epoch: int,
        wanted: Sequence[Wanted],
        forgotten: Iterable[PartitionKey],
        *,
        uses_ids: bool,
    ) -> Started:
        if epoch in (EPOCH_FINAL, EPOCH_INITIAL):
            if session_id != NO_SESSION:
                self._sessions.pop(session_id, None)
            if epoch == EPOCH_FINAL or not wanted:
                return Started(wanted)
            return Started(wanted, self._open(wanted, uses_ids))
        session = self._sessions.get(session_id)
        if session is None:
            return Started((), error=ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if epoch != session.next_epoch:
            return Started((), error=ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if uses_ids is not session.uses_ids:
            return Started((), error=ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        for key in forgotten:
            session.wanted.pop(key, None)
            session.told.pop(key, None)
        for one in wanted:
            session.wanted[one.topic, one.partition] = one
        if not session.wanted:
            del self._sessions[session_id]
            return Started(())
        session.next_epoch = 1 if epoch == EPOCH_MAX else epoch + 1
        session.used_at = self._now()
        self._sessions.move_to_end(session_id)
        return Started(tuple(session.wanted.values()), session, is_incremental=True)

    def _open(self, wanted: Sequence[Wanted], uses_ids: bool) -> Session | None:
        now = self._now()
        if len(self._sessions) >= self._sessions_max:
            oldest = next(iter(self._sessions.values()))
            if now - oldest.used_at < self._idle_s_min:
                return None
            del self._sessions[oldest.session_id]
        session_id = self._new_id()
        while session_id in self._sessions:
            session_id = session_id % SESSION_ID_MAX + 1
        session = Session(
            session_id,
            uses_ids,
            {(one.topic, one.partition): one for one in wanted},
            used_at=now,
        )
        self._sessions[session_id] = session
        return session

    def sessions(self) -> Mapping[int, Session]:
        return self._sessions
