"""Reads a history and names what must not be. Knows nothing of the store's code.

What must hold
- fsync: what was acknowledged with acks=all, and what any reader saw, is at its offset with its
  bytes ever after, unless it was to be forgotten. An offset never means two records.
- page_cache: the same over a killed process. A power loss (or a failed sync whose pages left
  memory) may take a suffix, above the last flush, and then the leader epoch rises.
- A record is in a log once, after the earlier ones of its producer, and only if it was sent there
  and not refused. There are no holes but markers. (Only where a producer's batches were given up to
  make room on a full disk may the store forget the producer, and take a late retry for new.)
- Where records are compacted, the last of each key stays; a tombstone for its time at least, and
  no older record of its key outlives it.
- The log start does not pass what nobody gave up, nor fall below what was durably given up; the
  leader epoch never falls, and rises with each end that was not a close.
- Who reads committed records sees all of a transaction or nothing, and nothing of an aborted one;
  what a transaction committed is flushed, whatever the durability. Every transaction ends.
- A committed offset is one that was committed, and not below one whose commit was answered (but
  the log's end, when that fell). No partition has two live owners in a group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.simulator.history import (
    RECORD_ID_BYTES,
    Acknowledged,
    Bounds,
    CacheLost,
    CommitRead,
    Committed,
    Committing,
    Ended,
    Forgotten,
    History,
    MayForget,
    Opened,
    Owners,
    PartitionGone,
    PartitionMade,
    Place,
    Read,
    RecordSeen,
    Refused,
    Sent,
    SequenceGap,
    Settled,
    StoredBefore,
    Surprise,
    TransactionEnded,
    TransactionEnding,
    Trouble,
    TroubleOver,
    is_tombstone,
    key_of,
)
from tests.simulator.known import Batch, Commits, Known, Log, Transaction

LOST = "lost"
NEVER_DURABLE = "read of a record that was never durable"
ABORTED_READ = "read of an aborted record"
STUCK = "transaction without an end"
DUPLICATED = "duplicated"
REORDERED = "reordered"
PHANTOM = "phantom"
WRONG_BYTES = "wrong bytes"
OFFSET_REUSED = "offset reused"
HOLE = "offsets without records"
FORGOTTEN = "log start moved without a reason"
EPOCH = "leader epoch did not rise"
COMMIT_BACKWARDS = "committed offset moved backwards"
COMMIT_PHANTOM = "committed offset that nobody committed"
OWNED_TWICE = "partition owned twice"
SURPRISE = "answer that nothing explains"

VIOLATIONS = (
    LOST,
    NEVER_DURABLE,
    ABORTED_READ,
    STUCK,
    DUPLICATED,
    REORDERED,
    PHANTOM,
    WRONG_BYTES,
    OFFSET_REUSED,
    HOLE,
    FORGOTTEN,
    EPOCH,
    COMMIT_BACKWARDS,
    COMMIT_PHANTOM,
    OWNED_TWICE,
    SURPRISE,
)


class Violation(NamedTuple):
    kind: str
    event: int  # its number in the history
    place: Place | None
    what: str


class Checker:
    """One history, once: `check` returns the violations in order."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self._number = 0
        self._is_full = False
        self._logs: dict[Place, Log] = {}
        self._batches: dict[int, Batch] = {}
        self._records: dict[bytes, tuple[Batch, bytes]] = {}  # by id: where it belongs, its value
        self._transactions: dict[int, Transaction] = defaultdict(Transaction)
        self._commits: dict[tuple[str, Place], Commits] = defaultdict(Commits)
        self._handlers: dict[type, Callable[[Any], None]] = {
            PartitionMade: self._made,
            PartitionGone: self._gone,
            Sent: self._sent,
            Acknowledged: self._acknowledged,
            Refused: self._refused,
            StoredBefore: self._stored_before,
            SequenceGap: self._sequence_gap,
            TransactionEnding: self._transaction_ending,
            TransactionEnded: self._transaction_ended,
            Read: self._read,
            Settled: self._settled,
            Bounds: self._bounds,
            MayForget: self._may_forget,
            Forgotten: self._forgotten,
            Committing: self._committing,
            Committed: self._committed,
            CommitRead: self._commit_read,
            Owners: self._owners,
            Trouble: self._trouble,
            TroubleOver: self._trouble_over,
            CacheLost: lambda _: self._may_lose(),
            Ended: self._ended,
            Opened: lambda _: None,
            Surprise: lambda event: self._report(SURPRISE, None, event.what),
        }

    def check(self, history: History) -> list[Violation]:
        for self._number, event in enumerate(history.events):
            self._handlers[type(event)](event)
        return self.violations

    def _report(self, kind: str, place: Place | None, what: str) -> None:
        self.violations.append(Violation(kind, self._number, place, what))

    # --- topics ---------------------------------------------------------------------------------

    def _made(self, event: PartitionMade) -> None:
        made = Log(event.durability, event.compacted, event.tombstones_stay)
        made.was_full = self._is_full
        self._logs[event.place] = made

    def _gone(self, event: PartitionGone) -> None:
        self._logs.pop(event.place, None)
        for key in [key for key in self._commits if key[1] == event.place]:
            del self._commits[key]

    # --- producers ------------------------------------------------------------------------------

    def _sent(self, event: Sent) -> None:
        batch = self._batches.get(event.batch)
        if batch is not None:
            batch.attempts += 1
            batch.last_sent = self._number
            return
        batch = Batch(
            event.place,
            event.producer,
            event.values,
            event.timestamp,
            event.batch,
            event.transaction,
            first_sent=self._number,
            last_sent=self._number,
        )
        self._batches[event.batch] = batch
        for value in event.values:
            self._records[value[:RECORD_ID_BYTES]] = batch, value

    def _refused(self, event: Refused) -> None:
        if event.certain:
            self._batches[event.batch].attempts -= 1

    def _acknowledged(self, event: Acknowledged) -> None:
        batch = self._batches[event.batch]
        log = self._logs.get(batch.place)
        if log is None:
            return
        for offset, value in enumerate(batch.values, event.base_offset):
            record = value[:RECORD_ID_BYTES]
            if event.durable or log.durability == "page_cache":
                self._know(batch.place, log, offset, record, acknowledged=True)
            else:
                self._compare(batch.place, log, offset, record)
                log.written[offset] = record

    def _sequence_gap(self, event: SequenceGap) -> None:
        log = self._logs.get(event.place)
        if log is not None and not log.losses and not self._is_trimmed(log, event.producer):
            self._report(LOST, event.place, f"{event.producer}'s acknowledged batches")

    def _stored_before(self, event: StoredBefore) -> None:
        """The last five batches are remembered; compaction keeps the last one only."""
        log = self._logs.get(event.place)
        if log is not None and not log.compacted:
            self._sequence_gap(SequenceGap(event.place, event.producer))

    def _is_trimmed(self, log: Log, producer: str) -> bool:
        """Whether batches of it were given up, and it with them."""
        if not log.forgets:
            return False
        below = (record for record, offset in log.offsets.items() if offset < log.start)
        return any(self._records[record][0].producer == producer for record in below)

    # --- records at offsets ---------------------------------------------------------------------

    def _compare(self, place: Place, log: Log, offset: int, record: bytes) -> None:
        before = log.known.get(offset)
        other = before.record if before else log.written.get(offset)
        if other is not None and other != record:
            self._report(OFFSET_REUSED, place, f"{offset} was {other!r}, is {record!r}")
        at = log.offsets.get(record)
        if at is not None and at < log.start and log.forgets:
            log.again.add(record)
            log.offsets[record] = offset
        elif at is not None and at != offset:
            self._report(DUPLICATED, place, f"{record!r} at {at} and at {offset}")

    def _know(
        self, place: Place, log: Log, offset: int, record: bytes, *, acknowledged: bool
    ) -> None:
        before = log.known.get(offset)
        if before is None or before.record != record:
            self._compare(place, log, offset, record)
            log.offsets.setdefault(record, offset)
        elif before.acknowledged or not acknowledged:
            return
        log.known[offset] = Known(record, acknowledged)

    def _read(self, event: Read) -> None:
        log = self._logs.get(event.place)
        if log is None:
            return
        filled = {*event.markers, *(seen.offset for seen in event.records)}
        for seen in event.records:
            if self._is_as_sent(event.place, seen):
                record = seen.value[:RECORD_ID_BYTES]
                self._know(event.place, log, seen.offset, record, acknowledged=False)
                if event.committed:
                    self._see_committed(event.place, record, seen.offset)
        if not log.compacted:
            self._missing(event, log, filled)
        elif event.whole:  # of a part nobody can say what the rest made superfluous
            self._missing_of_compacted(event, log, filled)
        if event.whole:
            self._check_order(event)

    def _see_committed(self, place: Place, record: bytes, offset: int) -> None:
        number = self._records[record][0].transaction
        if number:
            transaction = self._transactions[number]
            if transaction.committed is None and transaction.may_commit:
                self._end(number, committed=True)
            elif not transaction.committed:
                self._report(ABORTED_READ, place, f"{record!r} at {offset}")

    def _is_as_sent(self, place: Place, seen: RecordSeen) -> bool:
        found = self._records.get(seen.value[:RECORD_ID_BYTES])
        if found is None:
            self._report(PHANTOM, place, f"{seen.value[:40]!r} at {seen.offset}")
            return False
        batch, value = found
        if batch.place != place:
            self._report(PHANTOM, place, f"{value[:RECORD_ID_BYTES]!r} was sent to {batch.place}")
            return False
        if value != seen.value or batch.timestamp != seen.timestamp:
            self._report(WRONG_BYTES, place, f"of {value[:RECORD_ID_BYTES]!r} at {seen.offset}")
            return False
        if not batch.attempts:
            self._report(PHANTOM, place, f"{value[:RECORD_ID_BYTES]!r} had been refused")
        return True

    def _missing(self, event: Read, log: Log, filled: set[int]) -> None:
        """What is known in the range and was not read; holes."""
        holes = []
        for offset in range(event.start, event.stop):
            if offset in filled:
                continue
            known = log.known.get(offset)
            if known is None:
                holes.append(offset)
            elif not (event.committed and self._is_hidden(known.record)):
                self._lost(event.place, log, offset)
        if holes and not event.committed:
            self._report(HOLE, event.place, f"{holes[0]} to {holes[-1]}")

    def _missing_of_compacted(self, event: Read, log: Log, filled: set[int]) -> None:
        """The last record of each key is there; only a tombstone may go as well, in time, and then
        nothing of its key is left."""
        decided: set[bytes] = set()  # keys whose last record was found
        offsets = [offset for offset in log.known if event.start <= offset < event.stop]
        for offset in sorted(offsets, reverse=True):
            known = log.known[offset]
            key = key_of(known.record)
            if key in decided or self._is_aborted(known):
                continue
            may_go = is_tombstone(self._records[known.record][1]) and not log.tombstones_stay
            if offset not in filled and not may_go and self._is_hidden(known.record):
                continue
            decided.add(key)
            if offset in filled:
                continue
            if not may_go and not self._is_deleted(event.place, log, known):
                self._lost(event.place, log, offset)
            elif may_go and not self._is_undecided(known):
                self._came_back(event, log, offset, filled)

    def _is_undecided(self, known: Known) -> bool:
        number = self._records[known.record][0].transaction
        return number > 0 and self._transactions[number].committed is None

    def _is_aborted(self, known: Known) -> bool:
        number = self._records[known.record][0].transaction
        return number > 0 and self._transactions[number].committed is False

    def _is_deleted(self, place: Place, log: Log, known: Known) -> bool:
        """A tombstone that nobody has seen may have come and gone."""
        if log.tombstones_stay:
            return False
        key, batch = key_of(known.record), self._records[known.record][0]
        return any(
            is_tombstone(value)
            and key_of(value) == key
            and record not in log.offsets
            and self._may_follow(other, place, batch)
            for record, (other, value) in self._records.items()
        )

    def _may_follow(self, batch: Batch, place: Place, before: Batch) -> bool:
        """Whether a batch of which nobody was told where it is may be behind `before`. Producers
        overtake each other: one sent earlier may have been sent again since."""
        if batch.place != place or not batch.attempts:
            return False
        if batch.transaction and self._transactions[batch.transaction].committed is False:
            return False
        if batch.producer == before.producer:
            return batch.number > before.number
        return batch.last_sent > before.first_sent

    def _came_back(self, event: Read, log: Log, tombstone: int, filled: set[int]) -> None:
        key = key_of(log.known[tombstone].record)
        for offset in filled:
            known = log.known.get(offset)
            if known and offset < tombstone and key_of(known.record) == key:
                self._report(LOST, event.place, f"tombstone at {tombstone} of {known.record!r}")

    def _is_hidden(self, record: bytes) -> bool:
        """Below the last stable offset, from readers of committed records: it was aborted."""
        number = self._records[record][0].transaction
        if not number:
            return False
        transaction = self._transactions[number]
        if transaction.committed is None:
            self._end(number, committed=False)
        return not transaction.committed

    def _lost(self, place: Place, log: Log, offset: int) -> None:
        known = log.known.pop(offset)
        log.offsets.pop(known.record, None)
        kind = LOST if known.acknowledged else NEVER_DURABLE
        self._report(kind, place, f"{known.record!r} at {offset}")

    def _check_order(self, event: Read) -> None:
        last: dict[str, tuple[int, bytes]] = {}
        again = self._logs[event.place].again
        for seen in event.records:
            record = seen.value[:RECORD_ID_BYTES]
            found = self._records.get(record)
            if found is None or found[0].place != event.place or record in again:
                continue
            producer = found[0].producer
            before = last.get(producer)
            if before is not None and before >= (found[0].number, record):
                what = f"{record!r} of {producer} at {seen.offset} comes after {before[1]!r}"
                self._report(REORDERED, event.place, what)
            last[producer] = found[0].number, record

    # --- transactions ---------------------------------------------------------------------------

    def _transaction_ending(self, event: TransactionEnding) -> None:
        self._transactions[event.transaction].may_commit |= event.commit

    def _transaction_ended(self, event: TransactionEnded) -> None:
        transaction = self._transactions[event.transaction]
        if transaction.committed is None:
            self._end(event.transaction, committed=event.committed)
        elif transaction.committed != event.committed:
            kind = LOST if event.committed else ABORTED_READ
            self._report(kind, None, f"transaction {event.transaction}, which ended otherwise")
        if event.committed:
            self._is_flushed(event.transaction)

    def _is_flushed(self, number: int) -> None:
        """A commit flushes all that is in it, whatever the durability of the topics."""
        for batch in self._batches.values():
            log = self._logs.get(batch.place)
            if batch.transaction != number or log is None:
                continue
            for value in batch.values:
                offset = log.offsets.get(value[:RECORD_ID_BYTES], -1)
                log.flushed = max(log.flushed, offset + 1)

    def _end(self, number: int, *, committed: bool) -> None:
        transaction = self._transactions[number]
        transaction.committed = committed
        for key, offset in transaction.offsets:
            if key[1] not in self._logs:
                continue
            if committed:
                self._commits[key].durable = max(self._commits[key].durable, offset)
            else:
                attempts = self._commits[key].attempts
                others = attempts.get(offset, set()) - {number}
                if others:
                    attempts[offset] = others
                else:
                    attempts.pop(offset, None)

    def _settled(self, event: Settled) -> None:
        if event.last_stable < event.high_watermark:
            what = f"stable up to {event.last_stable} of {event.high_watermark}"
            self._report(STUCK, event.place, what)

    # --- what the store says of its logs --------------------------------------------------------

    def _bounds(self, event: Bounds) -> None:
        place, log = event.place, self._logs.get(event.place)
        if log is None:
            return
        end = min(event.high_watermark, event.kept)
        if log.may_lose and end < log.high_watermark:
            if end < log.flushed:
                self._report(LOST, place, f"ends at {end}, was flushed up to {log.flushed}")
            if event.leader_epoch <= log.epoch:
                self._report(EPOCH, place, f"{event.leader_epoch}, though records were lost")
            self._forget_suffix(place, log, end)
        elif end < log.high_watermark:
            self._report(NEVER_DURABLE, place, f"ends at {end}, reached {log.high_watermark}")
            log.high_watermark = end
        for offset in sorted(offset for offset in log.known if offset >= end):
            self._lost(place, log, offset)
        if event.leader_epoch < log.epoch + log.was_unclean:
            self._report(EPOCH, place, f"{event.leader_epoch} after {log.epoch}")
        if event.log_start < log.log_start:
            self._report(FORGOTTEN, place, f"back from {log.log_start} to {event.log_start}")
        if event.log_start > log.may_start:
            self._report(FORGOTTEN, place, f"{event.log_start}, allowed was {log.may_start}")
        log.forgets |= log.was_full and event.log_start > 0
        log.was_full = self._is_full
        log.start = max(log.start, event.log_start)
        log.may_lose = log.was_unclean = False
        log.epoch = event.leader_epoch
        log.high_watermark = max(log.high_watermark, event.high_watermark)
        log.flushed = max(log.flushed, event.flushed)

    def _forget_suffix(self, place: Place, log: Log, end: int) -> None:
        for offset in [offset for offset in log.known if offset >= end]:
            log.offsets.pop(log.known.pop(offset).record, None)
        log.high_watermark = end
        for (_, of), commits in self._commits.items():
            if of == place:
                commits.attempts.setdefault(end, set()).add(0)
                commits.durable = min(commits.durable, end)
                commits.seen = min(commits.seen, end)

    def _may_forget(self, event: MayForget) -> None:
        log = self._logs.get(event.place)
        if log is not None:
            log.may_start = max(log.may_start, event.before_offset)

    def _forgotten(self, event: Forgotten) -> None:
        log = self._logs.get(event.place)
        if log is not None:
            log.log_start = max(log.log_start, event.log_start)
            for offset in [offset for offset in log.known if offset < log.log_start]:
                del log.known[offset]

    # --- groups ---------------------------------------------------------------------------------

    def _committing(self, event: Committing) -> None:
        if event.place not in self._logs:
            return
        key = event.group, event.place
        self._commits[key].attempts.setdefault(event.offset, set()).add(event.transaction)
        if event.transaction:
            self._transactions[event.transaction].offsets.append((key, event.offset))

    def _committed(self, event: Committed) -> None:
        if event.place in self._logs:
            commits = self._commits[event.group, event.place]
            commits.durable = max(commits.durable, event.offset)

    def _commit_read(self, event: CommitRead) -> None:
        if event.place not in self._logs:
            return
        commits = self._commits[event.group, event.place]
        floor = max(commits.durable, commits.seen)
        what = f"{event.group}: {event.offset}, was {floor}"
        if event.offset < floor:
            self._report(COMMIT_BACKWARDS, event.place, what)
        elif event.offset >= 0 and event.offset not in commits.attempts:
            self._report(COMMIT_PHANTOM, event.place, what)
        commits.seen = event.offset

    def _owners(self, event: Owners) -> None:
        owners: dict[Place, str] = {}
        for member, places in event.owned:
            for place in places:
                if place in owners:
                    what = f"{event.group}: {owners[place]} and {member}"
                    self._report(OWNED_TWICE, place, what)
                owners[place] = member

    # --- the machine ----------------------------------------------------------------------------

    def _trouble(self, event: Trouble) -> None:
        if event.is_full:
            self._is_full = True
            for log in self._logs.values():
                log.was_full = True

    def _trouble_over(self, _: TroubleOver) -> None:
        self._is_full = False

    def _ended(self, event: Ended) -> None:
        for log in self._logs.values():
            log.written.clear()
            log.was_unclean |= event.open and event.kind != "close"
        if event.kind == "power_loss":
            self._may_lose()

    def _may_lose(self) -> None:
        for log in self._logs.values():
            if log.durability == "page_cache":
                log.may_lose = True
                log.losses += 1
