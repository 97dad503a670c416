"""The small text files of a partition directory, in Kafka's formats.

Each is replaced as a whole: a temporary file, synced, renamed over the old one, and the directory
synced. So a crash leaves the old or the new content, never a part.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from bisect import bisect_right
from itertools import pairwise

import crc32c

from logstore.errors import CorruptDataError
from logstore.fs import FileSystem, replace_file
from logstore.log.format import (
    CLEANED_FILE,
    IDENTITY_FILE,
    LEADER_EPOCH_FILE,
    LOG_START_FILE,
    TEMPORARY_SUFFIX,
    TEXT_FILE_BYTES_MAX,
)

OFFSET_MAX = (1 << 63) - 1
EPOCH_MAX = (1 << 31) - 1  # an int32 in batches; the next one must still fit
UNDEFINED_EPOCH = -1
UNDEFINED_OFFSET = -1


def read_text(fs: FileSystem, path: str) -> str | None:
    """The content; None if there is no such file."""
    if not fs.exists(path):
        return None
    file = fs.open(path, write=False)
    try:
        return file.read(TEXT_FILE_BYTES_MAX, 0).decode("utf-8", "replace")
    finally:
        file.close()


def _write_new(fs: FileSystem, directory: str, name: str, content: str) -> None:
    """A file of a directory that nobody knows yet; the caller syncs the directory."""
    file = fs.open(f"{directory}/{name}", create=True)
    try:
        file.write([content.encode()], 0)
        file.sync()
    finally:
        file.close()


# --- partition.metadata: "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA" -----------------------


def write_identity(fs: FileSystem, directory: str, topic_id: uuid.UUID) -> None:
    """Whole or not there: a directory without it is one whose making was cut short."""
    encoded = base64.urlsafe_b64encode(topic_id.bytes).decode().rstrip("=")
    temporary = IDENTITY_FILE + TEMPORARY_SUFFIX
    _write_new(fs, directory, temporary, f"version: 0\ntopic_id: {encoded}\n")
    fs.rename(f"{directory}/{temporary}", f"{directory}/{IDENTITY_FILE}")


def check_identity(fs: FileSystem, directory: str, topic_id: uuid.UUID) -> None:
    """Raises CorruptDataError if the directory is not that topic's."""
    path = f"{directory}/{IDENTITY_FILE}"
    text = read_text(fs, path)
    if text is None:
        raise CorruptDataError(f"{path} is missing: cannot tell whose data this is", path=path)
    fields = dict(line.partition(": ")[::2] for line in text.splitlines())
    try:
        encoded = fields.get("topic_id", "") + "=="
        found = uuid.UUID(bytes=base64.b64decode(encoded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise CorruptDataError(f"{path} is damaged: it names no topic id", path=path) from None
    if found != topic_id:
        raise CorruptDataError(
            f"{path} says topic {found}, expected {topic_id}: the directory belongs to another "
            "topic and was not touched",
            path=path,
        )


# --- log-start-offset-checkpoint: "0\n1\norders 3 1204" ---------------------------------------


def read_log_start(fs: FileSystem, directory: str) -> int:
    """0 if there is none; raises CorruptDataError."""
    path = f"{directory}/{LOG_START_FILE}"
    text = read_text(fs, path)
    if text is None:
        return 0
    try:
        version, count, line = text.splitlines()
        offset = int(line.split(" ")[-1])
        if (version, count) != ("0", "1") or not 0 <= offset <= OFFSET_MAX:
            raise ValueError(text)
    except ValueError:
        raise CorruptDataError(f"{path} is damaged", path=path) from None
    return offset


def write_log_start(
    fs: FileSystem, directory: str, *, topic: str, partition: int, offset: int
) -> None:
    """Durable when it returns. Raises OSError."""
    content = f"0\n1\n{topic} {partition} {offset}\n"
    replace_file(fs, directory, LOG_START_FILE, content.encode())


# --- cleaner-offset-checkpoint: the same, and a line with the CRC-32C of those before -----------


def read_cleaned_offset(fs: FileSystem, directory: str) -> int:
    """0, which costs a longer cleaning and nothing else, if there is none or it is damaged.

    One that is too high would cost more: hence the checksum, which Kafka's file does not have.
    """
    text = read_text(fs, f"{directory}/{CLEANED_FILE}") or ""
    try:
        body, checksum = text[: -len("00000000\n")], text[-len("00000000\n") :]
        if checksum != f"{crc32c.crc32c(body.encode()):08x}\n":
            raise ValueError(text)
        return int(body.split()[-1])
    except (ValueError, IndexError):
        return 0


def write_cleaned_offset(
    fs: FileSystem, directory: str, *, topic: str, partition: int, offset: int
) -> None:
    """Durable when it returns. Raises OSError."""
    body = f"0\n1\n{topic} {partition} {offset}\n"
    content = f"{body}{crc32c.crc32c(body.encode()):08x}\n"
    replace_file(fs, directory, CLEANED_FILE, content.encode())


# --- leader-epoch-checkpoint: "0\n2\n0 0\n1 1204" ---------------------------------------------


class LeaderEpochs:
    """(epoch, start offset) pairs, both ascending; the last is the current one.

    Immutable: `with_next` makes the successor, `write` puts it on disk before it is used.
    """

    __slots__ = ("entries",)

    def __init__(self, entries: tuple[tuple[int, int], ...]) -> None:
        self.entries = entries

    @property
    def current(self) -> int:
        return self.entries[-1][0]

    def with_next(self, end_offset: int) -> LeaderEpochs:
        """One epoch more, that starts at `end_offset`; epochs that have no records are dropped."""
        kept = tuple(entry for entry in self.entries if entry[1] < end_offset)
        return LeaderEpochs((*kept, (self.current + 1, end_offset)))

    def epoch_at(self, offset: int) -> int:
        """The epoch that a record at `offset` was written in; -1 below the first."""
        index = bisect_right(self.entries, offset, key=lambda entry: entry[1])
        return self.entries[index - 1][0] if index else UNDEFINED_EPOCH

    def end_offset(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """(largest epoch not above `epoch`, the offset behind its records), as KIP-101/279.

        (-1, -1) for an epoch that is newer than any here or not known at all.
        """
        if not 0 <= epoch <= self.current:
            return UNDEFINED_EPOCH, UNDEFINED_OFFSET
        index = bisect_right(self.entries, epoch, key=lambda entry: entry[0])
        if index == 0:
            return epoch, self.entries[0][1]
        end = self.entries[index][1] if index < len(self.entries) else log_end_offset
        return self.entries[index - 1][0], end

    def encode(self) -> str:
        lines = [f"{epoch} {start}" for epoch, start in self.entries]
        return "\n".join(["0", str(len(lines)), *lines]) + "\n"

    def write_new(self, fs: FileSystem, directory: str) -> None:
        _write_new(fs, directory, LEADER_EPOCH_FILE, self.encode())

    def write(self, fs: FileSystem, directory: str) -> None:
        """Durable when it returns. Raises OSError."""
        replace_file(fs, directory, LEADER_EPOCH_FILE, self.encode().encode())

    @classmethod
    def read(cls, fs: FileSystem, directory: str) -> LeaderEpochs | None:
        """None if the file is missing or damaged."""
        text = read_text(fs, f"{directory}/{LEADER_EPOCH_FILE}")
        if text is None:
            return None
        try:
            version, count, *lines = text.splitlines()
            pairs = [line.split(" ") for line in lines]
            entries = tuple((int(epoch), int(start)) for epoch, start in pairs)
        except ValueError:
            return None
        if version != "0" or count != str(len(entries)) or not entries:
            return None
        ascending = all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(entries))
        (first_epoch, first_start), (last_epoch, last_start) = entries[0], entries[-1]
        within = min(first_epoch, first_start) >= 0 and last_start <= OFFSET_MAX
        return cls(entries) if ascending and within and last_epoch < EPOCH_MAX else None
