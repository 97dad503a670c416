"""A store whose making, closing or changes of topics are cut short, by a crash or a bad disk."""

from __future__ import annotations

import errno

import pytest

from logstore.api import FetchPosition, TopicSpec
from logstore.errors import StoreError
from logstore.log.format import LOG_SUFFIX
from logstore.record import decode_records, encode_batch, iter_batches
from logstore.store import LocalLogStore
from logstore.testing import MachineStoppedError, MemoryFileSystem

ROOT = "home/data/store"


def opened(fs: MemoryFileSystem) -> LocalLogStore:
    return LocalLogStore.open(ROOT, fs=fs)


def put(store: LocalLogStore, value: bytes, topic: str = "t") -> int:
    return store.append(topic, 0, encode_batch([value], timestamps=1)).result(0).base_offset


def values(store: LocalLogStore, topic: str = "t") -> list[bytes | None]:
    with store.fetch(
        [FetchPosition(topic, 0, 0, 1 << 20)], bytes_max=1 << 20, cold_ok=True
    ) as all_:
        (item,) = all_.partitions
        assert item.error is None
        return [
            record.value
            for batch in iter_batches(item.data)
            for record in decode_records(batch, decompressed_bytes_max=1 << 20)
        ]


@pytest.mark.parametrize("end", ["kill", "power_loss"])
def test_the_first_opening_may_be_cut_short_at_any_call(end: str) -> None:
    calls = 0
    while True:
        fs = MemoryFileSystem(calls)
        fs.stop_after(calls)
        try:
            opened(fs)
        except MachineStoppedError:
            pass
        else:
            break
        getattr(fs, end)()
        store = opened(fs)
        store.create_topic(TopicSpec("t"))
        put(store, b"a")
        fs.power_loss()
        store = opened(fs)
        assert values(store) == [b"a"]
        calls += 1
    assert calls > 30


@pytest.mark.parametrize("operation", ["rename", "remove_tree", "unlink", "sync_directory"])
def test_a_topic_is_deleted_though_its_files_cannot_be(operation: str) -> None:
    fs = MemoryFileSystem()
    store = opened(fs)
    store.create_topic(TopicSpec("t"))
    put(store, b"of the first")
    fs.inject(operation, path_contains="store/t-0" if operation != "sync_directory" else ROOT)
    store.delete_topic("t")
    assert fs.statistics[f"{operation} EIO"] == 1
    store.create_topic(TopicSpec("t"))
    assert put(store, b"of the second") == 0
    assert values(store) == [b"of the second"]
    fs.kill()
    assert values(opened(fs)) == [b"of the second"]


@pytest.mark.parametrize("change", ["create", "add_partitions"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_failed_change_of_topics_is_an_error_and_may_be_tried_again(
    change: str, error: int
) -> None:
    fs = MemoryFileSystem()
    store = opened(fs)
    if change == "add_partitions":
        store.create_topic(TopicSpec("t"))

    def make() -> None:
        if change == "create":
            store.create_topic(TopicSpec("t", 3))
        else:
            store.add_partitions("t", total=3)

    faults = [("make_directory", "t-1"), ("open", f"t-2/{0:020d}{LOG_SUFFIX}"), ("write", "t-2/")]
    for operation, path in [*faults, ("sync_directory", ROOT)]:
        fs.inject(operation, error, path_contains=path)
        with pytest.raises(StoreError):
            make()
        assert fs.statistics[f"{operation} {errno.errorcode[error]}"]
    make()
    assert put(store, b"a") == 0
    fs.kill()
    store = opened(fs)
    assert values(store) == [b"a"]
    (info,) = store.describe_topics(["t"])
    assert len(info.partitions) == 3


@pytest.mark.parametrize("operation", ["sync_file_system", "sync", "write"])
def test_a_close_that_fails_is_not_clean(operation: str) -> None:
    fs = MemoryFileSystem()
    store = opened(fs)
    store.create_topic(TopicSpec("t"))
    put(store, b"a")
    fs.inject(operation, path_contains="state" if operation != "sync_file_system" else ROOT)
    store.close()
    assert fs.statistics[f"{operation} EIO"] == 1
    fs.heal()
    store = opened(fs)
    (info,) = store.describe_topics(["t"])
    assert info.partitions[0].leader_epoch == 1
    assert values(store) == [b"a"]
