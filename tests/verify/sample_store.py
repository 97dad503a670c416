"""A small store with every kind of file, in memory: made, damaged, read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from logstore.api import Acks, FetchedPartition, OffsetToCommit, TopicSpec
from logstore.config import StoreConfig
from logstore.errors import CorruptDataError, LogStoreError
from logstore.fs import FileSystem
from logstore.record import (
    Marker,
    Record,
    check_crc,
    decode_records,
    encode_batch,
    iter_batches,
    marker_of,
    parse_header,
)
from logstore.store import LocalLogStore
from logstore.testing import ManualClock, MemoryFileSystem

ROOT = "store"
LIMIT = 1 << 20
CONFIG = StoreConfig(offsets_topic_partitions=1)
SMALL = {"segment_bytes": str(16 << 10), "index_interval_bytes": "1000"}


def ids() -> Iterator[uuid.UUID]:
    """The same on every run."""
    number = 100
    while True:
        number += 1
        yield uuid.UUID(int=number)


def open_store(fs: FileSystem) -> LocalLogStore:
    source = ids()
    return LocalLogStore.open(
        ROOT, config=CONFIG, fs=fs, clock=ManualClock(), new_id=lambda: next(source)
    )


def producer_batch(index: int, producer_id: int) -> bytearray:
    """The batch of that number of the producer of `orders`."""
    return encode_batch(
        [bytes([65 + index % 26]) * 700, b"%d" % index],
        [b"k%d" % index, None],
        timestamps=[1000 + 10 * index, 1005 + 10 * index],
        producer_id=producer_id,
        producer_epoch=0,
        base_sequence=2 * index,
    )


def transact(store: LocalLogStore, value: bytes, *, commit: bool) -> None:
    """A transaction of two records in `audit`."""
    producer = store.init_producer("tx")
    batch = encode_batch(
        [value, value],
        timestamps=9,
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        base_sequence=0,
        is_transactional=True,
    )
    store.append("audit", 0, batch).result()
    store.end_transaction("tx", producer, commit=commit)


def make_store(
    *, clean: bool = True, batches: int = 30, transactions: bool = False
) -> MemoryFileSystem:
    """Topic `orders` with sealed segments and an idempotent producer, `audit` compressed, with a
    raised log start, and offsets of a group. Not `clean`: killed, with records that no flush had
    reached. With `transactions`: a committed and an aborted one in `audit`."""
    memory = MemoryFileSystem()
    store = open_store(memory)
    store.create_topic(TopicSpec("orders", 1, SMALL))
    store.create_topic(TopicSpec("audit", 1, {}))
    producer = store.init_producer()
    for index in range(batches):
        store.append("orders", 0, producer_batch(index, producer.producer_id)).result()
    for index in range(4):
        values: list[bytes | None] = [b"%d" % index * 200] * 3
        store.append("audit", 0, encode_batch(values, compression="zstd", timestamps=7)).result()
    if transactions:
        transact(store, b"taken back", commit=False)
        transact(store, b"kept", commit=True)
    store.delete_records("audit", 0, before_offset=2)
    store.commit_offsets("g", [OffsetToCommit("orders", 0, 17, -1, "")]).result()
    if clean:
        store.close()
    else:
        store.append("orders", 0, encode_batch([b"unflushed"], timestamps=5), acks=Acks.LEADER)
        memory.kill()
    return memory


def read_records(
    store: LocalLogStore, topic: str, offset: int, *, committed: bool = False
) -> tuple[list[Record], LogStoreError | None]:
    """From there on, as a consumer reads (the CRC of each batch is looked at), up to an error;
    `committed`: only what a reader of committed records is given."""
    reader = store.open_reader(bytes_max=LIMIT, partition_bytes_max=LIMIT, read_committed=committed)
    found: list[Record] = []
    try:
        reader.set_position(topic, 0, offset)
        while items := reader.poll(0):
            for item in items:
                for batch in _visible(item):
                    found += decode_records(batch, from_offset=offset, decompressed_bytes_max=LIMIT)
                if item.error is not None:
                    raise item.error
    except LogStoreError as error:
        return found, error
    finally:
        reader.close()
    return found, None


def _visible(item: FetchedPartition) -> Iterator[memoryview]:
    """The batches of records that nobody took back, as Kafka's consumers choose them."""
    waiting = sorted(item.aborted, key=lambda entry: entry.first_offset, reverse=True)
    taken_back: set[int] = set()
    for batch in iter_batches(item.data):
        if not check_crc(batch):
            raise CorruptDataError("a batch's CRC does not match")
        header = parse_header(batch)
        while waiting and waiting[-1].first_offset <= header.last_offset:
            taken_back.add(waiting.pop().producer_id)
        if header.is_control:
            if marker_of(batch) is Marker.ABORT:
                taken_back.discard(header.producer_id)
        elif not (header.is_transactional and header.producer_id in taken_back):
            yield batch


def files(fs: FileSystem, directory: str = ROOT) -> list[str]:
    """All paths below the directory, sorted."""
    found = []
    for name in fs.list_directory(directory):
        path = f"{directory}/{name}"
        found += files(fs, path) if fs.is_directory(path) else [path]
    return found


def content(fs: FileSystem, path: str) -> bytes:
    file = fs.open(path, write=False)
    try:
        return file.read(file.size(), 0)
    finally:
        file.close()


def damage(fs: FileSystem, path: str, position: int, data: bytes) -> None:
    file = fs.open(path)
    file.write([data], position)
    file.close()
