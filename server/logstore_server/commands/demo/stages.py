"""The demo's steps. Each reads or writes the log and says how many records it should have seen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logstore_server.commands.demo.flights import Flight
from logstore_server.commands.demo.members import GroupOfMembers, Member
from logstore_server.commands.values import parse_time

if TYPE_CHECKING:
    from logstore.client import Store

TOPIC, PARTITIONS, MEMBERS = "flights", 6, 3
REPLAY_FROM = "2013-07-01T00:00Z"
STALL_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One step: what it was, what it should have counted and did, and the time it took.

    `call`: the method that moved the records. `complaints`: what is wrong beyond the count.
    """

    name: str
    call: str
    expected: int
    counted: int
    seconds: float
    complaints: tuple[str, ...] = ()

    @property
    def is_right(self) -> bool:
        return self.counted == self.expected and not self.complaints


@dataclass(frozen=True, slots=True)
class Report:
    stages: tuple[Stage, ...]
    members: tuple[Member, ...]
    null_keys: int
    size_bytes: int
    lag: int  # of the group of three, when it was done

    @property
    def is_right(self) -> bool:
        return all(stage.is_right for stage in self.stages) and self.lag == 0


def run_stages(store: Store, flights: Sequence[Flight]) -> Report:
    store.create_topic(TOPIC, partitions=PARTITIONS)
    produced = produce(store, flights)
    members, shared = share(store, len(flights))
    read = read_all(store, flights)
    replayed = replay(store, flights)
    topic = store.describe_topic(TOPIC)
    group = store.describe_group("dashboard")
    return Report(
        stages=(produced, shared, read, replayed),
        members=tuple(members),
        null_keys=sum(flight.key is None for flight in flights),
        size_bytes=sum(partition.size_bytes for partition in topic.partitions),
        lag=sum(item.lag for item in group.offsets),
    )


def produce(store: Store, flights: Sequence[Flight]) -> Stage:
    """Send all, one call a record; done when the last is on disk."""
    began = time.monotonic()
    with store.producer() as producer:
        for key, row, timestamp_ms in flights:
            producer.send(TOPIC, value=row, key=key, timestamp_ms=timestamp_ms)
    seconds = time.monotonic() - began
    topic = store.describe_topic(TOPIC)
    stored = sum(partition.high_watermark for partition in topic.partitions)
    return Stage(f"produced into {PARTITIONS} partitions", "send", len(flights), stored, seconds)


def share(store: Store, expected: int) -> tuple[list[Member], Stage]:
    """A group of three: each record goes to one of them."""
    group = GroupOfMembers(
        store, TOPIC, group="dashboard", members=MEMBERS, partitions=PARTITIONS, expected=expected
    )
    members, seconds = group.run()
    counted = sum(len(member.seen) for member in members)
    distinct = len(set().union(*(member.seen for member in members)))
    complaints = () if distinct == counted else (f"{counted - distinct:,} came to more than one",)
    return members, Stage(
        f"shared by a group of {MEMBERS}", "poll", expected, counted, seconds, complaints
    )


def read_all(store: Store, flights: Sequence[Flight]) -> Stage:
    """A second group, of one: it gets everything again, here by columns."""
    parts = []
    counted = 0
    began = last = time.monotonic()
    with store.consumer(TOPIC, group="archive", auto_offset_reset="earliest") as consumer:
        while counted < len(flights) and time.monotonic() - last < STALL_TIMEOUT_S:
            for found in consumer.poll_columns():
                counted += len(found.columns)
                parts.append(found.columns)
                last = time.monotonic()
    sent = sorted(flight.row for flight in flights)
    values = sorted(value for part in parts for value in part.values() if value is not None)
    complaints = () if values == sent else ("the rows are not those that were sent",)
    return Stage(
        "read by a second group", "poll_columns", len(flights), counted, last - began, complaints
    )


def replay(store: Store, flights: Sequence[Flight]) -> Stage:
    """From a time on: each partition's first offset at or after it is looked up, then read."""
    start_ms = parse_time(REPLAY_FROM)
    expected = sum(flight.timestamp_ms >= start_ms for flight in flights)
    early = counted = 0
    began = last = time.monotonic()
    with store.consumer(TOPIC, auto_offset_reset="earliest") as consumer:
        consumer.seek_to_timestamp(start_ms)
        while counted < expected and time.monotonic() - last < STALL_TIMEOUT_S:
            for found in consumer.poll_columns():
                counted += len(found.columns)
                early += sum(time_ms < start_ms for time_ms in found.columns.timestamps)
                last = time.monotonic()
        counted += len(consumer.poll(0.1))  # nothing
    complaints = (f"{early:,} are older",) if early else ()
    return Stage(
        f"replayed from {REPLAY_FROM}", "poll_columns", expected, counted, last - began, complaints
    )
