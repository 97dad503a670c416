from __future__ import annotations

import pytest

from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.txn_client import add_offsets, init
from tests.server.kafka.wire import Wire


@pytest.mark.parametrize("version", range(5))
def test_the_offsets_of_a_group_are_enrolled(
    wire: Wire, store: LocalLogStore, version: int
) -> None:
    producer = init(wire)
    assert add_offsets(wire, producer, version=version) == 0
    (part,) = store.transactions.describe("x").partitions
    assert part.topic == "__consumer_offsets"
    assert add_offsets(wire, producer, version=version, group="") == ErrorCode.INVALID_GROUP_ID
    init(wire)
    fenced = ErrorCode.PRODUCER_FENCED if version >= 2 else ErrorCode.INVALID_PRODUCER_EPOCH
    assert add_offsets(wire, producer, version=version) == fenced
