"""What the clients of a torture run sent, were told and saw, in a few bytes a record.

Every value names its writer and number and is otherwise made from them, so that each byte of it
can be checked without keeping it. Of a record the ledger keeps eight bytes per fact:

    identity    writer << 40 | number           what a value is
    place       partition << 48 | offset        where it is

All methods may be called from any thread. What a claim contradicts at once (a record that was
something else before, a commit that fell) is noted in `violations`; the rest is for checker.py,
which has what a full read finds.
"""

from __future__ import annotations

import math
import random
import threading
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NUMBER_BITS = 40
OFFSET_BITS = 48
UNKNOWN = -1  # no answer yet
GIVEN_UP = -2  # the client was told that it may or may not be stored
REFUSED = -3  # the client was told that it is not stored
FILLER_BYTES = 4096
FILLER = (
    random.Random(20).randbytes(FILLER_BYTES) * 18
)  # any value of up to 64 KiB is a slice of it
VALUE_BYTES_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Violation:
    """`kind` is one of those that checker.py names, or what a part says of itself."""

    kind: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.evidence}"


def make_value(writer: int, number: int, size: int) -> bytes:
    start = (number * 7 + writer) % FILLER_BYTES
    return b"%d:%d:%d:" % (writer, number, size) + FILLER[start : start + size]


def identity_of(value: bytes | None) -> int | None:
    """None if not every byte is as it was made."""
    try:
        writer, number, size = (int(part) for part in (value or b"").split(b":", 3)[:3])
    except ValueError:
        return None
    if value != make_value(writer, number, size):
        return None
    return writer << NUMBER_BITS | number


def name_of(identity: int) -> str:
    return f"record {identity & (1 << NUMBER_BITS) - 1} of writer {identity >> NUMBER_BITS}"


class WriterLedger:
    """What one writer sent, in the order in which it did, and what it was told. One thread's."""

    def __init__(self, writer: int) -> None:
        self.writer = writer
        self.places = array("q")  # of each number: a place, or UNKNOWN, GIVEN_UP, REFUSED
        self.acknowledged = 0
        self.given_up = 0

    def sent(self) -> int:
        """The number of a record that is about to be sent."""
        self.places.append(UNKNOWN)
        return len(self.places) - 1

    def stored(self, number: int, partition: int, offset: int) -> None:
        self.places[number] = partition << OFFSET_BITS | offset
        self.acknowledged += 1

    def gave_up(self, number: int) -> None:
        self.places[number] = GIVEN_UP
        self.given_up += 1

    def refused(self, number: int) -> None:
        self.places[number] = REFUSED


class GroupLedger:
    """What the members of one group saw and committed, together."""

    def __init__(self, partitions: int) -> None:
        self.violations: list[Violation] = []
        self.records = 0
        self.commits = 0
        self._lock = threading.Lock()
        self._seen = [array("q") for _ in range(partitions)]  # by offset: identity or UNKNOWN
        self._floors = [0] * partitions  # the highest commit that was confirmed

    def floors(self) -> list[int]:
        with self._lock:
            return list(self._floors)

    def seen(self, partition: int) -> array[int]:
        with self._lock:
            return self._seen[partition][:]

    def read(self, member: str, partition: int, offset: int, value: bytes | None) -> None:
        identity = identity_of(value)
        if identity is None:
            self._violated("wrong bytes", f"{member} read {value!r} at {partition}@{offset}")
            return
        with self._lock:
            self.records += 1
            seen = self._seen[partition]
            if offset >= len(seen):
                seen.extend([UNKNOWN] * (offset + 1 - len(seen)))
            before, seen[offset] = seen[offset], identity
        if before not in (UNKNOWN, identity):
            self._violated(
                "offset reused",
                f"{member} read {name_of(identity)} at {partition}@{offset}, where "
                f"{name_of(before)} was read before",
            )

    def began(self, member: str, partition: int, offset: int, floor: int) -> None:
        """The first record after an assignment, before which `floor` was a confirmed commit."""
        if offset < floor:
            self._violated(
                "committed offset moved backwards",
                f"{member} was given {partition}@{offset}, but {floor} had been committed",
            )

    def committed(self, offsets: Mapping[int, int]) -> None:
        """The store has confirmed them."""
        with self._lock:
            self.commits += 1
            for partition, offset in offsets.items():
                self._floors[partition] = max(self._floors[partition], offset)

    def found_committed(self, floors: list[int], found: Mapping[int, int]) -> None:
        """What the store says is committed, asked after `floors` had been confirmed."""
        for partition, floor in enumerate(floors):
            now = found.get(partition, 0)
            if now < floor:
                self._violated(
                    "committed offset moved backwards",
                    f"partition {partition} stands at {now}, {floor} was confirmed",
                )

    def _violated(self, kind: str, evidence: str) -> None:
        with self._lock:
            self.violations.append(Violation(kind, evidence))


@dataclass(slots=True)
class Tenure:
    """A member's ownership of a partition, as the member knew it (time.monotonic seconds).

    `run`: the start of the server in which a commit was accepted from it, which proves that the
    server knew of it; a tenure of an earlier start that the member has not yet noticed to be over
    has none. `committed_at`: when the last accepted commit was begun. `is_excused`: the server,
    or all between it and the member, stood still for longer than a session, so that the member
    could not know that it had expired.
    """

    member: str
    partition: int
    start: float
    end: float = math.inf
    run: int = UNKNOWN
    committed_at: float = -math.inf
    is_excused: bool = False


class OwnershipLedger:
    """Who owned what and when, over the starts of a server that forgets its members."""

    def __init__(self) -> None:
        self.tenures: list[Tenure] = []
        self._lock = threading.Lock()
        self._open: dict[tuple[str, int], Tenure] = {}

    def assigned(self, member: str, partition: int, at: float) -> None:
        with self._lock:
            tenure = self._open[member, partition] = Tenure(member, partition, at)
            self.tenures.append(tenure)

    def committed(
        self, member: str, partitions: Iterable[int], *, begun_at: float, run: int
    ) -> None:
        """A commit was accepted that was begun then; `run`: in which it began and ended."""
        with self._lock:
            for partition in partitions:
                tenure = self._open.get((member, partition))
                if tenure is not None and tenure.start <= begun_at:
                    tenure.committed_at, tenure.run = begun_at, run

    def ended(self, member: str, partition: int, at: float) -> None:
        with self._lock:
            self._open.pop((member, partition)).end = at

    def owned_by(self, member: str) -> set[int]:
        with self._lock:
            return {partition for owner, partition in self._open if owner == member}

    def stood_still(self, *members: str) -> None:
        """These, or all if none is named, may not learn in time that their session is over."""
        with self._lock:
            for tenure in self._open.values():
                if not members or tenure.member in members:
                    tenure.is_excused = True
