"""The segments of one partition, copied batch by batch; offsets, bytes and leader epochs are kept.

Of each batch the format (v2), the CRC and the place are checked; what is in it was checked when it
was produced. Indexes, producers and aborted transactions are not copied: the store makes them anew
from the batches.

Compaction leaves holes, and in Kafka a segment may end before the next one begins. Here a segment
tells where it ends, and the last has no holes: an empty batch stands there, as cleaners leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from logstore.adopt.kafka_directory import FoundPartition
from logstore.errors import BatchMagicError, CorruptDataError
from logstore.fs import File, FileSystem
from logstore.log.checkpoint import LeaderEpochs, write_log_start
from logstore.log.format import LOG_SUFFIX, RELATIVE_OFFSET_MAX, offset_name
from logstore.log.salvage import FileBytes
from logstore.record import (
    BatchHeader,
    check_batch_bytes,
    empty_batch,
    encode_batch,
    parse_header,
)

MAGIC_AT = 16
MAGIC = 2
WRITE_BYTES = 1 << 20  # at once
SYNC_BYTES = 64 << 20  # so that no sync waits for gigabytes
_FILLER = parse_header(encode_batch([b""]))


class CopiedPartition(NamedTuple):
    end_offset: int
    notes: list[str]


def copy_partition(
    fs: FileSystem,
    found: FoundPartition,
    directory: str,
    *,
    unclean: bool,
    on_bytes: Callable[[int], None],
) -> CopiedPartition:
    """Into `directory`, which is there. `on_bytes` is told of each piece that was copied.

    Raises BatchMagicError for records of an older format, CorruptDataError for a batch that is
    damaged; with `unclean` those end the log if they are in its last segment.
    """
    epochs = found.epochs or LeaderEpochs(())
    if epochs.entries:
        epochs.write_new(fs, directory)
    if found.log_start_offset:
        write_log_start(
            fs,
            directory,
            topic=found.topic,
            partition=found.partition,
            offset=found.log_start_offset,
        )
    notes: list[str] = []
    end = found.segments[0]
    for index, base in enumerate(found.segments):
        following = found.segments[index + 1] if index + 1 < len(found.segments) else None
        source_path = f"{found.directory}/{offset_name(base)}{LOG_SUFFIX}"
        source = fs.open(source_path, write=False)
        target = fs.open(f"{directory}/{offset_name(base)}{LOG_SUFFIX}", create=True)
        try:
            segment = _Segment(source, source_path, base, following, epochs, unclean)
            _write(target, segment.batches(), on_bytes)
            end = segment.next_offset
            notes += segment.notes
        finally:
            source.close()
            target.close()
    return CopiedPartition(end, notes)


def _write(
    target: File, batches: Iterator[memoryview | bytearray], on_bytes: Callable[[int], None]
) -> None:
    position = size = unsynced = 0
    held: list[memoryview | bytearray] = []
    for batch in batches:
        held.append(batch)
        size += len(batch)
        if size >= WRITE_BYTES:
            target.write(held, position)
            on_bytes(size)
            position, unsynced = position + size, unsynced + size
            held, size = [], 0
        if unsynced >= SYNC_BYTES:
            target.sync()
            unsynced = 0
    if held:
        target.write(held, position)
        on_bytes(size)
    target.sync()


class _Segment:
    """`next_offset`: behind the last batch given so far."""

    def __init__(
        self,
        file: File,
        path: str,
        base_offset: int,
        following: int | None,
        epochs: LeaderEpochs,
        unclean: bool,
    ) -> None:
        self.next_offset = base_offset
        self.notes: list[str] = []
        self._source = FileBytes(file, file.size())
        self._path = path
        self._following = following
        self._epochs = epochs
        self._may_be_cut = unclean and following is None

    def batches(self) -> Iterator[memoryview | bytearray]:
        source = self._source
        position = 0
        while position < source.end:
            header = self._sound(position)
            if header is None:
                break
            if self._following is None:
                yield from self._fill(header.base_offset)
            yield source.at(position, header.size_bytes)
            self.next_offset = header.last_offset + 1
            position += header.size_bytes
        if self._following is not None:
            yield from self._fill(self._following)

    def _sound(self, position: int) -> BatchHeader | None:
        """None where the log ends: at space that was allocated ahead, or at a torn batch."""
        header = self._source.header(position)
        if header is not None and self._is_next(position, header):
            return header
        if self._is_zero_from(position):
            return None
        magic = bytes(self._source.at(position + MAGIC_AT, 1))
        if magic and magic[0] < MAGIC and header is None:
            raise BatchMagicError(
                f"{self._path} holds records of the old format v{magic[0]} at {position}; only v2 "
                "(Kafka 0.11 and later) is adopted. Copy the topic by a client from a broker that "
                "still reads them",
                path=self._path,
            )
        if not self._may_be_cut:
            raise CorruptDataError(
                f"{self._path} is damaged at {position}, offset {self.next_offset}",
                path=self._path,
                position=position,
            )
        self.notes.append(
            f"{self._source.end - position} bytes at {position} in {self._path} were not written "
            f"to their end; the partition ends at offset {self.next_offset}"
        )
        return None

    def _is_next(self, position: int, header: BatchHeader) -> bool:
        if header.base_offset < self.next_offset:
            return False
        if self._following is not None and header.last_offset >= self._following:
            return False
        return check_batch_bytes(self._source.at(position, header.size_bytes), 0, header)

    def _is_zero_from(self, position: int) -> bool:
        while position < self._source.end:
            piece = self._source.at(position, WRITE_BYTES)
            if any(piece):
                return False
            position += len(piece)
        return True

    def _fill(self, up_to: int) -> Iterator[bytearray]:
        while self.next_offset < up_to:
            delta = min(up_to - self.next_offset - 1, RELATIVE_OFFSET_MAX - 1)
            epoch = self._epochs.epoch_at(self.next_offset) if self._epochs.entries else 0
            yield empty_batch(
                _FILLER._replace(
                    base_offset=self.next_offset,
                    partition_leader_epoch=epoch,
                    last_offset_delta=delta,
                )
            )
            self.next_offset += delta + 1
