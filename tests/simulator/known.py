"""What the checker knows, at one place of a history, of batches, logs, transactions and commits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tests.simulator.history import Place


@dataclass(slots=True)
class Batch:
    place: Place
    producer: str
    values: tuple[bytes, ...]
    timestamp: int
    number: int
    transaction: int = 0
    attempts: int = 1  # that may have stored it
    first_sent: int = 0  # the events of its first and its last attempt
    last_sent: int = 0


class Known(NamedTuple):
    """A record is at an offset, as somebody was told. `acknowledged`, else only read."""

    record: bytes
    acknowledged: bool


@dataclass(slots=True)
class Log:
    """What is known of a partition."""

    durability: str
    compacted: bool = False
    tombstones_stay: bool = True
    known: dict[int, Known] = field(default_factory=dict)
    written: dict[int, bytes] = field(default_factory=dict)  # told, not durable: of this life only
    offsets: dict[bytes, int] = field(default_factory=dict)  # of known records
    again: set[bytes] = field(default_factory=set)  # that may come twice
    start: int = 0  # the log start when it was last looked at
    high_watermark: int = 0
    flushed: int = 0
    log_start: int = 0  # durably given up below
    may_start: int = 0  # not beyond
    epoch: int = 0
    losses: int = 0  # ends that may have taken a suffix
    may_lose: bool = False
    was_unclean: bool = False
    was_full: bool = False  # the disk, at some time since the last look
    forgets: bool = False  # batches were given up on a full disk, and maybe their producers


@dataclass(slots=True)
class Transaction:
    """`committed` None: not known. It is, once somebody has seen how it ended."""

    may_commit: bool = False
    committed: bool | None = None
    offsets: list[tuple[tuple[str, Place], int]] = field(default_factory=list)  # committed in it


@dataclass(slots=True)
class Commits:
    """`attempts`: offset -> the transactions in which it was committed, 0 without one."""

    attempts: dict[int, set[int]] = field(default_factory=dict)
    durable: int = -1
    seen: int = -1
