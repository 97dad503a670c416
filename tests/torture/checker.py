"""What a full read of a topic must agree with: the ledger's claims, one by one.

Small and separate from the simulator's checker: that one judges a history that is known event by
event, this one the claims of clients that run in real time, of which only the order within one
client is known.

    lost                a record that was acknowledged is not at its offset
    duplicated          a record is stored at two offsets
    reordered           two records of one writer and partition are stored against their order
    phantom             a record is stored that nobody sent or that was refused, or a reader saw
                        one that is not there
    wrong bytes         a value is not what was sent
    offset reused       one offset was given to two records (told, read or stored)
    skipped             the group committed past a record that no member had read
    committed offset moved backwards, partition owned twice, aborted record read
"""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.torture.ledger import (
    NUMBER_BITS,
    OFFSET_BITS,
    REFUSED,
    UNKNOWN,
    GroupLedger,
    OwnershipLedger,
    Tenure,
    Violation,
    WriterLedger,
    identity_of,
    name_of,
)


class Stored:
    """What one read of all partitions found; `starts` are the first offsets that are kept."""

    def __init__(self, partitions: int) -> None:
        self.starts = [0] * partitions
        self.identities = [array("q") for _ in range(partitions)]  # by offset
        self.records = 0
        self.violations: list[Violation] = []

    def leave_out(self, partition: int) -> None:
        """It is not served: nothing is known of what it holds."""
        self.starts[partition] = sys.maxsize

    def add(self, partition: int, offset: int, value: bytes | None) -> None:
        found = self.identities[partition]
        identity = identity_of(value)
        self.records += 1
        if identity is None:
            self.violations.append(
                Violation("wrong bytes", f"{partition}@{offset} holds {value!r}")
            )
            identity = UNKNOWN
        if offset < len(found):
            self.violations.append(
                Violation("offset reused", f"{partition}@{offset} was read behind {len(found) - 1}")
            )
            return
        found.extend([UNKNOWN] * (offset - len(found)))
        found.append(identity)

    def merge(self, later: Stored) -> list[Violation]:
        """Add a later read, which may begin later; what both hold must be the same."""
        violations: list[Violation] = []
        for partition, identities in enumerate(later.identities):
            mine = self.identities[partition]
            start = later.starts[partition]
            violations.extend(
                Violation(
                    "offset reused",
                    f"{partition}@{offset} held {name_of(mine[offset])}, and later "
                    f"{name_of(identities[offset])}",
                )
                for offset in range(start, min(len(mine), len(identities)))
                if mine[offset] != identities[offset]
            )
            mine.extend([UNKNOWN] * (start - len(mine)))
            mine.extend(identities[len(mine) :])
        return violations

    def at(self, partition: int, offset: int) -> int:
        found = self.identities[partition]
        return found[offset] if offset < len(found) else UNKNOWN


class Claims:
    """All that had been told and seen when it was made; a read that begins later must agree."""

    def __init__(
        self, writers: Sequence[WriterLedger], group: GroupLedger, committed: Sequence[int]
    ) -> None:
        """`committed`: per partition, asked from the store just before."""
        self.places = {ledger.writer: ledger.places[:] for ledger in writers}
        self.seen = [group.seen(partition) for partition in range(len(committed))]
        self.committed = list(committed)

    def is_told(self, identity: int, place: int) -> bool:
        places = self.places.get(identity >> NUMBER_BITS)
        number = identity & (1 << NUMBER_BITS) - 1
        return places is not None and number < len(places) and places[number] == place


def check_claims(claims: Claims, stored: Stored) -> list[Violation]:
    """What was acknowledged, and what the group has read, is there."""
    violations = list(stored.violations)
    for writer, places in claims.places.items():
        for number, place in enumerate(places):
            if place < 0:  # not known to be stored
                continue
            partition, offset = place >> OFFSET_BITS, place & (1 << OFFSET_BITS) - 1
            identity = writer << NUMBER_BITS | number
            found = stored.at(partition, offset)
            if found == identity or offset < stored.starts[partition]:
                continue
            kind = "offset reused" if claims.is_told(found, place) else "lost"
            there = "nothing" if found == UNKNOWN else name_of(found)
            violations.append(
                Violation(
                    kind,
                    f"{name_of(identity)} was acknowledged at {partition}@{offset}; "
                    f"there is {there}",
                )
            )
    for partition, seen in enumerate(claims.seen):
        violations.extend(_check_group(partition, seen, claims.committed[partition], stored))
    return violations


def _check_group(
    partition: int, seen: array[int], committed: int, stored: Stored
) -> list[Violation]:
    violations = []
    for offset in range(stored.starts[partition], max(committed, len(seen))):
        found = stored.at(partition, offset)
        read = seen[offset] if offset < len(seen) else UNKNOWN
        if read not in (UNKNOWN, found):
            violations.append(
                Violation("phantom", f"{name_of(read)} was read at {partition}@{offset}")
            )
        elif read == UNKNOWN and found != UNKNOWN and offset < committed:
            violations.append(
                Violation(
                    "skipped",
                    f"{committed} is committed, but {name_of(found)} at {partition}@{offset} "
                    "was read by nobody",
                )
            )
    return violations


def check_log(writers: Sequence[WriterLedger], stored: Stored) -> list[Violation]:
    """Each record once, in its writer's order, and sent by somebody. Call it after the read: what
    is stored was sent before."""
    wheres = {ledger.writer: array("q", [UNKNOWN]) * len(ledger.places) for ledger in writers}
    told = {ledger.writer: ledger.places for ledger in writers}
    violations = []
    for partition, identities in enumerate(stored.identities):
        last: dict[int, int] = defaultdict(lambda: UNKNOWN)
        for offset, identity in enumerate(identities):
            if identity == UNKNOWN:
                continue
            writer, number = identity >> NUMBER_BITS, identity & (1 << NUMBER_BITS) - 1
            name, place = name_of(identity), f"{partition}@{offset}"
            where = wheres.get(writer, array("q"))
            if number >= len(where):
                violations.append(Violation("phantom", f"{place}: nobody sent {name}"))
                continue
            if told[writer][number] == REFUSED:
                violations.append(Violation("phantom", f"{place}: {name} had been refused"))
            if where[number] != UNKNOWN:
                first = f"{where[number] >> OFFSET_BITS}@{where[number] & (1 << OFFSET_BITS) - 1}"
                violations.append(Violation("duplicated", f"{name} is at {first} and at {place}"))
            elif number < last[writer]:
                violations.append(
                    Violation("reordered", f"{place}: {name} stands behind {last[writer]}")
                )
            where[number] = partition << OFFSET_BITS | offset
            last[writer] = max(last[writer], number)
    return violations


def check_ownership(ownership: OwnershipLedger) -> list[Violation]:
    """No commit was accepted from a member after another had been given the partition; and no two
    members that one run of the server knew to be owners held it at once.

    A member that has not yet noticed that the server is another one, or stood still for longer
    than a session, may still hold what was given on, as in Kafka; only its commits do no harm.
    """
    violations: list[Violation] = []
    by_partition: dict[int, list[Tenure]] = defaultdict(list)
    for tenure in ownership.tenures:
        by_partition[tenure.partition].append(tenure)
    for partition, tenures in by_partition.items():
        tenures.sort(key=lambda tenure: tenure.start)
        holders: list[Tenure] = []  # some of which may still hold it
        for tenure in tenures:
            holders = [holder for holder in holders if holder.end > tenure.start]
            violations.extend(
                Violation("partition owned twice", f"partition {partition}: {first} and {tenure}")
                for first in holders
                if _is_twice(first, tenure)
            )
            holders.append(tenure)
    return violations


def _is_twice(first: Tenure, second: Tenure) -> bool:
    if second.run == UNKNOWN:  # it may have been given by a server that is gone
        return False
    is_excused = first.is_excused or second.is_excused
    return first.committed_at > second.start or (first.run == second.run and not is_excused)


def describe(violations: Iterable[Violation], *, shown_max: int = 20) -> str:
    lines = [str(violation) for violation in violations]
    more = [f"... and {len(lines) - shown_max} more"] if len(lines) > shown_max else []
    return "\n".join(lines[:shown_max] + more)
