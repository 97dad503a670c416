"""Producers and transactions of a partition when it is opened: snapshot, and log behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from logstore.errors import InvalidBatchError
from logstore.fs import FileSystem
from logstore.log.faults import is_no_space
from logstore.log.producer_state import ProducerState
from logstore.log.salvage import HEADERS_WINDOW_BYTES, FileBytes
from logstore.log.segment import Segment, SegmentFiles
from logstore.log.snapshots import OFFSET_MAX, load_snapshot, write_snapshot
from logstore.log.transactions import Transactions
from logstore.record import BatchHeader, Marker, marker_of


class ReplayedProducers(NamedTuple):
    producers: ProducerState
    transactions: Transactions
    snapshot_offset: int  # of the snapshot that it began with; -1 without one


def replay_producers(
    fs: FileSystem, directory: str, segments: Sequence[Segment]
) -> ReplayedProducers:
    """The newest whole snapshot, and the batches behind it. Raises OSError.

    One that ends before the first segment misses batches that were removed since: better to
    forget a producer, which is then taken at any sequence, than to remember it wrongly.
    """
    end = segments[-1].next_offset
    found = load_snapshot(fs, directory, end)
    start, state, transactions = 0, ProducerState(), Transactions(())
    snapshot_offset = -1
    if found is not None and found.offset >= segments[0].base_offset:
        start, state, transactions = found.offset, found.producers, Transactions(found.aborted)
        snapshot_offset = start
    for segment in segments:
        if segment.next_offset <= start or segment.size == 0:
            continue
        files = SegmentFiles(fs, segment.stem)
        try:
            _replay(segment, files, start, state, transactions)
        finally:
            files.close()
    return ReplayedProducers(state, transactions, snapshot_offset)


def keep_producers(fs: FileSystem, directory: str, segments: Sequence[Segment], end: int) -> None:
    """Before `segments` are removed, which are all below `end`: a snapshot of what they tell.

    Retention has one on disk before it removes any. But a log start that was raised within the
    active segment is behind all of it once another was begun. On a full disk they go without, as
    they do in retention. Raises OSError.
    """
    found = load_snapshot(fs, directory, OFFSET_MAX)
    if found is not None and found.offset >= end:
        return
    known = replay_producers(fs, directory, segments)
    content = known.producers.encode(known.transactions.aborted)
    try:
        write_snapshot(fs, directory, end, content, durably=True)
    except OSError as error:
        if not is_no_space(error):
            raise


def _replay(
    segment: Segment,
    files: SegmentFiles,
    start: int,
    state: ProducerState,
    transactions: Transactions,
) -> None:
    source = FileBytes(files.log, segment.size, window_bytes=HEADERS_WINDOW_BYTES)
    position = 0
    found = files.offsets.floor(start - segment.base_offset, count=segment.offset_entries, field=0)
    if found >= 0:
        position = borne_out(source, segment, files.offsets.get(found))
    for at, header in source.headers(position):
        if header.base_offset < start:
            continue
        marker = _marker_at(source, at, header) if header.is_control else None
        ended = state.update(
            header,
            base_offset=header.base_offset,
            timestamp_ms=header.max_timestamp,
            marker=marker,
        )
        if ended is not None:
            transactions.end(ended, state.open_since)


def _marker_at(source: FileBytes, position: int, header: BatchHeader) -> Marker | None:
    try:
        return marker_of(source.at(position, header.size_bytes))
    except InvalidBatchError:
        return None  # damaged: whoever reads it is told


def borne_out(source: FileBytes, segment: Segment, entry: tuple[int, int]) -> int:
    """The position of an offset index entry, 0 if no batch there ends as it says."""
    relative, position = entry
    header = source.header(position)
    is_so = header is not None and header.last_offset == segment.base_offset + relative
    return position if is_so else 0
