"""What a store is asked in a torture run: all that it holds, and how far its groups are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import logstore
from logstore.errors import StorageFailedError
from logstore.remote import RemoteConfig
from logstore.v1 import common_pb2
from logstore.v1 import consume_service_pb2 as consume
from tests.server.rpc.stubs import Stubs
from tests.torture.checker import Claims, Stored
from tests.torture.traffic import CONNECT_MS, GROUP, Traffic

# Without a commit of the group. The longest that it may wait for is a member's session (30 s).
STANDSTILL_SECONDS = 60.0
ANSWER_MS = 120_000
READ_SECONDS_MAX = 300.0
SILENCE_SECONDS = 0.2  # before it is asked whether there is more to read


def connect(address: str) -> logstore.Store:
    """For what is asked or prepared: it is not what is tested, and may take its time."""
    config = RemoteConfig(connect_timeout_ms=CONNECT_MS, request_timeout_ms=ANSWER_MS)
    return logstore.connect(address, config=config)


def committed_offsets(address: str, topic: str, partitions: int, group: str = GROUP) -> list[int]:
    """Of the group, per partition; 0 where nothing is committed."""
    with connect(address) as store:
        found = {
            item.partition: max(item.offset, 0)
            for item in store.committed_offsets(group)
            if item.topic == topic
        }
    return [found.get(partition, 0) for partition in range(partitions)]


def take_claims(address: str, topic: str, partitions: int, traffic: Traffic) -> Claims:
    floors = traffic.group.floors()
    committed = committed_offsets(address, topic, partitions)
    traffic.group.found_committed(floors, dict(enumerate(committed)))
    return Claims(traffic.ledgers, traffic.group, committed)


def read_all(
    address: str,
    topic: str,
    partitions: int,
    *,
    to_the_end: bool = True,
    may_be_unserved: bool = False,
) -> Stored:
    """All that is visible when it is called; not `to_the_end`: as far as it is decided, which is
    less where a transaction is open. Raises AssertionError if that takes too long, or if a
    partition is not served since it could not be opened and that may not be."""
    stored = Stored(partitions)
    with connect(address) as store, store.consumer() as consumer:
        infos = store.describe_topic(topic).partitions
        stored.starts = [info.log_start_offset for info in infos]
        unserved = {info.partition for info in infos if info.leader_epoch < 0}
        if unserved and not may_be_unserved:
            raise AssertionError(f"partitions {unserved} of {topic} are not served")
        for partition in unserved:
            stored.leave_out(partition)
        ends = {
            info.partition: info.high_watermark
            for info in infos
            if info.partition not in unserved and info.high_watermark > info.log_start_offset
        }
        consumer.assign([(topic, partition) for partition in ends])
        consumer.seek_to_beginning()
        deadline = time.monotonic() + READ_SECONDS_MAX
        while left := {
            partition: position
            for partition, end in ends.items()
            if (position := consumer.position(topic, partition)) < end
        }:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{topic} could not be read to its ends {ends} in {READ_SECONDS_MAX} s: {left}"
                )
            try:
                parts = consumer.poll_batch(SILENCE_SECONDS)
            except StorageFailedError:  # told at the end of a partition that takes no writes
                time.sleep(SILENCE_SECONDS)
                continue
            for part in parts:
                for record in part.records:
                    stored.add(part.partition, record.offset, record.value)
            if not parts and not to_the_end and not _is_more(address, topic, left):
                break
    return stored


def _is_more(address: str, topic: str, positions: Mapping[int, int]) -> bool:
    """Whether there is anything to read at one of the positions, for readers of what is decided."""
    request = consume.FetchRequest(
        positions=[
            consume.Position(topic=topic, partition=partition, offset=offset)
            for partition, offset in positions.items()
        ],
        bytes_max=1,
        isolation=common_pb2.ISOLATION_READ_COMMITTED,
    )
    with Stubs(address) as stubs:
        return bool(stubs.consume.Fetch(request, timeout=ANSWER_MS / 1000).partitions)


def wait_for_group(
    address: str, topic: str, partitions: int, traffic: Traffic, group: str = GROUP
) -> None:
    """Until the group has committed all that is visible. When it does not get on, what the clients
    of `traffic` and the group are at."""
    wait_for_commits(
        lambda: _how_far(address, topic, partitions, group),
        lambda: f"{group} does not get on\n{traffic.states()}\n{_described(address, group)}",
    )


def wait_for_commits(
    how_far: Callable[[], tuple[Sequence[int], Sequence[int]]],
    why: Callable[[], str],
    *,
    standstill_seconds: float = STANDSTILL_SECONDS,
) -> None:
    """Until the former offsets have reached the latter. Raises AssertionError when the former do
    not move for so long."""
    last: Sequence[int] = ()
    moved_at = time.monotonic()
    while True:
        committed, ends = how_far()
        if committed == ends:
            return
        if committed != last:
            last, moved_at = committed, time.monotonic()
        elif time.monotonic() - moved_at > standstill_seconds:
            raise AssertionError(f"at {committed} of {ends} for {standstill_seconds} s: {why()}")
        time.sleep(0.1)


def _how_far(address: str, topic: str, partitions: int, group: str) -> tuple[list[int], list[int]]:
    """Committed offsets and high watermarks."""
    with connect(address) as store:
        ends = [info.high_watermark for info in store.describe_topic(topic).partitions]
    return committed_offsets(address, topic, partitions, group), ends


def _described(address: str, group: str) -> str:
    with connect(address) as store:
        return str(store.describe_group(group))
