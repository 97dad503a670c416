"""Transactions as one partition sees them: the last stable offset, and what was aborted.

    offsets      40 [P1: a b]  43 [P2: c]  44 [P1: abort]  45 [P2: d]  47
    open         P2 since 43          last stable offset 43: nothing from there on is decided
    aborted      P1 from 40 to 44

A transaction is decided for readers when its marker is below the high watermark, not when it is
written: until then it holds the last stable offset down.

Invariants
- `aborted` ascends by last offset. Its entries are never changed; those below the log start go, and
  those of which compaction has left neither records nor marker.
- Whoever reads offsets below the last stable offset finds every aborted transaction among them.

On disk they are part of the producers' snapshot (see producer_state.py), and what is not in one is
found again in the log: a marker tells of itself, and of the transaction that it ends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

_LAST_OFFSET = attrgetter("last_offset")


class AbortedTransaction(NamedTuple):
    producer_id: int
    first_offset: int
    last_offset: int  # of the marker
    last_stable_offset: int  # behind it: later entries begin there or later


class Ended(NamedTuple):
    """A marker was appended that ends an open transaction."""

    producer_id: int
    first_offset: int
    marker_offset: int
    is_aborted: bool


class Transactions:
    """Written under the partition's lock; `aborted` is read without one."""

    __slots__ = ("_undecided", "aborted")

    def __init__(self, aborted: Iterable[AbortedTransaction]) -> None:
        self.aborted: list[AbortedTransaction] = sorted(aborted, key=_LAST_OFFSET)
        self._undecided: list[Ended] = []  # ended above the high watermark

    def end(self, ended: Ended, open_since: int | None) -> None:
        """`open_since`: the first offset of all transactions that are open now."""
        if ended.is_aborted:
            behind = ended.marker_offset + 1
            stable = behind if open_since is None else min(open_since, behind)
            self.aborted.append(
                AbortedTransaction(
                    ended.producer_id, ended.first_offset, ended.marker_offset, stable
                )
            )
        self._undecided.append(ended)

    def stable_offset(self, high_watermark: int, open_since: int | None) -> int:
        """The last stable offset; forgets what that high watermark decides."""
        stable = high_watermark
        if self._undecided:
            self._undecided = [
                ended for ended in self._undecided if ended.marker_offset >= high_watermark
            ]
            stable = min((ended.first_offset for ended in self._undecided), default=stable)
        return stable if open_since is None else min(stable, open_since)

    def drop_below(self, log_start_offset: int) -> None:
        """Their records are gone; a reader may hold the old list still."""
        keep = bisect_left(self.aborted, log_start_offset, key=_LAST_OFFSET)
        if keep:
            self.aborted = self.aborted[keep:]

    def forget(self, marker_offsets: Collection[int]) -> None:
        """Of these transactions nothing is in the log any more."""
        if marker_offsets:
            kept = [entry for entry in self.aborted if entry.last_offset not in marker_offsets]
            self.aborted = kept


def between(
    aborted: Sequence[AbortedTransaction], first: int, last: int
) -> list[AbortedTransaction]:
    """Of these, by last offset, those that may have records from offset `first` to `last`."""
    found = []
    for index in range(bisect_left(aborted, first, key=_LAST_OFFSET), len(aborted)):
        entry = aborted[index]
        if entry.first_offset <= last:
            found.append(entry)
        if entry.last_stable_offset > last:
            break
    return found
