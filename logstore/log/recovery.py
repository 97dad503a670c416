"""Opening a partition's files: what is believed, what is checked, what is cut or set aside.

After a clean close everything is believed. Otherwise:
- Below the recorded flushed offset the chain of batch headers is followed: its bytes were synced.
- From there on each batch must hold its CRC; the first that does not ends the log.
- What follows is cut if no valid batch of this partition is in it, and moved to a quarantine file
  if there is one: good data is never deleted.
- Damage below the flushed offset is corruption: the damaged bytes go to quarantine, the sound
  batches behind them stay, in a segment of their own.
- An offset below the flushed one is never given out again, even if its record is gone.
- The accepted tail is written again, then synced with its directory, before any of it can be
  published: after a failed sync the page cache holds bytes that no later sync would write.
- The leader epoch rises durably before the first append.

Indexes are believed after a clean close, and up to the flushed offset as long as the machine has
run on; else they are made anew for the segments that are walked.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from logstore.config import TopicConfig
from logstore.errors import CorruptDataError, InvalidBatchError
from logstore.fs import FileSystem
from logstore.log.checkpoint import LeaderEpochs, check_identity, read_log_start
from logstore.log.format import (
    DELETED_SUFFIX,
    INDEX_SUFFIX,
    LOG_SUFFIX,
    OFFSET_ENTRY,
    QUARANTINE_SUFFIX,
    TEMPORARY_SUFFIX,
    TIME_ENTRY,
    TIME_INDEX_SUFFIX,
    offset_name,
    parse_offset_name,
)
from logstore.log.producer_state import ProducerState
from logstore.log.retention import remove_segment
from logstore.log.segment import Segment, SegmentFiles, create_segment_file
from logstore.log.snapshots import load_snapshot
from logstore.log.state_file import SlotValues, StateSlot
from logstore.record import BatchHeader, check_batch_bytes, parse_header

COPY_BYTES = 1 << 20
ZEROS_KEPT = 64 << 10
NOTHING_RECORDED = SlotValues(0, 0, 0, 0, 0)
_MAGIC_BYTE = re.compile(b"\x02")
_MAGIC_AT = 16


@dataclass(slots=True)
class RecoveryReport:
    """What opening a partition found. `notes`: a sentence for each thing it had to mend."""

    was_unclean: bool = False
    bytes_scanned: int = 0
    notes: list[str] = field(default_factory=list)


class Recovered(NamedTuple):
    """Everything in it is on disk. The last segment takes the appends."""

    segments: tuple[Segment, ...]
    epochs: LeaderEpochs
    producers: ProducerState
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

    def run(self, recorded: SlotValues, *, clean: bool, is_exact: bool) -> Recovered:
        segments = self._find_segments()
        log_start = max(recorded.log_start_offset, self._read_log_start())
        epochs = LeaderEpochs.read(self._fs, self._directory)
        if epochs is None:
            self._report.notes.append("leader-epoch-checkpoint is missing or damaged; made anew")
            clean = False
            epochs = LeaderEpochs(((0, 0),))
        if not (clean and self._open_clean(segments, recorded.flushed_offset)):
            self._report.was_unclean = True
            self._recover(segments, recorded.flushed_offset, is_exact=is_exact)
            epochs = epochs.with_next(segments[-1].next_offset)
            epochs.write(self._fs, self._directory)
        while len(segments) > 1 and segments[1].base_offset <= log_start:
            remove_segment(self._fs, segments.pop(0))  # its removal was cut short
        return Recovered(
            segments=tuple(segments),
            epochs=epochs,
            producers=self._producers(segments),
            end_offset=segments[-1].next_offset,
            log_start_offset=max(log_start, segments[0].base_offset),
            report=self._report,
        )

    def _read_log_start(self) -> int:
        try:
            return read_log_start(self._fs, self._directory)
        except CorruptDataError as error:
            self._report.notes.append(f"{error}; the first record kept counts as the start")
            return 0

    # --- what is there ----------------------------------------------------------------------

    def _find_segments(self) -> list[Segment]:
        bases = []
        for name in self._fs.list_directory(self._directory):
            if name.endswith((DELETED_SUFFIX, TEMPORARY_SUFFIX, ".new")):
                self._fs.unlink(f"{self._directory}/{name}")
            elif (base := parse_offset_name(name, LOG_SUFFIX)) is not None:
                bases.append(base)
        segments = [self._found(base) for base in sorted(bases)]
        for segment, following in pairwise(segments):
            segment.next_offset = following.base_offset
        return segments

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
        active = segments[-1]
        files = SegmentFiles(self._fs, active.stem)
        try:
            next_offset = self._end_of(active, files)
            first = parse_header(files.view(active.size)).max_timestamp if active.size else None
        except InvalidBatchError:
            next_offset, first = -1, None
        finally:
            files.close()
        if next_offset == flushed:
            active.restore(size=active.size, next_offset=next_offset, first_timestamp=first)
            return True
        self._report.notes.append(
            f"{active.log_path} was closed cleanly but does not end at offset {flushed}; checked"
        )
        return False

    @staticmethod
    def _end_of(segment: Segment, files: SegmentFiles) -> int:
        """The offset behind its last batch; -1 if its bytes do not end with one."""
        position, next_offset = 0, segment.base_offset
        if segment.offset_entries:
            relative, position = files.offsets.get(segment.offset_entries - 1)
            next_offset = segment.base_offset + relative + 1
        view = files.view(segment.size) if segment.size else memoryview(b"")
        while position < segment.size:
            header = parse_header(view, position)
            position += header.size_bytes
            next_offset = header.last_offset + 1
        return next_offset if position == segment.size else -1

    # --- after anything else ----------------------------------------------------------------

    def _recover(self, segments: list[Segment], flushed: int, *, is_exact: bool) -> None:
        first = 0  # the first that may not be sealed: flushed beyond its end means that it is
        while first + 1 < len(segments) and segments[first + 1].base_offset < flushed:
            first += 1
        changed: list[Segment] = []
        index = first
        while index < len(segments):
            segment = segments[index]
            trust = is_exact and index == first
            damage = self._walk(segment, flushed, trust_index=trust)
            if damage is not None:
                self._mend(segments, index, damage, flushed)
            self._check_successor(segments, index, flushed)
            changed.append(segment)
            index += 1
        if not segments or segments[-1].next_offset < flushed:
            changed.append(self._begin_at(segments, flushed))
        for segment in changed:
            self._settle(segment, flushed, is_active=segment is segments[-1])
        self._fs.sync_directory(self._directory)

    def _begin_at(self, segments: list[Segment], flushed: int) -> Segment:
        """What was flushed is gone: go on behind it, so that no offset is used twice."""
        if segments or flushed:
            start = segments[-1].next_offset if segments else 0
            self._report.notes.append(
                f"records from offset {start} to {flushed - 1} were on disk and are missing"
            )
        create_segment_file(self._fs, self._directory, flushed)
        segments.append(self._found(flushed))
        return segments[-1]

    def _walk(self, segment: Segment, flushed: int, *, trust_index: bool) -> int | None:
        """Follow its batches, make its indexes; the position where they stop being sound, None if
        they are to the end. Afterwards the segment's numbers describe the sound part."""
        file_bytes = segment.size
        files = SegmentFiles(self._fs, segment.stem)
        try:
            position, next_offset = self._start(segment, files, flushed, trust_index=trust_index)
            view = files.view(file_bytes) if file_bytes else memoryview(b"")
            first = None
            if position and file_bytes:
                first = parse_header(view).max_timestamp
            segment.restore(size=position, next_offset=next_offset, first_timestamp=first)
            if position == 0:
                segment.forget_timestamps()
            while position < file_bytes:
                header = sound_batch(view, position, segment.next_offset, check_from=flushed)
                if header is None:
                    return position
                segment.note_append(
                    files, header, base_offset=header.base_offset, config=self._config
                )
                position += header.size_bytes
            self._report.bytes_scanned += position
            return None
        finally:
            files.close()

    def _start(
        self, segment: Segment, files: SegmentFiles, flushed: int, *, trust_index: bool
    ) -> tuple[int, int]:
        """(position, offset) to walk from. Index entries that are not believed are dropped: those
        beyond the flushed offset, all of a machine that was restarted."""
        entries = files.offsets.entries(segment.offset_entries) if trust_index else []
        times = files.times.entries(segment.time_entries) if trust_index else []
        kept = 0
        before = (-1, -1)
        for relative, position in entries:
            is_sound = relative > before[0] and before[1] < position < segment.size
            if not is_sound or segment.base_offset + relative >= flushed:
                break
            before = relative, position
            kept += 1
        kept_times = 0
        latest = (-1, -1)
        for timestamp, relative in times:
            if timestamp <= latest[0] or relative < latest[1] or relative > before[0]:
                break
            latest = timestamp, relative
            kept_times += 1
        segment.offset_entries, segment.time_entries = kept, kept_times
        if not kept:
            segment.time_entries = 0
            return 0, segment.base_offset
        # Walk from the last entry's batch: its own timestamp may be in no index yet.
        segment.offset_entries = kept - 1
        view = files.view(segment.size)
        try:
            return before[1], parse_header(view, before[1]).base_offset
        except InvalidBatchError:
            segment.offset_entries = segment.time_entries = 0
            return 0, segment.base_offset

    def _mend(self, segments: list[Segment], index: int, damage: int, flushed: int) -> None:
        """Cut the segment at `damage`; what lies behind is dropped, quarantined or split off."""
        segment = segments[index]
        file = self._fs.open(segment.log_path)
        try:
            rest = file.read(file.size() - damage, damage)
            used = len(rest.rstrip(b"\0"))
            sound = find_sound_batch(memoryview(rest), segment.next_offset) if used else None
            is_flushed = segment.next_offset < flushed
            if is_flushed and sound is not None:
                self._quarantine(segment, rest[: sound.position], damage)
                segments.insert(index + 1, self._split_off(rest[sound.position :], sound.offset))
            elif sound is not None or (is_flushed and used):
                # a batch may end in zeros of its own: keep some more than what was written
                self._quarantine(segment, rest[: used + ZEROS_KEPT], damage)
            elif used:
                self._report.notes.append(
                    f"{used} bytes of an unfinished write at {damage} in {segment.log_path} cut"
                )
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

    def _quarantine(self, segment: Segment, damaged: bytes, position: int) -> None:
        name = f"{offset_name(segment.next_offset)}{QUARANTINE_SUFFIX}"
        self._write_whole(name, damaged)
        self._report.notes.append(
            f"{len(damaged)} bytes at {position} in {segment.log_path}, from offset "
            f"{segment.next_offset} on, are damaged; they were moved to {name}"
        )

    def _split_off(self, content: bytes, base_offset: int) -> Segment:
        self._write_whole(offset_name(base_offset) + LOG_SUFFIX, content)
        segment = self._found(base_offset)
        self._report.notes.append(
            f"the batches from offset {base_offset} on are sound and were moved to "
            f"{segment.log_path}"
        )
        return segment

    def _write_whole(self, name: str, content: bytes) -> None:
        file = self._fs.open(f"{self._directory}/{name}", create=True)
        try:
            file.truncate(0)
            file.write([content], 0)
            file.sync()
        finally:
            file.close()

    def _set_aside(self, segment: Segment) -> None:
        """A later segment, behind a hole that nobody was told of."""
        if segment.size:
            self._report.notes.append(f"{segment.log_path} follows damaged bytes and was set aside")
            self._fs.rename(segment.log_path, segment.log_path + QUARANTINE_SUFFIX)
        else:
            self._fs.unlink(segment.log_path)
        for suffix in (INDEX_SUFFIX, TIME_INDEX_SUFFIX):
            if self._fs.exists(segment.stem + suffix):
                self._fs.unlink(segment.stem + suffix)

    def _settle(self, segment: Segment, flushed: int, *, is_active: bool) -> None:
        """Put the accepted bytes on disk: written again from the flushed offset on, and synced."""
        files = SegmentFiles(self._fs, segment.stem)
        try:
            if segment.next_offset > flushed:
                self._write_again(segment, files, flushed)
            if not is_active:
                segment.trim(files)
                files.offsets.sync()
                files.times.sync()
            files.log.sync()
        finally:
            files.close()

    @staticmethod
    def _write_again(segment: Segment, files: SegmentFiles, flushed: int) -> None:
        position = 0
        view = files.view(segment.size)
        while position < segment.size:
            header = parse_header(view, position)
            if header.last_offset >= flushed:
                break
            position += header.size_bytes
        for start in range(position, segment.size, COPY_BYTES):
            count = min(COPY_BYTES, segment.size - start)
            files.log.write([files.log.read(count, start)], start)

    # --- producers --------------------------------------------------------------------------

    def _producers(self, segments: Sequence[Segment]) -> ProducerState:
        """The newest whole snapshot, and the batches behind it."""
        end = segments[-1].next_offset
        start, state = load_snapshot(self._fs, self._directory, end) or (0, ProducerState())
        for segment in segments:
            if segment.next_offset <= start or segment.size == 0:
                continue
            files = SegmentFiles(self._fs, segment.stem)
            try:
                self._replay_producers(segment, files, start, state)
            finally:
                files.close()
        return state

    @staticmethod
    def _replay_producers(
        segment: Segment, files: SegmentFiles, start: int, state: ProducerState
    ) -> None:
        position = 0
        found = files.offsets.floor(
            start - segment.base_offset, count=segment.offset_entries, field=0
        )
        if found >= 0:
            position = files.offsets.get(found)[1]
        view = files.view(segment.size)
        try:
            while position < segment.size:
                header = parse_header(view, position)
                if header.base_offset >= start:
                    state.update(
                        header,
                        base_offset=header.base_offset,
                        timestamp_ms=header.max_timestamp,
                    )
                position += header.size_bytes
        except InvalidBatchError:
            return  # damage in a rolled segment: reading it reports it


class Found(NamedTuple):
    position: int
    offset: int


def sound_batch(
    view: memoryview, position: int, offset_min: int, *, check_from: int
) -> BatchHeader | None:
    """The header of the batch there, if it can be this log's next one. Its CRC is checked when it
    reaches to offset `check_from` or beyond."""
    try:
        header = parse_header(view, position)
    except InvalidBatchError:
        return None
    if header.base_offset < offset_min or header.last_offset_delta < 0:
        return None
    if position + header.size_bytes > view.nbytes:
        return None
    if header.last_offset >= check_from and not check_batch_bytes(view, position, header):
        return None
    return header


def find_sound_batch(rest: memoryview, offset_min: int) -> Found | None:
    """The first valid batch behind the bad one that `rest` begins with."""
    for match in _MAGIC_BYTE.finditer(rest, _MAGIC_AT + 1):
        position = match.start() - _MAGIC_AT
        header = sound_batch(rest, position, offset_min, check_from=offset_min)
        if header is not None:
            return Found(position, header.base_offset)
    return None
