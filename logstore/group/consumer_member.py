"""A member of a server-assigned group, and what its heartbeat says of itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import re2

from logstore.api import GroupHeartbeat, TopicPartition
from logstore.config import GroupConfig
from logstore.errors import InvalidPatternError, InvalidRequestError
from logstore.group.assignors import DEFAULT_ASSIGNOR, find_assignor

PATTERN_LENGTH_MAX = 1024  # bounds what a client can make the server compile
ID_LENGTH_MAX = 1024


@dataclass(frozen=True, slots=True)
class Subscription:
    topics: frozenset[str]
    pattern: str | None

    def resolve(self, known: Iterable[str]) -> frozenset[str]:
        """The topics of `known` that are read."""
        names = frozenset(known)
        if self.pattern is None:
            return self.topics & names
        matches = compile_pattern(self.pattern).fullmatch
        return frozenset(name for name in names if name in self.topics or matches(name))


class ClassicTerms(NamedTuple):
    """`protocol`: the one the member would rather have. `version`: of its bytes."""

    protocol: str
    version: int


@dataclass(slots=True)
class Member:
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    subscription: Subscription
    assignor: str
    session_timeout: float
    rebalance_timeout: float
    deadline: float = 0.0  # of the session
    revoke_deadline: float | None = None  # to give up, or to join again, what it was told to
    epoch: int = 0
    previous_epoch: int = 0
    assigned: set[TopicPartition] = field(default_factory=set)
    revoking: set[TopicPartition] = field(default_factory=set)
    reported: frozenset[TopicPartition] = frozenset()  # `owned` of its last heartbeat
    is_away: bool = False  # static, left with -2
    classic: ClassicTerms | None = None  # it speaks Kafka's join and sync; None: heartbeats

    @property
    def next_deadline(self) -> float:
        if self.revoke_deadline is None:
            return self.deadline
        return min(self.deadline, self.revoke_deadline)


def compile_pattern(pattern: str) -> re2._Regexp:
    """Raises InvalidPatternError."""
    if len(pattern) > PATTERN_LENGTH_MAX:
        raise InvalidPatternError(
            f"the pattern has {len(pattern)} characters, the limit is {PATTERN_LENGTH_MAX}"
        )
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise InvalidPatternError(
            f"pattern {pattern!r} is no RE2 expression: {_text(error)}", pattern=pattern
        ) from None


def _text(error: Exception) -> str:
    cause = error.args[0] if error.args else error
    return cause.decode("utf-8", "replace") if isinstance(cause, bytes) else str(cause)


# --- what a heartbeat says ------------------------------------------------------------------


def new_member(
    heartbeat: GroupHeartbeat, member_id: str, subscription: Subscription, config: GroupConfig
) -> Member:
    """Raises InvalidRequestError, UnknownAssignorError."""
    check_ids(member_id, heartbeat.instance_id or "", heartbeat.client_id)
    return Member(
        member_id=member_id,
        instance_id=heartbeat.instance_id or None,
        client_id=heartbeat.client_id,
        client_host=heartbeat.client_host,
        subscription=subscription,
        assignor=assignor_of(heartbeat, DEFAULT_ASSIGNOR),
        session_timeout=session_timeout_of(heartbeat, config.session_timeout_ms / 1000, config),
        rebalance_timeout=rebalance_timeout_of(heartbeat, config.rebalance_timeout_ms / 1000),
    )


def check_ids(*names: str) -> None:
    """Raises InvalidRequestError."""
    for name in names:
        if len(name) > ID_LENGTH_MAX:
            raise InvalidRequestError(
                f"an id of {len(name)} characters is over the limit of {ID_LENGTH_MAX}"
            )


def subscription_of(heartbeat: GroupHeartbeat, before: Subscription | None) -> Subscription:
    """Raises InvalidRequestError, InvalidPatternError."""
    result = before or Subscription(frozenset(), None)
    if heartbeat.subscribed_topics is not None:
        result = replace(result, topics=frozenset(heartbeat.subscribed_topics))
    if heartbeat.subscribed_pattern is not None:
        pattern = heartbeat.subscribed_pattern or None  # "": no pattern any more
        if pattern is not None:
            compile_pattern(pattern)
        result = replace(result, pattern=pattern)
    is_empty = not result.topics and result.pattern is None
    if before is None and is_empty and not heartbeat.may_read_nothing:
        raise InvalidRequestError("a member joins with topics or a pattern; neither was given")
    return result


def assignor_of(heartbeat: GroupHeartbeat, before: str) -> str:
    """Raises UnknownAssignorError."""
    if not heartbeat.assignor:
        return before
    find_assignor(heartbeat.assignor)
    return heartbeat.assignor


def session_timeout_of(heartbeat: GroupHeartbeat, before: float, config: GroupConfig) -> float:
    """Raises InvalidRequestError."""
    wanted = heartbeat.session_timeout_ms
    if wanted is None:
        return before
    low, high = config.session_timeout_ms_min, config.session_timeout_ms_max
    if not low <= wanted <= high:
        raise InvalidRequestError(
            f"session_timeout_ms={wanted} is not valid: it takes a number from {low} to {high}"
        )
    return wanted / 1000


def rebalance_timeout_of(heartbeat: GroupHeartbeat, before: float) -> float:
    """Raises InvalidRequestError."""
    wanted = heartbeat.rebalance_timeout_ms
    if wanted is None:
        return before
    if wanted <= 0:
        raise InvalidRequestError(f"rebalance_timeout_ms={wanted} is not positive")
    return wanted / 1000
