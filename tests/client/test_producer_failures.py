"""What a producer does when its store, its topic or its own thread fails: everybody is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from logstore.client import Producer
from logstore.errors import (
    ClientClosedError,
    LogStoreError,
    StorageFailedError,
    UnknownTopicError,
)
from tests.client.scripted_store import SECONDS_MAX, ScriptedStore
from tests.client.test_producer import Made


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore("t")


@pytest.fixture
def make() -> Iterator[Made]:
    made = Made()
    yield made
    made.close()


def test_no_producer_id_for_good_is_told_without_asking(make: Made, store: ScriptedStore) -> None:
    store.init_errors = [StorageFailedError("disk gone")]
    told = threading.Event()
    make(store, linger_ms=0, on_delivery=lambda _: told.set()).send("t", b"x")
    assert told.wait(SECONDS_MAX)


def test_a_topic_that_is_gone_is_told_by_the_next_send(make: Made, store: ScriptedStore) -> None:
    producer = make(store, linger_ms=0)
    delivery = producer.send("t", b"x")
    del store.topics["t"]
    store.wait_for(1)[0].fail(UnknownTopicError("gone"))
    with pytest.raises(UnknownTopicError):
        delivery.result(SECONDS_MAX)
    with pytest.raises(UnknownTopicError):
        producer.send("t", b"y")
    store.topics["t"] = 4
    store.answer_all()
    assert producer.send("t", b"z", partition=3).result(SECONDS_MAX).partition == 3


def test_an_append_that_raises_is_an_answer(make: Made, store: ScriptedStore) -> None:
    def fail(_: object) -> None:
        raise StorageFailedError("raised, not pending")

    store.on_append = fail
    producer = make(store, linger_ms=0)
    with pytest.raises(StorageFailedError):
        producer.send("t", b"x").result(SECONDS_MAX)
    store.answer_all()
    assert producer.send("t", b"y").result(SECONDS_MAX).partition == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_thread_ends_every_wait(store: ScriptedStore) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    store.on_append = fail
    producer = Producer(store.as_log_store, linger_ms=0)
    with pytest.raises(LogStoreError, match="ZeroDivisionError"):
        producer.send("t", b"x").result(SECONDS_MAX)
    producer.close(SECONDS_MAX)
    with pytest.raises(ClientClosedError):
        producer.send("t", b"y")
