"""Fetches of an open store, where something else happens to its partitions meanwhile."""

from __future__ import annotations

import pytest

from logstore.api import FetchPosition, TopicSpec
from logstore.log import Lease
from logstore.reader import without_aborted
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import ManualClock, MemoryFileSystem
from tests.txn.test_crashes import put, values

LIMIT = 1 << 20


def test_what_retention_forgets_while_it_is_read_is_aborted_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = LocalLogStore.open("store", fs=MemoryFileSystem(), clock=ManualClock())
    store.create_topic(TopicSpec("t", 1))
    producer = store.init_producer("x")
    put(store, ("t", 0), producer, b"aborted", 0)
    store.end_transaction("x", producer, commit=False)
    store.append("t", 0, encode_batch([b"kept"])).result(5)
    log = store._table.log("t", 0)
    read = log.read

    def slow_read(
        offset: int, *, bytes_max: int, up_to: int | None = None, cold_ok: bool = False
    ) -> Lease:
        lease = read(offset, bytes_max=bytes_max, up_to=up_to, cold_ok=cold_ok)
        log.delete_records(log.high_watermark)
        return lease

    monkeypatch.setattr(log, "read", slow_read)
    position = FetchPosition("t", 0, 0, LIMIT)
    with store.fetch([position], bytes_max=LIMIT, read_committed=True, cold_ok=True) as result:
        (item,) = result.partitions
        assert values(without_aborted(item)) == [b"kept"]
    store.close()
