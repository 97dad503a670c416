from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.txn_client import add, end, init, put
from tests.server.kafka.wire import Wire
from tests.txn.test_crashes import read

PART = ("t", 0)


@pytest.fixture(autouse=True)
def topic(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 2))


@pytest.mark.parametrize("version", range(5))
def test_version_one_keeps_its_epoch(wire: Wire, store: LocalLogStore, version: int) -> None:
    producer = init(wire)
    for turn in range(4):
        assert add(wire, producer, {"t": [0]}) == {PART: 0}
        assert put(wire, producer, b"%d" % turn, turn) == 0
        for _ in range(2):  # asked again: the answer was lost
            assert end(wire, producer, commit=turn % 2 == 0, version=version).error_code == 0
    assert read(store, PART) == [b"0", b"2"]
    contrary = end(wire, producer, commit=True, version=version)
    assert contrary.error_code == ErrorCode.INVALID_TXN_STATE


def test_version_two_tells_who_the_producer_is_now(wire: Wire, store: LocalLogStore) -> None:
    producer = init(wire)
    for turn in range(3):
        assert put(wire, producer, b"%d" % turn, 0, version=12) == 0
        answers = [end(wire, producer, commit=turn != 1, version=5) for _ in range(2)]
        assert answers[0] == answers[1]
        late = put(wire, producer, b"late", 1, version=12)
        assert late == ErrorCode.INVALID_PRODUCER_EPOCH
        epoch = answers[0].producer_epoch
        assert epoch > producer.producer_epoch
        producer = producer._replace(producer_epoch=epoch)
    assert read(store, PART) == [b"0", b"2"]


@pytest.mark.parametrize("version", range(6))
def test_who_is_over_is_fenced_and_nothing_is_not_committed(wire: Wire, version: int) -> None:
    old = init(wire)
    empty = end(wire, old, version=version)
    assert empty.error_code == ErrorCode.INVALID_TXN_STATE
    init(wire)
    fenced = ErrorCode.PRODUCER_FENCED if version >= 2 else ErrorCode.INVALID_PRODUCER_EPOCH
    for commit in (True, False):
        assert end(wire, old, commit=commit, version=version).error_code == fenced
    stranger = old._replace(producer_id=999)
    unknown = end(wire, stranger, version=version).error_code
    assert unknown == ErrorCode.INVALID_PRODUCER_ID_MAPPING
