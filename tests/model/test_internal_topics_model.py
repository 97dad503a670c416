"""The topics of committed offsets and of transactions are compacted under their users: whatever was
answered is there after each opening, however little is left of the logs."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from logstore import catalog
from logstore.api import OffsetToCommit, ProducerIdentity, TopicPartition, TopicSpec
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import ManualClock, MemoryFileSystem

GROUPS = ("a", "b", "c")
PARTITIONS = 4
STEPS = 250


class Running:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.fs = MemoryFileSystem(seed)
        self.clock = ManualClock()
        self.cleanings = 0
        self.offsets: dict[tuple[str, int], int] = {}
        self.open()
        self.store.create_topic(TopicSpec("t", PARTITIONS))
        for partition in range(PARTITIONS):
            self.store.append("t", partition, encode_batch([b"v"] * 1000)).result(5)
        self.init_producers()

    def init_producers(self) -> None:
        self.producers = {name: self.store.init_producer(name) for name in ("x", "y")}

    def open(self) -> None:
        self.store = LocalLogStore.open("store", fs=self.fs, clock=self.clock)

    def one(self, group: str) -> list[OffsetToCommit]:
        number = self.chance.randrange(1000)
        return [
            OffsetToCommit("t", partition, number, metadata="m" * self.chance.randrange(2000))
            for partition in self.chance.sample(range(PARTITIONS), 2)
        ]

    def note(self, group: str, commits: list[OffsetToCommit]) -> None:
        self.offsets |= {(group, commit.partition): commit.offset for commit in commits}

    def step(self) -> None:
        group = self.chance.choice(GROUPS)
        kind = self.chance.choices(
            ("commit", "transaction", "delete", "new producer", "clean", "wait", "reopen"),
            (8, 8, 1, 1, 4, 1, 1),
        )[0]
        if kind == "commit":
            commits = self.one(group)
            self.store.commit_offsets(group, commits).result(5)
            self.note(group, commits)
        elif kind == "transaction":
            self.transact(group)
        elif kind == "delete":
            part = TopicPartition("t", self.chance.randrange(PARTITIONS))
            if (group, part.partition) in self.offsets:
                self.store.delete_offsets(group, [part])
                del self.offsets[group, part.partition]
        elif kind == "new producer":
            name = self.chance.choice(("x", "y"))
            self.producers[name] = self.store.init_producer(name)
        elif kind == "clean":
            before = self.store._cleaner.cleaned
            self.clock.advance(60)
            self.store.run_maintenance()
            while self.store._cleaner.is_busy:
                self.store.run_maintenance()
            self.cleanings += self.store._cleaner.cleaned - before
        elif kind == "wait":
            self.clock.advance(86400)
        else:
            self.reopen()

    def transact(self, group: str) -> None:
        name = self.chance.choice(("x", "y"))
        producer: ProducerIdentity = self.producers[name]
        commits = self.one(group)
        self.store.commit_offsets_in_transaction(name, producer, group, commits)
        is_committed = self.chance.random() < 0.6
        self.producers[name] = self.store.end_transaction(name, producer, commit=is_committed)
        if is_committed:
            self.note(group, commits)

    def reopen(self) -> None:
        how = self.chance.choice(("close", "kill", "power_loss"))
        if how == "close":
            self.store.close()
        elif how == "kill":
            self.fs.kill()
        else:
            self.fs.power_loss()
        self.open()
        if how == "power_loss":  # all were fenced
            self.init_producers()
        self.check()

    def check(self) -> None:
        found = {
            (group, each.partition): each.offset
            for group in GROUPS
            for each in self.store.committed_offsets(group)
        }
        assert found == self.offsets

    def size(self, topic: str) -> int:
        return self.store.describe_topics([topic])[0].partitions[0].size_bytes


@pytest.mark.parametrize("seed", range(6))
def test_what_was_committed_outlives_compaction(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = catalog.internal_config

    def small_segments(name: str) -> Mapping[str, str]:
        return {**configs(name), "segment_bytes": str(16 << 10)}

    monkeypatch.setattr(catalog, "internal_config", small_segments)
    run = Running(seed)
    for _ in range(STEPS):
        run.step()
    run.reopen()
    assert run.cleanings >= 3
    assert run.size(catalog.OFFSETS_TOPIC) < 100_000 < STEPS * 1500 / 2
    run.store.close()
