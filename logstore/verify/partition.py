"""One partition directory: every file in it, and what they say of each other."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from logstore.errors import CorruptDataError
from logstore.log.checkpoint import LeaderEpochs, check_identity, read_log_start
from logstore.log.format import (
    CHECKSUMS_SUFFIX,
    CLEANED_FILE,
    CLEANED_SUFFIX,
    DELETED_SUFFIX,
    IDENTITY_FILE,
    INDEX_SUFFIX,
    LEADER_EPOCH_FILE,
    LOG_START_FILE,
    LOG_SUFFIX,
    QUARANTINE_SUFFIX,
    SNAPSHOT_SUFFIX,
    SWAP_SUFFIX,
    TEMPORARY_SUFFIX,
    TIME_INDEX_SUFFIX,
    offset_name,
    parse_offset_name,
)
from logstore.log.producer_state import ProducerEntry, ProducerState
from logstore.log.state_file import SlotValues
from logstore.verify.findings import Scan, Severity
from logstore.verify.internal import ReadRecord
from logstore.verify.segment import LogWalk, verify_segment

LEFTOVER_SUFFIXES = (DELETED_SUFFIX, TEMPORARY_SUFFIX, CLEANED_SUFFIX, SWAP_SUFFIX, ".new")
SIDECARS = (INDEX_SUFFIX, TIME_INDEX_SUFFIX, CHECKSUMS_SUFFIX)
OFFSET_SUFFIXES = (LOG_SUFFIX, *SIDECARS, SNAPSHOT_SUFFIX, QUARANTINE_SUFFIX)
TEXT_FILES = (IDENTITY_FILE, LEADER_EPOCH_FILE, LOG_START_FILE, CLEANED_FILE)
NOTHING_RECORDED = SlotValues(0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the rest of the store says of a partition."""

    directory: str
    topic_id: uuid.UUID
    slot: SlotValues | None
    is_closed: bool
    may_have_gaps: bool
    decompressed_bytes_max: int
    read_record: ReadRecord | None = None  # of a topic of logstore's own


def verify_partition(scan: Scan, expected: Expected) -> None:
    scan.report.partitions += 1
    directory = expected.directory
    if not scan.fs.is_directory(directory):
        scan.add(directory, "the partition's directory is missing: all of its records are")
        return
    try:
        check_identity(scan.fs, directory, expected.topic_id)
    except CorruptDataError as error:
        scan.add(f"{directory}/{IDENTITY_FILE}", _without_path(error, directory))
    names = scan.fs.list_directory(directory)
    slot = expected.slot or NOTHING_RECORDED
    checkpointed = _log_start(scan, directory)
    log_start = max(slot.log_start_offset, checkpointed)
    if expected.slot is not None and checkpointed > slot.log_start_offset:
        scan.add(
            f"{directory}/{LOG_START_FILE}",
            f"says that the log starts at {checkpointed}; the state file says "
            f"{slot.log_start_offset}",
            severity=Severity.DAMAGE if expected.is_closed else Severity.REMARK,
            offsets=(slot.log_start_offset, checkpointed - 1),
            readable="everything",
        )
    bases = sorted(
        base for name in names if (base := parse_offset_name(name, LOG_SUFFIX)) is not None
    )
    snapshots = sorted(
        at for name in names if (at := parse_offset_name(name, SNAPSHOT_SUFFIX)) is not None
    )
    _note_other_files(scan, directory, names, bases)
    walk = LogWalk(
        directory=directory,
        next_offset=min(log_start, bases[0]) if bases else log_start,
        flushed=slot.flushed_offset,
        is_closed=expected.is_closed,
        may_have_gaps=expected.may_have_gaps or CLEANED_FILE in names,
        epochs=_leader_epochs(scan, directory),
        decompressed_bytes_max=expected.decompressed_bytes_max,
        producers=ProducerState(),
        producer_ids=set(),
        snapshot_offsets=list(snapshots),
        on_snapshot={},
        read_record=expected.read_record,
    )
    if bases and bases[0] > log_start:
        walk.next_offset = log_start  # so that the gap in front is told
    while len(bases) > 1 and bases[1] <= log_start:
        scan.add(
            f"{directory}/{offset_name(bases.pop(0))}{LOG_SUFFIX}",
            f"the segment lies below the log start {log_start}; the next opening removes it",
            severity=Severity.REMARK,
        )
        walk.next_offset = bases[0]
    for base, following in zip(bases, [*bases[1:], None], strict=False):
        verify_segment(scan, walk, base, following)
    _check_end(scan, walk, bases)
    walk.take_snapshots(walk.next_offset)
    for at in snapshots:
        _verify_snapshot(scan, walk, at)


def _check_end(scan: Scan, walk: LogWalk, bases: list[int]) -> None:
    path = walk.directory
    if not bases:
        scan.add(path, "no segment is there", offsets=(walk.next_offset, walk.flushed - 1))
        return
    path = f"{path}/{offset_name(bases[-1])}{LOG_SUFFIX}"
    if walk.next_offset < walk.flushed:
        scan.add(
            path,
            f"the log ends at offset {walk.next_offset}; the state file says that it was on disk "
            f"up to {walk.flushed}",
            offsets=(walk.next_offset, walk.flushed - 1),
            readable=f"offsets below {walk.next_offset}",
        )
    elif walk.is_closed and walk.next_offset > walk.flushed:
        scan.add(
            path,
            f"the log ends at offset {walk.next_offset}; the state file says that it was closed "
            f"at {walk.flushed}",
            readable="everything, once the store was opened",
        )


def _log_start(scan: Scan, directory: str) -> int:
    path = f"{directory}/{LOG_START_FILE}"
    with scan.reading(path):
        try:
            return read_log_start(scan.fs, directory)
        except CorruptDataError as error:
            scan.add(path, _without_path(error, directory), readable="everything")
    return 0


def _leader_epochs(scan: Scan, directory: str) -> LeaderEpochs | None:
    path = f"{directory}/{LEADER_EPOCH_FILE}"
    epochs = None
    with scan.reading(path):
        epochs = LeaderEpochs.read(scan.fs, directory)
        if epochs is None:
            scan.add(path, "is missing or damaged; the next opening makes it anew",
                     readable="everything")  # fmt: skip
    return epochs


def _note_other_files(scan: Scan, directory: str, names: list[str], bases: list[int]) -> None:
    """Files that belong to no segment, and files that nobody knows."""
    for name in names:
        path = f"{directory}/{name}"
        offsets = (parse_offset_name(name, suffix) for suffix in OFFSET_SUFFIXES)
        offset = next((found for found in offsets if found is not None), None)
        if name.endswith(LEFTOVER_SUFFIXES):
            problem = "left over from something that was cut short, unless it is under way"
        elif name.endswith(QUARANTINE_SUFFIX):
            problem = "holds bytes that recovery took out of the log; delete it when it is settled"
        elif offset is None and name not in TEXT_FILES:
            problem = "is no file of a partition"
        elif name.endswith(SIDECARS) and offset not in bases:
            problem = "its segment is gone; the next opening removes it"
        else:
            continue
        scan.add(path, problem, severity=Severity.REMARK)


def _verify_snapshot(scan: Scan, walk: LogWalk, offset: int) -> None:
    path = f"{walk.directory}/{offset_name(offset)}{SNAPSHOT_SUFFIX}"
    severity = Severity.DAMAGE if walk.is_closed else Severity.REMARK
    with scan.reading(path):
        file = scan.fs.open(path, write=False)
        try:
            data = file.read(file.size(), 0)
        finally:
            file.close()
        scan.advance(path, len(data))
        try:
            state, aborted = ProducerState.decode(data)
        except ValueError as error:
            scan.add(path, f"{error}; the log is read instead", severity=severity,
                     readable="everything")  # fmt: skip
            return
        said = walk.on_snapshot.get(offset)
        if said is None:
            scan.add(
                path,
                f"the snapshot is of offset {offset}; the log ends at {walk.next_offset}",
                severity=severity,
                offsets=(walk.next_offset, offset - 1),
            )
            return
        # Compaction took batches that the snapshot knows, and the first of transactions.
        is_partial = walk.may_have_gaps
        for producer_id, entry in said.producers.items() if not is_partial else ():
            found = state.get(producer_id)
            if found is not None and entry is not None and not _agree(found, entry):
                scan.add(
                    path,
                    f"producer {producer_id}: the snapshot says {found}, the log {entry}",
                    readable="everything; a repeated batch of this producer may be taken twice",
                )
        known = {(each.producer_id, each.last_offset) for each in aborted}
        for transaction in said.aborted:
            if (transaction.producer_id, transaction.last_offset) in known:
                continue
            scan.add(
                path,
                f"the log says that {transaction} was aborted, the snapshot does not",
                offsets=(transaction.first_offset, transaction.last_offset),
                readable="everything; read_committed may return records of this transaction",
            )


def _agree(found: ProducerEntry, entry: ProducerEntry) -> bool:
    """Either may know fewer batches: a producer was forgotten, or segments were removed."""
    if found.epoch != entry.epoch or (found.open_since < 0) != (entry.open_since < 0):
        return False
    common = min(len(found.batches), len(entry.batches))
    return not common or found.batches[-common:] == entry.batches[-common:]


def _without_path(error: CorruptDataError, directory: str) -> str:
    """The path is the finding's already."""
    return error.message.removeprefix(directory + "/")
