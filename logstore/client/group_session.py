"""Keeps a consumer in its group: heartbeats from a thread, assignments for poll to apply."""

from __future__ import annotations

import threading
from collections.abc import Callable

from logstore.api import EPOCH_JOIN, GroupHeartbeat, LogStore, TopicPartition
from logstore.client.membership import Membership, Subscription
from logstore.clock import Clock
from logstore.errors import (
    FencedInstanceError,
    FencedMemberError,
    LogStoreError,
    UnknownMemberError,
    UnreleasedInstanceError,
)

RETRY_SECONDS = 0.2
LEAVE_SECONDS = 5.0
EXPULSIONS = (UnknownMemberError, FencedMemberError)


class GroupSession:
    """Started when the consumer subscribes, ended by `leave`.

    The thread sends a heartbeat that is answered when something changes, or after the heartbeat
    interval. It never changes what is owned: `poll` does, by the methods below, and reports what
    it gave up at once. An error that waiting does not mend is raised to poll.
    """

    def __init__(
        self,
        store: LogStore,
        subscription: Subscription,
        *,
        member_id: str,
        clock: Clock,
        session_timeout: float,
        max_poll_interval: float,
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._session_timeout = session_timeout
        self._max_poll_interval = max_poll_interval
        self._wake = wake
        self._lock = threading.Lock()
        self._request_lock = threading.Lock()  # one request's start at a time; see Membership
        self._stop = threading.Event()
        self._acted = threading.Event()  # poll has dealt with the last answer
        self._member = Membership(subscription, member_id)
        self._polled_at = self._heard_at = clock.monotonic()
        self._is_idle = False  # left since poll was not called for too long
        self._failure: LogStoreError | None = None
        self._thread = threading.Thread(target=self._run, name="logstore-heartbeat", daemon=True)
        self._thread.start()

    # --- poll's side ------------------------------------------------------------------------

    @property
    def member_id(self) -> str:
        return self._member.member_id

    @property
    def member_epoch(self) -> int:
        return self._member.epoch

    @property
    def has_changes(self) -> bool:
        return self._member.has_changes

    def polled(self) -> None:
        """poll was called. Raises what keeps the consumer out of the group."""
        self._polled_at = self._clock.monotonic()
        self._is_idle = False
        with self._lock:
            failure = self._failure
            if not self._stop.is_set():
                self._failure = None  # the thread tries again
        if failure is not None:
            raise failure

    def take_lost(self) -> set[TopicPartition]:
        """What was owned when the membership was lost, once."""
        with self._lock:
            if not self._member.is_lost:
                return set()
            lost = set(self._member.owned)
            self._member.cleared()
            self._acted.set()
            return lost

    def to_revoke(self) -> set[TopicPartition]:
        with self._lock:
            return set() if self._member.is_lost else self._member.to_revoke

    def gave_up(self, parts: set[TopicPartition]) -> None:
        """They are worked on no longer: tell the group at once, so that another gets them."""
        with self._request_lock:
            with self._lock:
                self._member.gave_up(parts)
                self._acted.set()
                if not self._member.is_member:
                    return
                self._member.turn += 1
                request = self._member.request()
            try:
                answer = self._store.group_heartbeat(request)
            except EXPULSIONS:
                self._lost()
                return
            except LogStoreError:  # the thread's next heartbeat says it
                return
            with self._lock:
                self._member.accept(answer)

    def take_new(self) -> set[TopicPartition]:
        """What is to be worked on from now on."""
        with self._lock:
            if self._member.is_lost or self._member.to_revoke:
                return set()
            parts = self._member.to_take
            self._member.took(parts)
            self._acted.set()
            return parts

    def put_back(self, parts: set[TopicPartition]) -> None:
        """What take_new gave could not be begun: it is given again."""
        with self._lock:
            self._member.gave_up(parts)

    def refresh_epoch(self) -> None:
        """One heartbeat now, for a commit that was too old. Raises LogStoreError."""
        with self._request_lock:
            with self._lock:
                self._member.turn += 1
                request = self._member.request()
            answer = self._store.group_heartbeat(request)
            with self._lock:
                self._member.accept(answer)

    def leave(self) -> None:
        """Leave the group and stop the thread."""
        self._stop.set()
        self._acted.set()
        self._say_goodbye(for_good=False)
        self._thread.join(LEAVE_SECONDS)

    def _say_goodbye(self, *, for_good: bool) -> None:
        with self._lock:
            is_member = self._member.is_member
            request = self._member.leave_request(for_good=for_good)
            self._member.turn += 1
        if is_member:
            self._send_goodbye(request)

    def _send_goodbye(self, request: GroupHeartbeat) -> None:
        try:
            self._store.group_heartbeat(request)
        except LogStoreError:  # it will be taken for dead instead
            return

    # --- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            now = self._clock.monotonic()
            if now - self._polled_at > self._max_poll_interval:
                if not self._is_idle:
                    self._is_idle = True
                    self._say_goodbye(for_good=True)
                    self._lost()
                self._stop.wait(RETRY_SECONDS)
                continue
            if self._has_to_stop_first():
                continue
            with self._request_lock, self._lock:
                turn = self._member.turn
                request = self._member.request()
                wait = self._member.heartbeat_interval
            self._heartbeat(request, turn, wait)

    def _has_to_stop_first(self) -> bool:
        """Whether poll has yet to end the work on what was lost. Joining says that nothing is
        owned, and the group would give those partitions to others: so that comes after."""
        with self._lock:
            if not self._member.is_lost:
                return False
            self._acted.clear()
        self._wake()
        self._acted.wait(RETRY_SECONDS)
        return True

    def _heartbeat(self, request: GroupHeartbeat, turn: int, wait: float) -> None:
        try:
            answer = self._store.group_heartbeat(request, wait=wait)
        except LogStoreError as error:
            self._failed(error, turn)
            return
        self._heard_at = self._clock.monotonic()
        with self._lock:
            is_stale = self._member.turn != turn  # poll has talked to the group since
            if is_stale and request.member_epoch == EPOCH_JOIN and self._stop.is_set():
                self._member.member_id = answer.member_id
                goodbye = self._member.leave_request(for_good=False)
            else:
                goodbye = None
            has_changes = not is_stale and self._member.accept(answer)
            if has_changes:
                self._acted.clear()
        if goodbye is not None:  # it was closed while it joined
            self._send_goodbye(goodbye)
        if has_changes:
            self._wake()
            self._acted.wait(wait)  # it is poll's turn; the group would answer the same till then

    def _failed(self, error: LogStoreError, turn: int) -> None:
        with self._lock:
            if self._member.turn != turn:
                return
        if isinstance(error, EXPULSIONS):
            self._lost()
        elif error.retriable or isinstance(error, UnreleasedInstanceError):
            if self._clock.monotonic() - self._heard_at > self._session_timeout:
                self._heard_at = self._clock.monotonic()
                self._lost()  # the group has taken this member for dead by now
            self._stop.wait(RETRY_SECONDS)
        else:
            self._lost()
            if isinstance(error, FencedInstanceError):
                self._stop.set()
            with self._lock:
                self._failure = error
            self._wake()
            self._stop.wait(RETRY_SECONDS)

    def _lost(self) -> None:
        with self._lock:
            self._member.lost()
        self._wake()
