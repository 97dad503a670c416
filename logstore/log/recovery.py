"""Opening a partition's files: what is believed, what is checked, what is cut or set aside.

After a clean close everything is believed. Otherwise:
- What lies below the flushed offset was synced: segments that end there are taken as they are, of
  the one that holds it what has block checksums. The flushed offset is the slot's, or that of a
  producer snapshot, which is written after the sync too.
- Of all the rest each batch must hold its CRC and begin where the one before ends; the first that
  does not ends the log. So must those of a segment whose checksums are missing or damaged.
- What follows is cut if no valid batch of this partition is in it, and moved to a quarantine file
  if there is one: good data is never deleted.
- Damage below the flushed offset is corruption: the damaged bytes go to quarantine, the sound
  batches behind them stay, in a segment of their own. What is moved is durable in its new place
  before it leaves the old one.
- An offset below the flushed one is never given out again, even if its record is gone.
- The accepted tail is written again (the very bytes that were checked), then synced with its
  directory, before any of it can be published: after a failed sync the page cache holds bytes that
  no later sync would write.
- The leader epoch rises durably before the first append.

Indexes are believed after a clean close, and up to the flushed offset as long as the machine has
run on; else they are made anew for the segments that are walked.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from logstore.config import TopicConfig
from logstore.errors import CorruptDataError
from logstore.fs import FileSystem
from logstore.log.checkpoint import LeaderEpochs, check_identity, read_log_start
from logstore.log.checksums import SumsWriter, covers
from logstore.log.format import (
    CHECKSUMS_SUFFIX,
    DELETED_SUFFIX,
    INDEX_SUFFIX,
    LOG_SUFFIX,
    OFFSET_ENTRY,
    QUARANTINE_SUFFIX,
    RELATIVE_OFFSET_MAX,
    TEMPORARY_SUFFIX,
    TIME_ENTRY,
    TIME_INDEX_SUFFIX,
    offset_name,
    parse_offset_name,
)
from logstore.log.producer_replay import borne_out, keep_producers, replay_producers
from logstore.log.producer_state import ProducerState
from logstore.log.retention import remove_segment
from logstore.log.salvage import (
    COPY_BYTES,
    HEADERS_WINDOW_BYTES,
    FileBytes,
    Rewrite,
    find_sound_batch,
    quarantine_name,
    sound_batch,
    used_end,
)
from logstore.log.segment import Segment, SegmentFiles, create_segment_file
from logstore.log.snapshots import OFFSET_MAX, load_snapshot
from logstore.log.state_file import SlotValues, StateSlot
from logstore.log.swap import settle_swaps
from logstore.log.transactions import Transactions
from logstore.record import BatchHeader, header_prefix

ZEROS_KEPT = 64 << 10  # behind quarantined bytes: a batch may end in zeros of its own
NO_EPOCHS = LeaderEpochs(())
NO_TIME = (0, 0)  # of the space that a time index has allocated ahead
NOTHING_RECORDED = SlotValues(0, 0, 0, 0, 0)


@dataclass(slots=True)
class RecoveryReport:
    """What opening a partition found. `notes`: a sentence for each thing it had to mend."""

    was_unclean: bool = False
    bytes_scanned: int = 0
    has_lost: bool = False  # what a page-cache topic published before a sync failed
    notes: list[str] = field(default_factory=list)


class Recovered(NamedTuple):
    """Everything in it is on disk. The last segment takes the appends."""

    segments: tuple[Segment, ...]
    epochs: LeaderEpochs
    producers: ProducerState
    transactions: Transactions
    snapshot_offset: int  # of the producers' snapshot on disk; -1 if there is none
    end_offset: int
    log_start_offset: int
    report: RecoveryReport


def recover(
    fs: FileSystem,
    directory: str,
    *,
    topic_id: uuid.UUID,
    slot: StateSlot,
    clean: bool,
    now_ms: int,
    config: TopicConfig,
) -> Recovered:
    """Raises CorruptDataError if the directory is another topic's, OSError if it cannot be read or
    what was accepted cannot be synced."""
    check_identity(fs, directory, topic_id)
    return _Recovery(fs, directory, now_ms, config).run(
        slot.recorded or NOTHING_RECORDED, clean=clean, is_exact=slot.is_exact
    )


class _Recovery:
    def __init__(self, fs: FileSystem, directory: str, now_ms: int, config: TopicConfig) -> None:
        self._fs = fs
        self._directory = directory
        self._now_ms = now_ms
        self._config = config
        self._report = RecoveryReport()
        self._epochs = NO_EPOCHS  # as the checkpoint has them
        self._epoch_was_seen = False  # a batch agrees with them
        self._checked_before: dict[Segment, int] = {}  # where the walk over a segment began

    def run(self, recorded: SlotValues, *, clean: bool, is_exact: bool) -> Recovered:
        log_start = self._read_log_start(recorded, clean=clean, is_exact=is_exact)
        segments = self._find_segments(log_start)
        epochs = LeaderEpochs.read(self._fs, self._directory)
        if epochs is None:
            self._report.notes.append("leader-epoch-checkpoint is missing or damaged; made anew")
            clean = False
            epochs = NO_EPOCHS
        self._epochs = epochs
        if not (clean and self._open_clean(segments, recorded.flushed_offset)):
            self._report.was_unclean = True
            snapshot = load_snapshot(self._fs, self._directory, OFFSET_MAX)
            flushed = max(recorded.flushed_offset, snapshot.offset if snapshot else 0, log_start)
            self._recover(segments, flushed, is_exact=is_exact)
            if epochs is NO_EPOCHS:
                epochs = self._epochs_of(segments)
            epochs = epochs.with_next(segments[-1].next_offset)
            epochs.write(self._fs, self._directory)
        producers, transactions, snapshot_offset = replay_producers(
            self._fs, self._directory, segments
        )
        log_start = max(log_start, segments[0].base_offset)
        transactions.drop_below(log_start)
        self._report.has_lost = segments[-1].next_offset < recorded.high_watermark
        return Recovered(
            segments=tuple(segments),
            epochs=epochs,
            producers=producers,
            transactions=transactions,
            snapshot_offset=snapshot_offset,
            end_offset=segments[-1].next_offset,
            log_start_offset=log_start,
            report=self._report,
        )

    def _epochs_of(self, segments: Sequence[Segment]) -> LeaderEpochs:
        """As the batches have them: the next one must be above all of them."""
        entries = [(0, 0)]
        for segment in segments:
            file = self._fs.open(segment.log_path, write=False)
            try:
                source = FileBytes(file, segment.size, window_bytes=HEADERS_WINDOW_BYTES)
                for _, header in source.headers(0):
                    if header.partition_leader_epoch > entries[-1][0]:
                        entries.append((header.partition_leader_epoch, header.base_offset))
            finally:
                file.close()
        return LeaderEpochs(tuple(entries))

    def _read_log_start(self, slot: SlotValues, *, clean: bool, is_exact: bool) -> int:
        """The checkpoint's, or the state file's if that is higher; it is written later. After a
        clean close they agree, so that a checkpoint which is ahead, and has no CRC, is wrong."""
        recorded = slot.log_start_offset
        try:
            found = read_log_start(self._fs, self._directory)
        except CorruptDataError as error:
            self._report.notes.append(f"{error}; the first record kept counts as the start")
            return recorded
        if found > recorded and slot is not NOTHING_RECORDED and (clean or is_exact):
            used = recorded if clean else found
            self._report.notes.append(
                f"log-start-offset-checkpoint says {found}, the state file {recorded}; the log "
                f"starts at {used}"
            )
            return used
        return max(found, recorded)

    # --- what is there ----------------------------------------------------------------------

    def _find_segments(self, log_start: int) -> list[Segment]:
        """In order, what was left half removed or half replaced put right."""
        settle_swaps(self._fs, self._directory)
        names = self._fs.list_directory(self._directory)
        bases = sorted(
            base for name in names if (base := parse_offset_name(name, LOG_SUFFIX)) is not None
        )
        logs = {offset_name(base) for base in bases}
        for name in names:
            stem, _, suffix = name.partition(".")
            is_index = f".{suffix}" in (INDEX_SUFFIX, TIME_INDEX_SUFFIX, CHECKSUMS_SUFFIX)
            is_leftover = name.endswith((DELETED_SUFFIX, TEMPORARY_SUFFIX, ".new"))
            if is_leftover or (is_index and stem not in logs):
                self._fs.unlink(f"{self._directory}/{name}")
        segments = [self._found(base) for base in bases]
        segments = self._without_failed_rolls(segments)
        below: list[Segment] = []
        while len(segments) > 1 and segments[1].base_offset <= log_start:
            below.append(segments.pop(0))
        if below:
            self._remove(below, segments[0].base_offset)
        for segment, following in pairwise(segments):
            segment.next_offset = following.base_offset
        return segments

    def _remove(self, below: list[Segment], end: int) -> None:
        """Of segments below the log start, which is at `end` or behind it."""
        joined: list[Segment] = []
        for segment in reversed(below):
            size, next_offset = self._end_of(segment)
            if joined and next_offset != joined[0].base_offset:
                break  # a removal was cut short here
            segment.restore(size=size, next_offset=next_offset, first_timestamp=None)
            joined.insert(0, segment)
        keep_producers(self._fs, self._directory, joined, end)
        for segment in below:
            remove_segment(self._fs, segment)

    def _without_failed_rolls(self, segments: list[Segment]) -> list[Segment]:
        """A roll that failed may have left an empty segment, and the one before it has grown since:
        that one ends behind where the empty one begins. An empty one that begins where the one
        before it ends stays: it is what tells that one to be sealed, and maybe compacted."""
        kept: list[Segment] = []
        for segment in segments:
            if not segment.size and kept and self._end_of(kept[-1])[1] > segment.base_offset:
                remove_segment(self._fs, segment)
            else:
                kept.append(segment)
        return kept

    def _found(self, base_offset: int) -> Segment:
        """A segment as its files are; its end offset is not known yet."""
        segment = Segment(self._fs, self._directory, base_offset, created_ms=self._now_ms)
        size = self._size(LOG_SUFFIX, segment) or 0
        segment.restore(size=size, next_offset=base_offset, first_timestamp=None)
        segment.allocated = size
        segment.offset_entries = (self._size(INDEX_SUFFIX, segment) or 0) // OFFSET_ENTRY.size
        segment.time_entries = (self._size(TIME_INDEX_SUFFIX, segment) or 0) // TIME_ENTRY.size
        return segment

    def _size(self, suffix: str, segment: Segment) -> int | None:
        path = segment.stem + suffix
        if not self._fs.exists(path):
            return None
        file = self._fs.open(path, write=False)
        try:
            return file.size()
        finally:
            file.close()

    # --- after a clean close ----------------------------------------------------------------

    def _open_clean(self, segments: Sequence[Segment], flushed: int) -> bool:
        """Take the segments as they are; False if the last does not end where it should."""
        if not segments:
            return False
        if not all(self._has_checksums(segment) for segment in segments):
            return False
        active = segments[-1]
        if self._end_of(active) == (active.size, flushed):
            active.restore(
                size=active.size, next_offset=flushed, first_timestamp=self._first_of(active)
            )
            return True
        self._report.notes.append(
            f"{active.log_path} was closed cleanly but does not end at offset {flushed}; checked"
        )
        return False

    def _has_checksums(self, segment: Segment) -> bool:
        if covers(self._fs, segment.stem, segment.size):
            return True
        note = (
            f"{segment.stem}{CHECKSUMS_SUFFIX} is missing, damaged or of another log file; the "
            "segment is checked batch by batch, and it is made anew"
        )
        if note not in self._report.notes:
            self._report.notes.append(note)
        return False

    def _first_of(self, segment: Segment) -> int | None:
        """The timestamp of its first batch."""
        file = self._fs.open(segment.log_path, write=False)
        try:
            header = FileBytes(file, segment.size, window_bytes=1).header(0)
        finally:
            file.close()
        return header.max_timestamp if header else None

    def _end_of(self, segment: Segment) -> tuple[int, int]:
        """(position, offset) behind its last batch, from the last index entry on."""
        files = SegmentFiles(self._fs, segment.stem)
        try:
            source = FileBytes(files.log, segment.size, window_bytes=HEADERS_WINDOW_BYTES)
            position, next_offset = 0, segment.base_offset
            last = (
                files.offsets.read(segment.offset_entries - 1) if segment.offset_entries else None
            )
            if last is not None:
                position = borne_out(source, segment, last)
            for at, header in source.headers(position):
                position, next_offset = at + header.size_bytes, header.last_offset + 1
            return position, next_offset
        finally:
            files.close()

    # --- after anything else ----------------------------------------------------------------

    def _recover(self, segments: list[Segment], flushed: int, *, is_exact: bool) -> None:
        changed: list[Segment] = []
        index = 0
        while index < len(segments):
            segment = segments[index]
            if not self._is_sealed(segments, index, flushed):
                following = segments[index + 1].base_offset if index + 1 < len(segments) else None
                damage = self._walk(segment, flushed, following, trust_index=is_exact)
                if damage is not None:
                    self._mend(segments, index, damage, flushed)
                self._check_successor(segments, index, flushed)
                changed.append(segment)
            index += 1
        if not segments or segments[-1].next_offset < flushed:
            changed.append(self._begin_at(segments, flushed))
        for segment in changed:
            self._settle(segment, is_active=segment is segments[-1])
        self._fs.sync_directory(self._directory)

    def _is_sealed(self, segments: Sequence[Segment], index: int, flushed: int) -> bool:
        """Flushed beyond its end means that it was; unless a mending was cut short, or more."""
        if index + 1 == len(segments) or segments[index + 1].base_offset >= flushed:
            return False
        segment = segments[index]
        is_sealed = self._end_of(segment) == (segment.size, segments[index + 1].base_offset)
        return is_sealed and self._has_checksums(segment)

    def _begin_at(self, segments: list[Segment], flushed: int) -> Segment:
        """What was flushed is gone: go on behind it, so that no offset is used twice."""
        start = segments[-1].next_offset if segments else 0
        self._report.notes.append(
            f"records from offset {start} to {flushed - 1} were on disk and are missing"
            if start < flushed
            else "no segment is there; a new one was begun"
        )
        create_segment_file(self._fs, self._directory, flushed)
        segments.append(self._found(flushed))
        return segments[-1]

    def _walk(
        self, segment: Segment, flushed: int, following: int | None, *, trust_index: bool
    ) -> int | None:
        """Follow its batches, make its indexes, write again what was not flushed; the position
        where they stop being sound, None if they are to the end. Afterwards the segment's numbers
        describe the sound part."""
        files = SegmentFiles(self._fs, segment.stem)
        try:
            files.drain_failures()  # nothing unsynced is trusted: it is written again below
            source = FileBytes(files.log, segment.size)
            position, next_offset = self._start(segment, files, flushed, trust_index=trust_index)
            # What lies behind the kept entries may be of batches that a crash took.
            files.offsets.keep(segment.offset_entries)
            files.times.keep(segment.time_entries)
            first = source.header(0) if position else None
            segment.restore(
                size=position,
                next_offset=next_offset,
                first_timestamp=first.max_timestamp if first else None,
            )
            if position == 0:
                segment.forget_timestamps()
            self._checked_before[segment] = position
            self._report.bytes_scanned -= position
            accepted = Rewrite(files.log)
            while position < source.end:
                header = sound_batch(source, position, segment.next_offset, following)
                if header is None:
                    break
                batch = source.at(position, header.size_bytes)
                is_mended = self._is_epoch_wrong(segment, source, position, header)
                if is_mended:
                    accepted.write()
                    epoch = self._epochs.epoch_at(header.base_offset)
                    prefix = header_prefix(
                        header, base_offset=header.base_offset, leader_epoch=epoch
                    )
                    batch = memoryview(prefix + bytes(batch[len(prefix) :]))
                if header.last_offset >= flushed or is_mended:
                    accepted.add(batch, position)
                segment.note_append(
                    files, header, base_offset=header.base_offset, config=self._config
                )
                position += header.size_bytes
            accepted.write()
            self._report.bytes_scanned += position
            return position if position < source.end else None
        finally:
            files.close()

    def _is_epoch_wrong(
        self, segment: Segment, source: FileBytes, position: int, header: BatchHeader
    ) -> bool:
        """The leader epoch is in no CRC; the checkpoint tells which one it was, unless no batch
        agrees with it: then the checkpoint is the wrong one."""
        if not self._epochs.entries or self._has_its_epoch(header):
            return False
        following = source.header(position + header.size_bytes)
        is_known = self._epoch_was_seen or (
            following is not None and self._has_its_epoch(following)
        )
        expected = self._epochs.epoch_at(header.base_offset)
        self._report.notes.append(
            f"the batch at {position} in {segment.log_path}, offset {header.base_offset}, has "
            f"leader epoch {header.partition_leader_epoch}, leader-epoch-checkpoint says {expected}"
            + ("; it was put right" if is_known else "")
        )
        return is_known

    def _has_its_epoch(self, header: BatchHeader) -> bool:
        is_right = header.partition_leader_epoch == self._epochs.epoch_at(header.base_offset)
        self._epoch_was_seen |= is_right
        return is_right

    def _start(
        self, segment: Segment, files: SegmentFiles, flushed: int, *, trust_index: bool
    ) -> tuple[int, int]:
        """(position, offset) to walk from: what lies before has checksums. Index entries that are
        not believed are dropped: those beyond the flushed offset, all of a machine that was
        restarted."""
        covered = SumsWriter(self._fs, segment.stem).covered if trust_index else 0
        entries = files.offsets.entries(segment.offset_entries) if trust_index else []
        times = files.times.entries(segment.time_entries) if trust_index else []
        segment.offset_entries = segment.time_entries = kept = 0
        last = (-1, -1)
        for relative, position in entries:
            is_sound = relative > last[0] and last[1] < position < segment.size
            if not is_sound or segment.base_offset + relative >= flushed or position > covered:
                break
            last = relative, position
            kept += 1
        if not kept:
            return 0, segment.base_offset
        header = FileBytes(files.log, segment.size).header(last[1])
        if header is None or header.last_offset != segment.base_offset + last[0]:
            return 0, segment.base_offset
        kept_times = 0
        latest = (-1, -1)
        for timestamp, relative in times:
            if timestamp <= latest[0] or relative < latest[1] or relative > last[0]:
                break
            latest = timestamp, relative
            kept_times += 1
        # The last that is kept, and the first that is not: else one is damaged, and the largest
        # timestamp is unknown. Without any entry the batches are looked at.
        following = times[kept_times] if kept_times < len(times) else NO_TIME
        for entry in (latest if kept_times else NO_TIME, following):
            if entry != NO_TIME and not segment.bears_out(files, *entry):
                kept_times = 0
        # Walk from the last entry's batch: its own timestamp may be in no index yet.
        segment.offset_entries, segment.time_entries = kept - 1, kept_times
        return last[1], header.base_offset

    def _mend(self, segments: list[Segment], index: int, damage: int, flushed: int) -> None:
        """Cut the segment at `damage`; what lies behind is dropped, quarantined or split off."""
        segment = segments[index]
        following = segments[index + 1] if index + 1 < len(segments) else None
        offset_max = following.base_offset if following else segment.next_offset
        file = self._fs.open(segment.log_path)
        try:
            source = FileBytes(file, file.size())
            used = used_end(source, damage)
            sound = whole = None
            if used > damage:
                sound = find_sound_batch(
                    source,
                    damage,
                    offset_min=segment.next_offset,
                    offset_max=offset_max + (0 if following else RELATIVE_OFFSET_MAX),
                )
                # At whatever offset: it is in no CRC. What a failed append leaves is not whole.
                whole = find_sound_batch(source, damage - 1, offset_min=0, offset_max=OFFSET_MAX)
            is_flushed = segment.next_offset < flushed
            if is_flushed and sound is not None and sound.offset > segment.base_offset:
                self._quarantine(segment, source, damage, sound.position)
                part = self._split_off(source, sound.position, used, sound.offset)
                if following is not None and following.base_offset == sound.offset:
                    segments[index + 1] = part  # it was split off before, then the power failed
                else:
                    segments.insert(index + 1, part)
            elif whole is not None or (is_flushed and used > damage):
                self._quarantine(segment, source, damage, min(used + ZEROS_KEPT, source.end))
            elif used > damage:
                self._report.notes.append(
                    f"{used - damage} bytes of an unfinished write at {damage} in "
                    f"{segment.log_path} cut"
                )
            self._fs.sync_directory(self._directory)
            file.truncate(damage)
            segment.allocated = damage
        finally:
            file.close()

    def _check_successor(self, segments: list[Segment], index: int, flushed: int) -> None:
        """The next segment begins where this one ends. If not, records between them are lost: above
        the flushed offset nobody was told of them, and the log ends here; below it they are missed
        and what follows is served."""
        segment, following = segments[index], segments[index + 1 :]
        if not following or following[0].base_offset == segment.next_offset:
            return
        if segment.next_offset < flushed:
            self._report.notes.append(
                f"records from offset {segment.next_offset} to {following[0].base_offset - 1} "
                "were on disk and are missing"
            )
            return
        for stranger in following:
            self._set_aside(stranger)
        del segments[index + 1 :]

    def _quarantine(self, segment: Segment, source: FileBytes, start: int, stop: int) -> None:
        temporary = f"{offset_name(segment.next_offset)}{QUARANTINE_SUFFIX}{TEMPORARY_SUFFIX}"
        self._copy(source, start, stop, temporary)
        name = quarantine_name(
            self._fs, self._directory, temporary, offset_name(segment.next_offset)
        )
        self._fs.rename(f"{self._directory}/{temporary}", f"{self._directory}/{name}")
        self._report.notes.append(
            f"{stop - start} bytes at {start} in {segment.log_path}, from offset "
            f"{segment.next_offset} on, are damaged; they were moved to {name}"
        )

    def _split_off(self, source: FileBytes, start: int, used: int, base_offset: int) -> Segment:
        stop = min(used + ZEROS_KEPT, source.end)
        self._copy(source, start, stop, offset_name(base_offset) + LOG_SUFFIX)
        segment = self._found(base_offset)
        self._report.notes.append(
            f"the batches from offset {base_offset} on are sound and were moved to "
            f"{segment.log_path}"
        )
        return segment

    def _copy(self, source: FileBytes, start: int, stop: int, name: str) -> None:
        """Into a file of its own, on disk when it returns."""
        file = self._fs.open(f"{self._directory}/{name}", create=True)
        try:
            file.truncate(0)
            for position in range(start, stop, COPY_BYTES):
                chunk = source.at(position, min(COPY_BYTES, stop - position))
                file.write([chunk], position - start)
            file.sync()
        finally:
            file.close()

    def _set_aside(self, segment: Segment) -> None:
        """A later segment, behind a hole that nobody was told of."""
        if segment.size:
            self._report.notes.append(f"{segment.log_path} follows damaged bytes and was set aside")
            log_name = offset_name(segment.base_offset) + LOG_SUFFIX
            name = quarantine_name(self._fs, self._directory, log_name, log_name)
            self._fs.rename(segment.log_path, f"{self._directory}/{name}")
        else:
            self._fs.unlink(segment.log_path)
        for suffix in (INDEX_SUFFIX, TIME_INDEX_SUFFIX, CHECKSUMS_SUFFIX):
            if self._fs.exists(segment.stem + suffix):
                self._fs.unlink(segment.stem + suffix)

    def _settle(self, segment: Segment, *, is_active: bool) -> None:
        """Put what was accepted, and written again, on disk."""
        files = SegmentFiles(self._fs, segment.stem)
        try:
            sums = SumsWriter(
                self._fs, segment.stem, keep_bytes=self._checked_before.get(segment, 0)
            )
            if is_active:
                sums.extend(files.log, segment.size)
            else:
                segment.trim(files)
                files.offsets.sync()
                files.times.sync()
                if segment.size:
                    segment.write_sums(files, sums).sync()
            files.log.sync()
        finally:
            files.close()
