"""A member of a classic group, and what can be said of its join without the group. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from logstore.api import ClassicJoin, ClassicJoined, ClassicProtocol, ClassicSynced
from logstore.config import GroupConfig
from logstore.errors import (
    GroupKindError,
    InvalidRequestError,
    InvalidSessionTimeoutError,
    LogStoreError,
)

# How long a new member may wait for its first generation; its client may be gone for long.
NEW_MEMBER_TIMEOUT = 300.0
PROTOCOLS_MAX = 100  # of one member
ID_LENGTH_MAX = 1024


class Reply(NamedTuple):
    """The answer to the call that waits under `ticket`."""

    ticket: int
    answer: ClassicJoined | ClassicSynced | LogStoreError


@dataclass(slots=True)
class Member:
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout: float
    rebalance_timeout: float
    protocols: tuple[ClassicProtocol, ...]
    deadline: float = 0.0
    assignment: bytes = b""
    is_new: bool = True  # in no generation yet
    join_ticket: int | None = None
    sync_ticket: int | None = None

    def metadata(self, protocol: str) -> bytes:
        return next((item.metadata for item in self.protocols if item.name == protocol), b"")

    @property
    def is_waiting(self) -> bool:
        """Its call is not answered yet, so it need not send heartbeats."""
        if self.join_ticket is not None:
            return not self.is_new  # which may wait only so long
        return self.sync_ticket is not None


def check_join(request: ClassicJoin, config: GroupConfig) -> None:
    """Raises InvalidRequestError, InvalidSessionTimeoutError, GroupKindError."""
    low, high = config.session_timeout_ms_min, config.session_timeout_ms_max
    if not low <= request.session_timeout_ms <= high:
        raise InvalidSessionTimeoutError(
            f"session_timeout_ms={request.session_timeout_ms} is not valid: "
            f"it takes a number from {low} to {high}"
        )
    if request.rebalance_timeout_ms < 0:
        raise InvalidRequestError("the rebalance timeout is negative")
    for text in (request.member_id, request.instance_id or "", request.client_id):
        if len(text) > ID_LENGTH_MAX:
            raise InvalidRequestError(
                f"an id of {len(text)} characters is over the limit of {ID_LENGTH_MAX}"
            )
    if not request.protocol_type or not 0 < len(request.protocols) <= PROTOCOLS_MAX:
        raise GroupKindError(f"a member names a protocol type and 1 to {PROTOCOLS_MAX} protocols")
