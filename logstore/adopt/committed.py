"""The offsets that groups had committed, from the partitions of a Kafka `__consumer_offsets`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from logstore.adopt.kafka_directory import FoundPartition
from logstore.errors import CorruptDataError
from logstore.fs import FileSystem
from logstore.group.offset_records import OffsetKey, OffsetValue, decode_key, decode_offset
from logstore.log.format import LOG_SUFFIX, offset_name
from logstore.log.salvage import FileBytes
from logstore.record import (
    BatchHeader,
    Marker,
    check_batch_bytes,
    decode_records,
    marker_of,
    parse_header,
)

Change = tuple[OffsetKey, OffsetValue | None]


def read_committed_offsets(
    fs: FileSystem, partitions: Iterable[FoundPartition], *, decompressed_bytes_max: int
) -> dict[OffsetKey, OffsetValue]:
    """Those that count: of transactions only what was committed. Raises CorruptDataError."""
    offsets: dict[OffsetKey, OffsetValue] = {}
    for partition in partitions:
        undecided: dict[int, list[Change]] = {}
        for batch in _batches(fs, partition):
            header = parse_header(batch)
            if header.is_control:
                changes = undecided.pop(header.producer_id, [])
                if marker_of(batch) is Marker.COMMIT:
                    _apply(offsets, changes)
                continue
            changes = list(_changes(batch, decompressed_bytes_max))
            if header.is_transactional:
                undecided.setdefault(header.producer_id, []).extend(changes)
            else:
                _apply(offsets, changes)
    return offsets


def _apply(offsets: dict[OffsetKey, OffsetValue], changes: Iterable[Change]) -> None:
    for key, value in changes:
        if value is None:
            offsets.pop(key, None)
        else:
            offsets[key] = value


def _changes(batch: memoryview, decompressed_bytes_max: int) -> Iterator[Change]:
    for record in decode_records(batch, decompressed_bytes_max=decompressed_bytes_max):
        key = decode_key(record.key or b"")
        if isinstance(key, OffsetKey):
            yield key, None if record.value is None else decode_offset(record.value)


def _batches(fs: FileSystem, partition: FoundPartition) -> Iterator[memoryview]:
    for base in partition.segments:
        path = f"{partition.directory}/{offset_name(base)}{LOG_SUFFIX}"
        file = fs.open(path, write=False)
        try:
            source = FileBytes(file, file.size())
            position = 0
            for at, header in source.headers(0):
                batch = source.at(at, header.size_bytes)
                if not _is_sound(batch, header):
                    raise CorruptDataError(f"{path} is damaged at {at}", path=path, position=at)
                yield batch
                position = at + header.size_bytes
            if any(source.at(position, source.end - position)):
                raise CorruptDataError(
                    f"{path} is damaged at {position}", path=path, position=position
                )
        finally:
            file.close()


def _is_sound(batch: memoryview, header: BatchHeader) -> bool:
    return check_batch_bytes(batch, 0, header)
