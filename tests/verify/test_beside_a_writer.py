"""verify_store while the store's writer rolls, removes and replaces segments: no damage is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from logstore.api import Acks, TopicSpec
from logstore.fs import File
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import MemoryFileSystem
from logstore.verify import verify_store
from tests.verify.sample_store import ROOT, SMALL

CONFIGS = {
    "delete": {**SMALL, "retention_bytes": "30000"},
    "compact": {**SMALL, "cleanup_policy": "compact"},
}


class Interrupted:
    """A file system whose opening of the file of that number lets something else happen first."""

    def __init__(self, inner: MemoryFileSystem, number: int, action: Callable[[], None]) -> None:
        self._inner = inner
        self._left = number
        self._action = action

    def open(self, path: str, **options: bool) -> File:
        self._left -= 1
        if self._left == 0:
            self._action()
        return self._inner.open(path, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Writer:
    def __init__(self, policy: str) -> None:
        self.memory = MemoryFileSystem()
        self.store = LocalLogStore.open(ROOT, fs=self.memory)
        self.store.create_topic(TopicSpec("t", 1, CONFIGS[policy]))
        self._count = 0

    def write(self, count: int, *, flush: bool = True) -> None:
        for _ in range(count):
            self._count += 1
            batch = encode_batch(
                [bytes(900)], [b"%d" % (self._count % 7)], timestamps=1000 + self._count
            )
            self.store.append("t", 0, batch, acks=Acks.LEADER)
        if flush:
            self.store.run_flush()

    def forget(self) -> None:
        log = self.store._table.log("t", 0)
        log.apply_retention(0)
        for _ in log.cleaner.clean(secret=b"secret") if log.config.is_compacted else ():
            pass

    def everything(self) -> None:
        self.write(40)
        self.forget()


@pytest.mark.parametrize("number", range(1, 50, 4))
@pytest.mark.parametrize("action", ["write", "unsealed", "forget", "everything"])
@pytest.mark.parametrize("policy", CONFIGS)
def test_nothing_is_damaged_by_a_writer_at_work(policy: str, action: str, number: int) -> None:
    writer = Writer(policy)
    writer.write(75)
    actions: dict[str, Callable[[], None]] = {
        "write": lambda: writer.write(40),
        "unsealed": lambda: writer.write(40, flush=False),  # rolled, but no flush has sealed it
        "forget": writer.forget,
        "everything": writer.everything,
    }
    fs: Any = Interrupted(writer.memory, number, actions[action])
    report = verify_store(fs, ROOT)
    assert report.damages == []
    writer.store.close()
    assert verify_store(writer.memory, ROOT).findings == []


def test_a_rolled_segment_that_is_not_sealed_yet() -> None:
    writer = Writer("delete")
    writer.write(10)
    writer.write(12, flush=False)
    assert verify_store(writer.memory, ROOT).findings == []
