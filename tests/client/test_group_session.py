"""Members of one group, on an embedded store: partitions come, go and are lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import logstore
from logstore import Consumer, Store, StoreConfig
from logstore.api import TopicPartition
from logstore.config import GroupConfig
from logstore.errors import InvalidPatternError, LogStoreError, UnavailableError
from tests.client.test_consumer import SECONDS_MAX, committed, offsets, produce, until

ALL = {TopicPartition("t", number) for number in range(4)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    config = StoreConfig(group=GroupConfig(session_timeout_ms_min=100, heartbeat_interval_ms=100))
    with logstore.open(tmp_path / "data", config=config) as opened:
        opened.create_topic("t", partitions=4)
        yield opened


class Told:
    """Notes what the rebalance callbacks said, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, set[TopicPartition]]] = []

    def subscribe(self, consumer: Consumer, **which: Any) -> None:
        consumer.subscribe(
            **(which or {"topics": ["t"]}),
            on_assigned=lambda parts: self.calls.append(("assigned", set(parts))),
            on_revoked=lambda parts: self.calls.append(("revoked", set(parts))),
            on_lost=lambda parts: self.calls.append(("lost", set(parts))),
        )

    def of(self, kind: str) -> set[TopicPartition]:
        return {part for told, parts in self.calls if told == kind for part in parts}


def make(store: Store, **options: Any) -> Consumer:
    chosen: dict[str, Any] = {"group": "g", "auto_offset_reset": "earliest"}
    return store.consumer(**(chosen | options))


def test_a_second_member_gets_its_share_after_the_first_gave_it_up(store: Store) -> None:
    first, second = make(store), make(store)
    told_first, told_second = Told(), Told()
    told_first.subscribe(first)
    until(lambda: first.assignment() == ALL, first)
    assert told_first.calls == [("assigned", ALL)]
    told_second.subscribe(second)
    until(lambda: len(second.assignment()) == 2, first, second)
    until(lambda: len(first.assignment()) == 2, first, second)
    assert first.assignment() | second.assignment() == ALL
    assert told_first.of("revoked") == second.assignment() == told_second.of("assigned")
    second.close()
    assert told_second.of("revoked") == told_second.of("assigned")
    until(lambda: first.assignment() == ALL, first)
    assert told_first.of("lost") == told_second.of("lost") == set()


def test_given_up_partitions_are_committed_before_another_gets_them(store: Store) -> None:
    for number in range(4):
        produce(store, range(5), partition=number)
    first, second = make(store), make(store)
    first.subscribe(["t"])
    seen: list[tuple[int, int]] = []

    def read(consumer: Consumer) -> None:
        seen.extend(
            (record.partition, record.offset) for record in consumer.poll(0.01, max_records=1)
        )

    while len(seen) < 7:
        read(first)
    second.subscribe(["t"])
    while len(seen) < 20:
        read(first)
        read(second)
    assert sorted(seen) == [(part, offset) for part in range(4) for offset in range(5)]
    first.close()
    second.close()
    assert committed(store) == dict.fromkeys(range(4), 5)


def test_a_member_that_does_not_poll_gives_its_place_to_others(store: Store) -> None:
    idle, busy = make(store, max_poll_interval=0.2), make(store)
    told = Told()
    told.subscribe(idle)
    until(lambda: idle.assignment() == ALL, idle)
    busy.subscribe(["t"])
    until(lambda: busy.assignment() == ALL, busy)
    idle.poll(0)
    assert told.of("lost") == ALL
    until(lambda: len(idle.assignment()) == 2, idle, busy)
    assert told.calls[-1][0] == "assigned"


def test_a_member_the_group_took_for_dead_loses_everything_and_joins_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = store.log_store
    consumer = make(store, session_timeout=0.2, enable_auto_commit=False)
    told = Told()
    told.subscribe(consumer)
    until(lambda: consumer.assignment() == ALL, consumer)
    genuine = local.group_heartbeat
    cut = threading.Event()

    def heartbeat(request: Any, *, wait: float = 0.0) -> Any:
        if cut.is_set():
            raise UnavailableError("cut off")
        return genuine(request, wait=wait)

    monkeypatch.setattr(local, "group_heartbeat", heartbeat)
    cut.set()
    until(lambda: store.describe_group("g").members == (), consumer)
    until(lambda: told.of("lost") == ALL, consumer)
    cut.clear()
    until(lambda: consumer.assignment() == ALL, consumer)
    assert [kind for kind, _ in told.calls] == ["assigned", "lost", "assigned"]


def test_a_pattern_finds_topics_made_later(store: Store) -> None:
    consumer = make(store)
    Told().subscribe(consumer, pattern="ord.*")
    consumer.poll(0)
    store.create_topic("orders")
    store.create_topic("disorder")
    until(lambda: consumer.assignment() == {TopicPartition("orders", 0)}, consumer)


def test_partitions_added_later_are_noticed(store: Store) -> None:
    consumer = make(store)
    consumer.subscribe(["t"])
    until(lambda: consumer.assignment() == ALL, consumer)
    store.add_partitions("t", total=5)
    until(lambda: TopicPartition("t", 4) in consumer.assignment(), consumer)


def test_an_error_of_the_subscription_comes_from_poll(store: Store) -> None:
    consumer = make(store)
    consumer.subscribe(pattern="(")
    with pytest.raises(InvalidPatternError):
        until(lambda: False, consumer)


def test_static_members_keep_their_partitions_over_a_restart(store: Store) -> None:
    first, other = make(store, group_instance_id="one"), make(store, group_instance_id="two")
    first.subscribe(["t"])
    other.subscribe(["t"])
    until(lambda: len(other.assignment()) == len(first.assignment()) == 2, first, other)
    before = first.assignment()
    first.close()
    other.poll(0)
    assert len(other.assignment()) == 2
    again = make(store, group_instance_id="one")
    again.subscribe(["t"])
    until(lambda: again.assignment() == before, again, other)


def test_a_commit_after_a_rebalance_carries_the_new_epoch(store: Store) -> None:
    produce(store, range(3))
    first, second = make(store, enable_auto_commit=False), make(store)
    first.subscribe(["t"])
    assert offsets(first, SECONDS_MAX) == [0, 1, 2]
    second.subscribe(["t"])
    until(lambda: len(store.describe_group("g").members) == 2, second)
    first.commit()  # it has not polled since: it still owns what it read
    assert committed(store)[0] == 3


def test_a_commit_of_a_member_that_was_expelled_is_refused(store: Store) -> None:
    produce(store, range(3))
    idle = make(store, max_poll_interval=0.2, enable_auto_commit=False)
    idle.subscribe(["t"])
    assert offsets(idle, SECONDS_MAX) == [0, 1, 2]
    until(lambda: store.describe_group("g").members == ())
    with make(store) as other:
        other.subscribe(["t"])
        until(lambda: other.assignment() == ALL, other)
        with pytest.raises(LogStoreError) as caught:
            idle.commit()
        assert not caught.value.retriable
        assert len(store.describe_group("g").members) == 1
