from __future__ import annotations

import errno

import pytest

from logstore.errors import LogStoreError, RequestTimeoutError, StorageFailedError, StoreClosedError
from logstore.flush_wait import PendingFlush, pending_flush
from logstore.log import Flush
from logstore.pending import Pending
from logstore.record import encode_batch
from tests.log.support import Partition


class Waited:
    """A partition whose driver only notes that it was told."""

    def __init__(self) -> None:
        self.part = Partition()
        self.told: list[str] = []
        self.part.flusher.set_notify(lambda: self.told.append("flush"))

    def append(self) -> Pending[int]:
        batch = encode_batch([b"v"], timestamps=1)
        appended = self.part.log.append(batch, flush=Flush.LED)
        return pending_flush(self.part.log, self.part.flusher, appended.last_offset, 7)


def test_a_thread_that_waits_leads_the_flush_and_the_driver_is_not_told() -> None:
    waited = Waited()
    pending = waited.append()
    assert [pending.done, pending.result(1), pending.done, pending.error] == [False, 7, True, None]
    assert waited.told == []


def test_with_a_callback_the_driver_is_told_and_it_is_called_once() -> None:
    waited = Waited()
    pending = waited.append()
    seen: list[int] = []
    pending.add_done_callback(lambda done: seen.append(done.result(0)))
    pending.add_done_callback(lambda done: seen.append(-done.result(0)))
    assert (waited.told, seen) == (["flush"], [])
    waited.part.flusher.run_round()
    assert seen == [7, -7]
    pending.add_done_callback(lambda done: seen.append(done.result(0) + 1))
    assert seen == [7, -7, 8]


def test_no_round_is_asked_for_where_the_one_in_progress_covers_it() -> None:
    waited = Waited()
    seen: list[int] = []
    pending = waited.append()
    real = waited.part.log._writer._sync_directory
    waited.part.log._writer._is_directory_dirty = True

    def in_the_round() -> None:
        pending.add_done_callback(lambda done: seen.append(done.result(0)))
        assert waited.told == []
        late.append(waited.append())
        late[0].add_done_callback(lambda done: seen.append(done.result(0) + 1))
        real()

    late: list[Pending[int]] = []
    waited.part.log._writer._sync_directory = in_the_round  # type: ignore[method-assign]
    waited.part.flusher.run_round()
    assert seen == [7]
    assert waited.told == ["flush"], "of the one that came in the round"
    waited.part.flusher.run_round()
    assert seen == [7, 8]


def test_one_that_nobody_leads_is_not_waited_for_longer_than_asked() -> None:
    waited = Waited()
    pending = waited.append()
    waited.part.flusher._is_running = True  # somebody else's round, which does not end
    with pytest.raises(RequestTimeoutError):
        pending.result(0.01)
    waited.part.flusher._is_running = False
    assert pending.result(1) == 7


def test_a_failed_sync_ends_it_with_the_partitions_error() -> None:
    waited = Waited()
    first, second = waited.append(), waited.append()
    seen: list[LogStoreError | None] = []
    second.add_done_callback(lambda done: seen.append(done.error))
    waited.part.memory.inject("sync", errno.EIO, path_contains=".log")
    with pytest.raises(StorageFailedError):
        first.result(1)
    assert isinstance(second.error, StorageFailedError)
    assert seen == [second.error]


def test_closing_ends_what_was_not_flushed_and_leaves_what_was() -> None:
    waited = Waited()
    flushed = waited.append()
    waited.part.flusher.run_round()
    lost = waited.append()
    waited.part.memory.inject("sync", errno.EIO, path_contains=".log")
    waited.part.close()
    assert flushed.result(0) == 7
    assert isinstance(lost.error, StorageFailedError)
    waited = Waited()
    pending = waited.append()
    waited.part.log._writer.stop(StoreClosedError("closed"))
    with pytest.raises(StoreClosedError):
        pending.result(1)


def test_with_page_cache_it_is_over_at_once() -> None:
    part = Partition(durability="page_cache")
    appended = part.log.append(encode_batch([b"v"], timestamps=1), flush=Flush.LED)
    pending = pending_flush(part.log, part.flusher, appended.last_offset, 7)
    assert not isinstance(pending, PendingFlush)
    assert pending.done
    assert pending.result(0) == 7


def test_what_follows_a_flush_that_failed_fails_too() -> None:
    waited = Waited()
    applied: list[int] = []
    seen: list[LogStoreError | None] = []
    pending = waited.append()
    following = pending.then(applied.append)
    following.add_done_callback(lambda done: seen.append(done.error))
    waited.part.memory.inject("sync", errno.EIO, path_contains=".log")
    waited.part.flusher.run_round()
    assert applied == []
    assert [type(error) for error in seen] == [StorageFailedError]
    assert isinstance(following.error, StorageFailedError)
    with pytest.raises(StorageFailedError):
        following.result(0)
