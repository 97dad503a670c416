"""The state file of a store: what each partition had on disk, for recovery and for followers.

One 64-byte slot per partition (layout in format.py), written by a plain pwrite after each flush and
never synced while the store is open. So after a killed process a slot is exact, and after a power
loss it is a lower bound: it was written after the sync it tells of. The boot id in the header says
which of the two it is.

Followers in other processes read slots while they are written. DESIGN.md asks for a sequence lock;
a CRC-32C over the slot does that work instead: the kernel promises no order between the bytes of a
write and of a read that overlap, so two equal sequence numbers would prove nothing, and Python has
no memory fences. A slot whose CRC holds was written as one; a reader that meets another retries.
The same check finds a slot torn by a power loss.

The header changes twice: `begin` (durable, after recovery and before the first append) writes this
boot's id and clears the clean flag; `close` sets it. A store killed during recovery is therefore
judged again by the boot that wrote its data.
"""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from typing import NamedTuple

import crc32c

from logstore.fs import File, FileSystem
from logstore.log.faults import drain_failures
from logstore.log.format import (
    CHECKSUM,
    STATE_CLEAN_FLAG,
    STATE_HEADER,
    STATE_HEADER_BYTES,
    STATE_MAGIC,
    STATE_SLOT,
    STATE_SLOT_BYTES,
    STATE_SLOTS_STEP,
    STATE_VERSION,
)

READ_ATTEMPTS = 100  # of a slot that is being written; each write takes about a microsecond
FREE_SLOT = bytes(STATE_SLOT_BYTES)


class SlotValues(NamedTuple):
    """See format.py."""

    high_watermark: int
    flushed_offset: int
    last_stable_offset: int
    log_start_offset: int
    generation: int


class PreparedSlot(NamedTuple):
    """What a slot will hold, ready to be written."""

    sequence: int
    data: bytes


class StateHeader(NamedTuple):
    is_clean: bool
    open_generation: int
    boot_id: str


def _sealed(body: bytes) -> bytes:
    return body + CHECKSUM.pack(crc32c.crc32c(body))


def _opened(data: bytes) -> bytes | None:
    """The bytes before the checksum, if it holds."""
    body, checksum = data[: -CHECKSUM.size], data[-CHECKSUM.size :]
    return body if checksum == CHECKSUM.pack(crc32c.crc32c(body)) else None


def _encode_header(header: StateHeader) -> bytes:
    flags = STATE_CLEAN_FLAG if header.is_clean else 0
    boot_id = header.boot_id.encode()[:64]
    return _sealed(
        STATE_HEADER.pack(STATE_MAGIC, STATE_VERSION, flags, header.open_generation, boot_id)
    )


def _decode_header(data: bytes) -> StateHeader | None:
    body = _opened(data) if len(data) == STATE_HEADER_BYTES else None
    if body is None:
        return None
    magic, version, flags, generation, boot_id = STATE_HEADER.unpack(body)
    if magic != STATE_MAGIC or version != STATE_VERSION:
        return None
    is_clean = bool(flags & STATE_CLEAN_FLAG)
    return StateHeader(is_clean, generation, boot_id.rstrip(b"\0").decode("utf-8", "replace"))


def _decode_slot(data: bytes) -> tuple[uuid.UUID, int, int, SlotValues] | None:
    """(topic, partition, sequence, values); None for a free or torn slot."""
    body = _opened(data) if data != FREE_SLOT else None
    if body is None:
        return None
    topic_id, partition, sequence, *values = STATE_SLOT.unpack(body)
    return uuid.UUID(bytes=topic_id), partition, sequence, SlotValues(*values)


class StateSlot:
    """One partition's slot; written by the partition only, under its lock."""

    __slots__ = ("_file", "_identity", "_position", "_sequence", "is_exact", "recorded")

    def __init__(
        self,
        file: File,
        index: int,
        identity: tuple[bytes, int],
        *,
        sequence: int,
        recorded: SlotValues | None,
        is_exact: bool,
    ) -> None:
        self._file = file
        self._position = _position_of(index)
        self._identity = identity
        self._sequence = sequence
        self.recorded = recorded  # found when the store was opened; None for a new slot
        self.is_exact = is_exact  # nothing written before the end of the last process was lost

    def write(self, values: SlotValues) -> None:
        """Raises OSError; what is there then is the old slot or one whose CRC fails."""
        self._write(self.prepare(values))

    def prepare(self, values: SlotValues) -> PreparedSlot:
        """For `write_prepared`."""
        sequence = (self._sequence + 1) & 0xFFFFFFFF
        body = STATE_SLOT.pack(*self._identity, sequence, *values)
        return PreparedSlot(sequence, _sealed(body))

    def write_prepared(self, prepared: PreparedSlot | None) -> bool:
        """False if the slot was written since it was prepared. Raises as `write` does."""
        if prepared is None or prepared.sequence != (self._sequence + 1) & 0xFFFFFFFF:
            return False
        self._write(prepared)
        return True

    def _write(self, prepared: PreparedSlot) -> None:
        self._sequence = prepared.sequence
        self._file.write([prepared.data], self._position)


class StateFile:
    """Of a store opened for writing, which holds the directory's lock. Thread-safe.

    `was_clean`: the store was closed cleanly and not opened since. `is_exact`: nothing written
    before the end of the last process was lost.
    """

    def __init__(self, fs: FileSystem, path: str) -> None:
        self._fs = fs
        self._lock = threading.Lock()
        is_new = not fs.exists(path)
        self._file = fs.open(path, create=True)
        drain_failures(self._file)  # slots are lower bounds: nothing in them has to be on disk
        self._boot_id = fs.boot_id()
        header = _decode_header(self._file.read(STATE_HEADER_BYTES, 0))
        self.was_clean = header is not None and header.is_clean
        self._is_same_boot = header is not None and header.boot_id == self._boot_id
        self.is_exact = self.was_clean or self._is_same_boot
        self.open_generation = (header.open_generation if header else 0) + 1
        self._slots: dict[tuple[bytes, int], tuple[int, int, SlotValues | None]] = {}
        self._free: list[int] = []
        self._count = 0
        self._read_slots()
        if is_new:
            self._write_header(is_clean=False)
            self._file.sync()

    @classmethod
    def open(cls, fs: FileSystem, path: str) -> StateFile:
        """Open or make it. A damaged one counts as empty, so that everything is recovered."""
        return cls(fs, path)

    def _read_slots(self) -> None:
        data = self._file.read(max(0, self._file.size() - STATE_HEADER_BYTES), STATE_HEADER_BYTES)
        self._count = len(data) // STATE_SLOT_BYTES
        for index in range(self._count):
            found = _decode_slot(data[index * STATE_SLOT_BYTES : (index + 1) * STATE_SLOT_BYTES])
            if found is None:
                self._free.append(index)
            else:
                topic_id, partition, sequence, values = found
                self._slots[topic_id.bytes, partition] = (index, sequence, values)
        self._free.reverse()

    def slot(self, topic_id: uuid.UUID, partition: int) -> StateSlot:
        """The partition's slot, or a free one that is its from the first write on."""
        identity = (topic_id.bytes, partition)
        with self._lock:
            found = self._slots.get(identity)
            if found is not None:
                index, sequence, recorded = found
            else:
                if not self._free:
                    self._grow()
                index, sequence, recorded = self._free.pop(), 0, None
                self._slots[identity] = (index, 0, None)
        return StateSlot(
            self._file,
            index,
            identity,
            sequence=sequence,
            recorded=recorded,
            is_exact=self._is_same_boot,
        )

    def _grow(self) -> None:
        count = self._count + STATE_SLOTS_STEP
        self._file.allocate(_position_of(count))
        self._free.extend(range(count - 1, self._count - 1, -1))
        self._count = count

    def release(self, topic_id: uuid.UUID, partition: int) -> None:
        """The partition is deleted; its slot may become another's."""
        with self._lock:
            found = self._slots.pop((topic_id.bytes, partition), None)
            if found is not None:
                self._file.write([FREE_SLOT], _position_of(found[0]))
                self._free.append(found[0])

    def begin(self) -> None:
        """Everything is recovered: from here on an unclean end is one of this boot. Durable."""
        self._write_header(is_clean=False)
        self._file.sync()

    def close(self, *, clean: bool) -> None:
        """`clean`: every partition was closed and its files written; they are synced here. If that
        fails, the next opening looks at everything, as after a crash."""
        with suppress(OSError):
            if clean:
                self._fs.sync_file_system(self._file.path.rpartition("/")[0] or ".")
                self._file.sync()
                self._write_header(is_clean=True)
                self._file.sync()
        self._file.close()

    def _write_header(self, *, is_clean: bool) -> None:
        header = StateHeader(is_clean, self.open_generation, self._boot_id)
        self._file.write([_encode_header(header)], 0)


class StateContents(NamedTuple):
    """All of a state file at one moment. `damaged`: indexes of slots that are neither free nor
    whole, one that was being written included."""

    header: StateHeader | None
    slots: dict[tuple[uuid.UUID, int], SlotValues]
    damaged: list[int]
    odd_bytes: int  # behind the last slot


def read_state(fs: FileSystem, path: str) -> StateContents:
    """What is there, without changing it. Raises OSError."""
    file = fs.open(path, write=False)
    try:
        data = file.read(file.size(), 0)
    finally:
        file.close()
    slots: dict[tuple[uuid.UUID, int], SlotValues] = {}
    damaged = []
    body = data[STATE_HEADER_BYTES:]
    for index in range(len(body) // STATE_SLOT_BYTES):
        raw = body[index * STATE_SLOT_BYTES : (index + 1) * STATE_SLOT_BYTES]
        found = _decode_slot(raw)
        if found is not None:
            slots[found[0], found[1]] = found[3]
        elif raw != FREE_SLOT:
            damaged.append(index)
    header = _decode_header(data[:STATE_HEADER_BYTES])
    return StateContents(header, slots, damaged, len(body) % STATE_SLOT_BYTES)


class StateReader:
    """Another process's view of the state file. Not thread-safe."""

    def __init__(self, fs: FileSystem, path: str) -> None:
        self._file = fs.open(path, write=False)
        self._index: dict[tuple[bytes, int], int] = {}

    def header(self) -> StateHeader | None:
        return _decode_header(self._file.read(STATE_HEADER_BYTES, 0))

    def read(self, topic_id: uuid.UUID, partition: int) -> SlotValues | None:
        """The partition's slot as it was at one moment; None if it has none (any more)."""
        identity = (topic_id.bytes, partition)
        for _ in range(READ_ATTEMPTS):
            index = self._index.get(identity)
            if index is None:
                self._find_all()
                index = self._index.get(identity)
                if index is None:
                    return None
            data = self._file.read(STATE_SLOT_BYTES, _position_of(index))
            found = _decode_slot(data)
            if found is not None and (found[0].bytes, found[1]) == identity:
                return found[3]
            if found is not None or data == FREE_SLOT:
                del self._index[identity]  # the slot is another's now
        return None

    def _find_all(self) -> None:
        data = self._file.read(max(0, self._file.size() - STATE_HEADER_BYTES), STATE_HEADER_BYTES)
        self._index.clear()
        for index in range(len(data) // STATE_SLOT_BYTES):
            found = _decode_slot(data[index * STATE_SLOT_BYTES : (index + 1) * STATE_SLOT_BYTES])
            if found is not None:
                self._index[found[0].bytes, found[1]] = index

    def close(self) -> None:
        self._file.close()


def _position_of(index: int) -> int:
    return STATE_HEADER_BYTES + index * STATE_SLOT_BYTES
