from __future__ import annotations

import logging
from operator import attrgetter

import pytest

from logstore.api import OFFSET_UNKNOWN, Appended
from logstore.client.delivery import Deliveries, Delivery
from logstore.client.producer_core import Batch, PartitionQueue, ProducerSettings
from logstore.errors import RequestTimeoutError, StorageFailedError

is_done = attrgetter("done")
STORED = Appended(10, 12, -1, 0, False)


@pytest.fixture
def expedited() -> list[Batch]:
    return []


@pytest.fixture
def queue(expedited: list[Batch]) -> PartitionQueue:
    return PartitionQueue("t", 3, ProducerSettings(), 1024, expedited.append)


def test_a_delivery_is_where_its_record_is(queue: PartitionQueue) -> None:
    batch = queue.open_batch(0.0)
    delivery = Delivery(batch, 2, 77)
    assert not is_done(delivery)
    assert delivery.error is None
    batch.pending.set_result(STORED)
    assert is_done(delivery)
    assert delivery.result() == ("t", 3, 12, 77)


def test_the_logs_time_goes_before_the_producers(queue: PartitionQueue) -> None:
    batch = queue.open_batch(0.0)
    batch.pending.set_result(STORED._replace(log_append_time_ms=99))
    assert Delivery(batch, 0, 77).result().timestamp == 99


def test_waiting_for_a_result_does_not_linger(
    queue: PartitionQueue, expedited: list[Batch]
) -> None:
    batch = queue.open_batch(0.0)
    with pytest.raises(RequestTimeoutError):
        Delivery(batch, 0, 77).result(0)
    with pytest.raises(RequestTimeoutError):
        Deliveries([(batch, 0, 1)]).result(0)
    assert expedited == [batch, batch]
    batch.pending.set_result(STORED)
    Delivery(batch, 0, 77).expedite()
    Deliveries([(batch, 0, 1)]).expedite()
    assert expedited == [batch, batch]


def test_an_error_is_raised_and_shown(queue: PartitionQueue) -> None:
    batch = queue.open_batch(0.0)
    batch.pending.set_error(StorageFailedError("gone"))
    delivery = Delivery(batch, 0, 77)
    assert isinstance(delivery.error, StorageFailedError)
    with pytest.raises(StorageFailedError):
        delivery.result()
    with pytest.raises(StorageFailedError):
        Deliveries([(batch, 0, 1)]).result()


def test_deliveries_are_runs(queue: PartitionQueue) -> None:
    first, second = queue.open_batch(0.0), queue.open_batch(0.0)
    together = Deliveries([(first, 1, 2), (second, 0, 5)])
    assert len(together) == 7
    first.pending.set_result(STORED)
    assert not is_done(together)
    second.pending.set_result(STORED._replace(base_offset=13))
    assert is_done(together)
    assert together.result() == [("t", 3, 11, 2), ("t", 3, 13, 5)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_deliveries_call_back_once_when_all_are_done(
    queue: PartitionQueue, order: tuple[int, ...]
) -> None:
    batches = [queue.open_batch(0.0) for _ in range(3)]
    together = Deliveries([(batch, 0, 1) for batch in batches])
    told: list[Deliveries] = []
    together.add_callback(told.append)
    for place in order:
        assert told == []
        batches[place].pending.set_result(STORED)
    assert told == [together]
    together.add_callback(told.append)
    assert told == [together, together]


def test_a_callback_that_fails_is_logged_and_harms_nobody(
    queue: PartitionQueue, caplog: pytest.LogCaptureFixture
) -> None:
    batch = queue.open_batch(0.0)
    told: list[Delivery] = []

    def fail(_: object) -> None:
        raise ZeroDivisionError

    delivery = Delivery(batch, 0, 77)
    delivery.add_callback(fail)
    delivery.add_callback(told.append)
    Deliveries([(batch, 0, 1)]).add_callback(fail)
    with caplog.at_level(logging.ERROR, "logstore.client.delivery"):
        batch.pending.set_result(STORED)
    assert told == [delivery]
    assert len(caplog.records) == 2


def test_a_store_that_does_not_know_the_offset_gives_none(queue: PartitionQueue) -> None:
    batch = queue.open_batch(0.0)
    batch.pending.set_result(STORED._replace(base_offset=OFFSET_UNKNOWN))
    assert Delivery(batch, 3, 77).result().offset == OFFSET_UNKNOWN
    (run,) = Deliveries([(batch, 3, 1)]).result()
    assert run.base_offset == OFFSET_UNKNOWN
