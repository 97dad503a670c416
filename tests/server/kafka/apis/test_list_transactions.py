from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.txn_client import add, init
from tests.server.kafka.wire import Wire


@pytest.fixture(autouse=True)
def three(wire: Wire, store: LocalLogStore) -> list[int]:
    """Of ids a-1, a-2 and b: a-2 is open."""
    store.create_topic(TopicSpec("t"))
    producers = [init(wire, name) for name in ("a-1", "a-2", "b")]
    assert add(wire, producers[1], {"t": [0]}, name="a-2") == {("t", 0): 0}
    return [producer.producer_id for producer in producers]


def ask(wire: Wire, version: int = 2, **filters: object) -> list[str]:
    fields = {"state_filters": (), "producer_id_filters": ()} | filters
    answer = wire.ask("list_transactions", version, **fields)
    assert answer.error_code == 0
    return [item.transactional_id for item in answer.transaction_states]


@pytest.mark.parametrize("version", range(3))
def test_filters(wire: Wire, three: list[int], version: int) -> None:
    assert ask(wire, version) == ["a-1", "a-2", "b"]
    assert ask(wire, version, state_filters=["Ongoing"]) == ["a-2"]
    assert ask(wire, version, state_filters=["Empty", "Dead"]) == ["a-1", "b"]
    assert ask(wire, version, producer_id_filters=[three[2], 999]) == ["b"]


def test_durations_and_patterns(wire: Wire) -> None:
    assert ask(wire, 1, duration_filter=60_000) == []
    assert ask(wire, transactional_id_pattern="a-.*") == ["a-1", "a-2"]
    assert ask(wire, transactional_id_pattern="a") == []
    assert ask(wire, transactional_id_pattern="") == ["a-1", "a-2", "b"]


def test_what_is_not_known_is_told(wire: Wire) -> None:
    answer = wire.ask(
        "list_transactions", 2, state_filters=["Sleeping", "Ongoing"], producer_id_filters=()
    )
    assert list(answer.unknown_state_filters) == ["Sleeping"]
    assert [item.transaction_state for item in answer.transaction_states] == ["Ongoing"]
    broken = wire.ask(
        "list_transactions",
        2,
        state_filters=(),
        producer_id_filters=(),
        transactional_id_pattern="(",
    )
    assert broken.error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
