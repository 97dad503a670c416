"""Log directories as a stopped Kafka broker leaves them, their batches built by kafka-python."""

from __future__ import annotations

import struct
import uuid
import warnings
from collections.abc import Sequence
from pathlib import Path

from logstore.record import Marker, encode_marker
from logstore.store_files import kafka_uuid
from logstore.testing import MemoryFileSystem

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka.record.default_records import DefaultRecordBatchBuilder

Row = tuple[bytes | None, bytes | None, int]  # key, value, timestamp
ROOT = "kafka"
TOPIC_ID = uuid.UUID("8d5c1f7e-3a43-4c3c-9a59-0d2c6c1a7b11")


def batch(
    rows: Sequence[Row],
    base_offset: int,
    *,
    epoch: int = 0,
    compression: int = 0,
    producer: tuple[int, int, int] = (-1, -1, -1),
    transactional: bool = False,
    offsets: Sequence[int] | None = None,
) -> bytes:
    """`offsets`: deltas, where compaction has left holes."""
    builder = DefaultRecordBatchBuilder(2, compression, transactional, *producer, 1 << 20)
    for index, (key, value, timestamp) in enumerate(rows):
        delta = index if offsets is None else offsets[index]
        builder.append(delta, timestamp, key, value, [("h", b"%d" % index)])
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, base_offset)
    struct.pack_into(">i", data, 12, epoch)
    return bytes(data)


def marker(kind: Marker, producer: tuple[int, int], offset: int) -> bytes:
    data = encode_marker(kind, producer_id=producer[0], producer_epoch=producer[1], timestamp_ms=5)
    struct.pack_into(">q", data, 0, offset)
    return bytes(data)


class Broker:
    """In memory. `write` makes files; `close` the ones of a clean stop."""

    def __init__(self, fs: MemoryFileSystem, root: str = ROOT) -> None:
        self.fs = fs
        self.root = root
        fs.make_directory(root)
        self.write("meta.properties", b"version=1\ncluster.id=x\nnode.id=1\n")
        self.starts: list[str] = []

    def write(self, name: str, content: bytes) -> None:
        directory = f"{self.root}/{name}".rpartition("/")[0]
        if not self.fs.exists(directory):
            self.fs.make_directory(directory)
        file = self.fs.open(f"{self.root}/{name}", create=True)
        file.write([content], 0)
        file.close()

    def partition(
        self,
        name: str,
        segments: dict[int, list[bytes]],
        *,
        epochs: Sequence[tuple[int, int]] = ((0, 0),),
        log_start: int = 0,
        topic_id: uuid.UUID | None = TOPIC_ID,
    ) -> None:
        for base, batches in segments.items():
            self.write(f"{name}/{base:020d}.log", b"".join(batches))
            self.write(f"{name}/{base:020d}.index", bytes(64))  # not believed
            self.write(f"{name}/{base:020d}.timeindex", bytes(64))
        lines = [f"{epoch} {offset}" for epoch, offset in epochs]
        content = "\n".join(["0", str(len(lines)), *lines, ""])
        self.write(f"{name}/leader-epoch-checkpoint", content.encode())
        if topic_id is not None:
            identity = f"version: 0\ntopic_id: {kafka_uuid(topic_id)}\n"
            self.write(f"{name}/partition.metadata", identity.encode())
        if log_start:
            topic, _, number = name.rpartition("-")
            self.starts.append(f"{topic} {number} {log_start}")

    def close(self) -> None:
        content = "\n".join(["0", str(len(self.starts)), *self.starts, ""])
        self.write("log-start-offset-checkpoint", content.encode())
        self.write(".kafka_cleanshutdown", b'{"version":0,"brokerEpoch":1}')

    def contents(self) -> dict[str, bytes]:
        found = {}
        for name in self.fs.list_directory(self.root):
            path = f"{self.root}/{name}"
            inner = self.fs.list_directory(path) if self.fs.is_directory(path) else [""]
            for part in inner:
                full = f"{path}/{part}".rstrip("/")
                file = self.fs.open(full, write=False)
                found[full] = file.read(file.size(), 0)
                file.close()
        return found


def to_disk(broker: Broker, directory: Path) -> None:
    for name, content in broker.contents().items():
        path = directory / name.removeprefix(f"{broker.root}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
