"""What a file of a store says, item by item, for people who want to see it: no judgement.

A path may be a file of a partition, a partition's directory, a store's directory (then everything
in it), or `<store>/<topic>`. Nothing is changed and no lock is taken. Damage does not stop a dump:
it is an item like any other, and the next sound batch is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from logstore.config import StoreConfig
from logstore.errors import InvalidBatchError, LogStoreError
from logstore.fs import FileSystem
from logstore.log.checksums import decode_sums
from logstore.log.format import (
    BLOCK_BYTES,
    CHECKSUMS_SUFFIX,
    INDEX_SUFFIX,
    LOG_SUFFIX,
    OFFSET_ENTRY,
    SNAPSHOT_SUFFIX,
    TIME_ENTRY,
    TIME_INDEX_SUFFIX,
    parse_offset_name,
)
from logstore.log.producer_state import ProducerState
from logstore.log.salvage import FileBytes, find_sound_batch, used_end
from logstore.log.state_file import read_state
from logstore.read_only_fs import ReadOnlyFileSystem
from logstore.record import (
    CODEC_NAMES,
    BatchHeader,
    Marker,
    Record,
    check_batch_bytes,
    decode_records,
    marker_of,
)
from logstore.store_files import META_FILE, STATE_FILE, parse_partition_directory
from logstore.verify.findings import OnProgress, Progress

TEXT_BYTES_MAX = 1 << 20  # of a text file; all that logstore writes are far smaller
OFFSET_ANY = 1 << 62


@dataclass(frozen=True, slots=True)
class Item:
    """`kind`: file, batch, record, damage, entry, producer, aborted, block, slot or line; the
    fields are plain values in the order in which they are to be shown."""

    kind: str
    path: str
    fields: dict[str, object] = field(default_factory=dict)
    record: Record | None = None


def dump(
    fs: FileSystem,
    path: str,
    *,
    records: bool = False,
    limits: StoreConfig | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> Iterator[Item]:
    """The items of the path, of every file one of kind "file" first; `records`: those of each batch
    too. Raises FileNotFoundError for a path that is nothing, OSError for a file that cannot be
    read."""
    read_only = ReadOnlyFileSystem(fs)
    bytes_max = (limits or StoreConfig()).decompressed_bytes_max
    paths = list(files_of(read_only, path.rstrip("/")))
    total = sum(_size(read_only, name) for name in paths)
    dumper = _Dumper(read_only, records, bytes_max, total, on_progress)
    for name in paths:
        yield from dumper.file(name)


def files_of(fs: FileSystem, path: str) -> Iterator[str]:
    """The files to dump for a path, segments in order."""
    if not fs.exists(path):
        store, _, topic = path.rpartition("/")
        parts = _partitions(fs, store or ".", topic)
        if not parts:
            raise FileNotFoundError(2, "no such file, partition or topic", path)
        for directory in parts:
            yield from _files(fs, directory)
    elif not fs.is_directory(path):
        yield path
    elif fs.exists(f"{path}/{META_FILE}"):
        yield from (f"{path}/{name}" for name in (META_FILE, STATE_FILE))
        for directory in _partitions(fs, path, None):
            yield from _files(fs, directory)
    else:
        yield from _files(fs, path)


def _files(fs: FileSystem, directory: str) -> list[str]:
    names = (f"{directory}/{name}" for name in fs.list_directory(directory))
    return [name for name in names if not fs.is_directory(name)]


def _partitions(fs: FileSystem, store: str, topic: str | None) -> list[str]:
    if not fs.is_directory(store):
        return []
    found = []
    for name in fs.list_directory(store):
        part = parse_partition_directory(name)
        if part is not None and topic in (None, part[0]):
            found.append((part, f"{store}/{name}"))
    return [directory for _, directory in sorted(found)]


def _size(fs: FileSystem, path: str) -> int:
    file = fs.open(path, write=False)
    try:
        return file.size()
    finally:
        file.close()


class _Dumper:
    def __init__(
        self,
        fs: FileSystem,
        records: bool,
        decompressed_bytes_max: int,
        total: int,
        on_progress: OnProgress,
    ) -> None:
        self._fs = fs
        self._records = records
        self._decompressed_bytes_max = decompressed_bytes_max
        self._total = total
        self._done = 0
        self._on_progress = on_progress
        self._by_suffix: dict[str, Callable[[str, int], Iterator[Item]]] = {
            LOG_SUFFIX: self._log,
            INDEX_SUFFIX: self._offset_index,
            TIME_INDEX_SUFFIX: self._time_index,
            SNAPSHOT_SUFFIX: self._snapshot,
            CHECKSUMS_SUFFIX: self._checksums,
        }

    def file(self, path: str) -> Iterator[Item]:
        yield Item("file", path, {"bytes": _size(self._fs, path)})
        name = path.rpartition("/")[2]
        for suffix, items in self._by_suffix.items():
            base = parse_offset_name(name, suffix)
            if base is not None:
                yield from items(path, base)
                return
        if name == STATE_FILE:
            yield from self._state(path)
        else:
            yield from self._text(path)

    def _advance(self, path: str, count: int) -> None:
        self._done += count
        self._on_progress(Progress(path, min(self._done, self._total), self._total))

    def _content(self, path: str) -> bytes:
        file = self._fs.open(path, write=False)
        try:
            data = file.read(file.size(), 0)
        finally:
            file.close()
        self._advance(path, len(data))
        return data

    # --- .log -------------------------------------------------------------------------------

    def _log(self, path: str, base_offset: int) -> Iterator[Item]:
        file = self._fs.open(path, write=False)
        try:
            source = FileBytes(file, file.size())
            position, next_offset = 0, base_offset
            while position < source.end:
                header = source.header(position)
                if header is None:
                    item, end = self._gap(path, source, position, next_offset)
                    yield item
                else:
                    yield from self._batch(path, source, position, header)
                    end = position + header.size_bytes
                    next_offset = header.last_offset + 1
                self._advance(path, end - position)
                position = end
        finally:
            file.close()

    def _gap(
        self, path: str, source: FileBytes, position: int, next_offset: int
    ) -> tuple[Item, int]:
        if used_end(source, position) == position:
            fields = {"position": position, "bytes": source.end - position}
            return Item("free", path, {**fields, "problem": "zeros: space allocated ahead"}), (
                source.end
            )
        sound = find_sound_batch(source, position, offset_min=0, offset_max=OFFSET_ANY)
        end = sound.position if sound else source.end
        fields = {"position": position, "bytes": end - position, "offset": next_offset}
        return Item("damage", path, {**fields, "problem": "no record batch"}), end

    def _batch(
        self, path: str, source: FileBytes, position: int, header: BatchHeader
    ) -> Iterator[Item]:
        batch = source.at(position, header.size_bytes)
        is_sound = check_batch_bytes(batch, 0, header)
        yield Item("batch", path, _batch_fields(batch, position, header, is_sound=is_sound))
        if not self._records:
            return
        try:
            for record in decode_records(
                batch, decompressed_bytes_max=self._decompressed_bytes_max
            ):
                yield Item("record", path, {"offset": record.offset}, record)
        except InvalidBatchError as error:
            fields = {"position": position, "bytes": header.size_bytes}
            yield Item("damage", path, {**fields, "problem": error.message})

    # --- beside it --------------------------------------------------------------------------

    def _offset_index(self, path: str, base_offset: int) -> Iterator[Item]:
        data = self._content(path)
        usable = data[: len(data) - len(data) % OFFSET_ENTRY.size]
        for index, (relative, position) in enumerate(OFFSET_ENTRY.iter_unpack(usable)):
            if index and relative == position == 0:
                return  # space allocated ahead
            fields = {"entry": index, "offset": base_offset + relative, "position": position}
            yield Item("entry", path, fields)

    def _time_index(self, path: str, base_offset: int) -> Iterator[Item]:
        data = self._content(path)
        usable = data[: len(data) - len(data) % TIME_ENTRY.size]
        for index, (timestamp, relative) in enumerate(TIME_ENTRY.iter_unpack(usable)):
            if index and timestamp == relative == 0:
                return
            fields = {"entry": index, "timestamp": timestamp, "offset": base_offset + relative}
            yield Item("entry", path, fields)

    def _checksums(self, path: str, base_offset: int) -> Iterator[Item]:
        sums = decode_sums(self._content(path))
        for block, crc in enumerate(sums.crcs):
            start = block * BLOCK_BYTES
            end = min(start + BLOCK_BYTES, sums.size)
            yield Item("block", path, {"position": start, "end": end, "crc": f"{crc:08x}"})
        if sums.is_whole:
            latest = {
                "timestamp": sums.max_timestamp,
                "offset": base_offset + sums.max_timestamp_at,
            }
            yield Item("end", path, {"position": sums.size, **latest})

    def _snapshot(self, path: str, offset: int) -> Iterator[Item]:
        try:
            state, aborted = ProducerState.decode(self._content(path))
        except ValueError as error:
            yield Item("damage", path, {"position": 0, "problem": str(error)})
            return
        for producer_id, entry in sorted(state.entries().items()):
            fields: dict[str, object] = {"producer": producer_id, "epoch": entry.epoch}
            if entry.open_since >= 0:
                fields["transaction_since"] = entry.open_since
            fields["batches"] = [
                f"sequence {seen.base_sequence} to {seen.last_sequence} at {seen.base_offset}"
                for seen in entry.batches
            ]
            yield Item("producer", path, fields)
        for transaction in aborted:
            yield Item("aborted", path, dict(transaction._asdict()))

    # --- of the store -----------------------------------------------------------------------

    def _state(self, path: str) -> Iterator[Item]:
        state = read_state(self._fs, path)
        self._advance(path, _size(self._fs, path))
        if state.header is None:
            yield Item("damage", path, {"position": 0, "problem": "the header is damaged"})
        else:
            yield Item("header", path, dict(state.header._asdict()))
        for (topic_id, partition), values in state.slots.items():
            fields: dict[str, object] = {"topic_id": str(topic_id), "partition": partition}
            yield Item("slot", path, {**fields, **values._asdict()})
        for index in state.damaged:
            yield Item("damage", path, {"slot": index, "problem": "the slot is damaged"})

    def _text(self, path: str) -> Iterator[Item]:
        for line in self._content(path)[:TEXT_BYTES_MAX].decode("utf-8", "replace").splitlines():
            yield Item("line", path, {"text": line})


def _batch_fields(
    batch: memoryview, position: int, header: BatchHeader, *, is_sound: bool
) -> dict[str, object]:
    fields: dict[str, object] = {
        "position": position,
        "bytes": header.size_bytes,
        "first_offset": header.base_offset,
        "last_offset": header.last_offset,
        "records": header.record_count,
        "max_timestamp": header.max_timestamp,
        "leader_epoch": header.partition_leader_epoch,
        "compression": _codec_name(header.compression),
        "crc": f"{header.crc:08x}",
        "crc_holds": is_sound,
    }
    if header.producer_id >= 0:
        fields["producer"] = header.producer_id
        fields["producer_epoch"] = header.producer_epoch
        fields["sequence"] = header.base_sequence
    if header.is_transactional:
        fields["transactional"] = True
    if header.is_control and is_sound:
        fields["control"] = _control_name(batch)
    return fields


def _codec_name(code: int) -> str:
    return CODEC_NAMES[code] if code < len(CODEC_NAMES) else f"unknown ({code})"


def _control_name(batch: memoryview) -> str:
    try:
        marker = marker_of(batch)
    except LogStoreError:
        return "unreadable"
    return {Marker.ABORT: "abort", Marker.COMMIT: "commit", None: "other"}[marker]
