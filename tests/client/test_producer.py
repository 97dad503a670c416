from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from logstore.api import Acks
from logstore.client import Delivery, Producer
from logstore.client.partitioners import murmur3
from logstore.client.producer import TOPIC_AGE_MAX
from logstore.errors import (
    BatchTooLargeError,
    BufferFullError,
    ClientClosedError,
    DiskFullError,
    InvalidRequestError,
    LogStoreError,
    RequestTimeoutError,
    StorageFailedError,
    UnavailableError,
    UnknownPartitionError,
    UnknownTopicError,
)
from logstore.record import decode_records
from logstore.testing import ManualClock
from tests.client.scripted_store import SECONDS_MAX, ScriptedStore

FOREVER_MS = 3_600_000.0


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore("t")


@pytest.fixture
def wide() -> ScriptedStore:
    return ScriptedStore("t", partitions=4)


class Made:
    """Producers of a test, closed at its end whatever they still wait for."""

    def __init__(self) -> None:
        self._producers: list[tuple[Producer, ScriptedStore]] = []

    def __call__(self, store: ScriptedStore, **options: object) -> Producer:
        producer = Producer(store.as_log_store, **options)  # type: ignore[arg-type]
        self._producers.append((producer, store))
        return producer

    def close(self) -> None:
        for producer, store in self._producers:
            store.answer_all()
            producer.close(SECONDS_MAX)


@pytest.fixture
def make() -> Iterator[Made]:
    made = Made()
    yield made
    made.close()


# --- batches ----------------------------------------------------------------------------------


def test_records_of_one_linger_go_in_one_batch(make: Made, store: ScriptedStore) -> None:
    producer = make(store, linger_ms=FOREVER_MS)
    deliveries = [producer.send("t", b"%d" % number, timestamp_ms=1000) for number in range(3)]
    assert store.appends == []
    first = threading.Thread(target=lambda: deliveries[1].result(SECONDS_MAX))
    first.start()  # whoever waits for a result does not linger
    (call,) = store.wait_for(1)
    assert call.values == [b"0", b"1", b"2"]
    call.store(base_offset=7)
    first.join()
    assert [item.result(SECONDS_MAX).offset for item in deliveries] == [7, 8, 9]
    assert deliveries[0].result() == ("t", 0, 7, 1000)


def test_a_batch_is_sent_when_its_linger_is_over(make: Made, store: ScriptedStore) -> None:
    producer = make(store, linger_ms=1)
    producer.send("t", b"x")
    assert store.wait_for(1)[0].values == [b"x"]


def test_a_full_batch_is_sent_at_once(make: Made, store: ScriptedStore) -> None:
    producer = make(store, linger_ms=FOREVER_MS, batch_bytes=1024)
    for _ in range(3):
        producer.send("t", bytes(500))
    assert len(store.wait_for(1)[0].values) == 1
    assert len(store.appends[0].batch) <= 1024


def test_a_record_larger_than_a_batch_gets_its_own(make: Made, store: ScriptedStore) -> None:
    store.answer_all()
    producer = make(store, batch_bytes=1024)
    producer.send("t", b"small")
    producer.send("t", bytes(5000))
    producer.flush(SECONDS_MAX)
    assert [len(call.values[0] or b"") for call in store.appends] == [5, 5000]


def test_a_record_has_all_it_was_sent_with(make: Made, store: ScriptedStore) -> None:
    producer = make(store, compression="zstd")
    producer.send("t", None, b"key", headers=[("a", b"1"), ("a", None)], timestamp_ms=5)
    producer.send("t", b"value" * 100, headers={"b": b"2"}, timestamp_ms=6)
    producer.send("t", b"value")
    (call, *_) = store.wait_for(1)
    store.answer_all()
    producer.flush(SECONDS_MAX)
    records = [
        record
        for call in store.appends
        for record in decode_records(call.batch, decompressed_bytes_max=1 << 20)
    ]
    assert (records[0].key, records[0].value, records[0].timestamp) == (b"key", None, 5)
    assert list(records[0].headers) == [("a", b"1"), ("a", None)]
    assert list(records[1].headers) == [("b", b"2")]
    assert records[2].timestamp > 1_600_000_000_000
    assert call.acks is Acks.ALL


@pytest.mark.parametrize(("acks", "sent"), [("all", Acks.ALL), (1, Acks.LEADER), (0, Acks.NONE)])
def test_acks_are_passed_on(make: Made, store: ScriptedStore, acks: object, sent: Acks) -> None:
    producer = make(store, acks=acks)
    producer.send("t", b"x")
    (call,) = store.wait_for(1)
    assert call.acks is sent
    assert (call.place[0] >= 0) == (sent is Acks.ALL), "only acks=all is idempotent"


def test_the_logs_time_is_told_where_the_topic_keeps_it(make: Made, store: ScriptedStore) -> None:
    producer = make(store)
    delivery = producer.send("t", b"x", timestamp_ms=1)
    store.wait_for(1)[0].store(log_append_time_ms=99)
    assert delivery.result(SECONDS_MAX).timestamp == 99


# --- partitions -------------------------------------------------------------------------------


def test_a_key_decides_the_partition(make: Made, wide: ScriptedStore) -> None:
    wide.answer_all()
    producer = make(wide)
    for number in range(50):
        key = b"key-%d" % number
        assert producer.send("t", b"v", key).result(SECONDS_MAX).partition == murmur3(key) % 4


def test_a_named_partition_wins_over_the_key(make: Made, wide: ScriptedStore) -> None:
    wide.answer_all()
    producer = make(wide)
    for partition in range(4):
        done = producer.send("t", b"v", b"key", partition=partition)
        assert done.result(SECONDS_MAX).partition == partition


def test_keyless_records_change_partition_from_batch_to_batch(
    make: Made, wide: ScriptedStore
) -> None:
    wide.answer_all()
    producer = make(wide, linger_ms=FOREVER_MS)
    seen = []
    for _ in range(8):
        together = [producer.send("t", b"v") for _ in range(10)]
        producer.flush(SECONDS_MAX)
        (partition,) = {done.result(SECONDS_MAX).partition for done in together}
        seen.append(partition)
    assert sorted(seen) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_full_batches_of_keyless_records_spread(make: Made, wide: ScriptedStore) -> None:
    wide.answer_all()
    producer = make(wide, linger_ms=FOREVER_MS, batch_bytes=1024)
    for _ in range(80):
        producer.send("t", bytes(400))
    producer.flush(SECONDS_MAX)
    assert {call.partition for call in wide.appends} == {0, 1, 2, 3}


def test_partitions_added_meanwhile_are_used(make: Made, store: ScriptedStore) -> None:
    clock = ManualClock()
    store.answer_all()
    producer = make(store, linger_ms=0, clock=clock)
    producer.send("t", b"x")
    store.topics["t"] = 2
    with pytest.raises(UnknownPartitionError):
        producer.send("t", b"x", partition=1)
    clock.advance(TOPIC_AGE_MAX)
    deadline = threading.Event()
    while True:  # the thread looks when it is woken by the next record
        producer.send("t", b"x", partition=0)
        try:
            assert producer.send("t", b"x", partition=1).result(SECONDS_MAX).partition == 1
            return
        except UnknownPartitionError:
            deadline.wait(0.001)


# --- send_many --------------------------------------------------------------------------------


def test_send_many_without_keys(make: Made, wide: ScriptedStore) -> None:
    wide.answer_all()
    producer = make(wide, batch_bytes=2048)
    values = [b"%0100d" % number for number in range(200)]
    deliveries = producer.send_many("t", values)
    assert len(deliveries) == 200
    runs = deliveries.result(SECONDS_MAX)
    assert sum(run.records for run in runs) == 200
    assert {run.partition for run in runs} == {0, 1, 2, 3}
    stored = sorted(value for call in wide.appends for value in call.values if value)
    assert stored == values


def test_send_many_with_keys_keeps_the_order_of_each_key(make: Made, wide: ScriptedStore) -> None:
    wide.answer_all()
    producer = make(wide, batch_bytes=1024)
    keys = [b"key-%d" % (number % 7) if number % 5 else None for number in range(300)]
    values = [b"%d" % number for number in range(300)]
    producer.send_many("t", values, keys, timestamps_ms=list(range(300))).result(SECONDS_MAX)
    seen: dict[bytes, list[int]] = {}
    total = 0
    for call in wide.appends:
        for record in decode_records(call.batch, decompressed_bytes_max=1 << 20):
            total += 1
            assert record.value == b"%d" % record.timestamp
            assert record.key == keys[record.timestamp]
            if record.key is not None:
                assert call.partition == murmur3(record.key) % 4
                seen.setdefault(record.key, []).append(record.timestamp)
    assert total == 300
    assert all(places == sorted(places) for places in seen.values())
    assert len(seen) == 7


def test_send_many_to_one_partition(make: Made, wide: ScriptedStore) -> None:
    wide.answer_all(base_offset=0)
    producer = make(wide)
    producer.send("t", b"before", partition=2)
    deliveries = producer.send_many("t", [b"a", None, b"c"], [b"k"] * 3, partition=2)
    assert deliveries.result(SECONDS_MAX) == [("t", 2, 1, 3)]
    assert deliveries.done


def test_columns_of_send_many_are_of_one_length(make: Made, store: ScriptedStore) -> None:
    producer = make(store)
    with pytest.raises(InvalidRequestError, match="differ in length"):
        producer.send_many("t", [b"a"], [b"k", b"l"])
    with pytest.raises(InvalidRequestError, match="differ in length"):
        producer.send_many("t", [b"a"], timestamps_ms=[])
    assert producer.send_many("t", []).result(SECONDS_MAX) == []


# --- what is refused --------------------------------------------------------------------------


def test_unknown_topics_and_partitions_are_told_at_once(make: Made, wide: ScriptedStore) -> None:
    producer = make(wide)
    with pytest.raises(UnknownTopicError):
        producer.send("nowhere", b"x")
    with pytest.raises(UnknownPartitionError, match="0 to 3"):
        producer.send("t", b"x", partition=4)
    with pytest.raises(UnknownPartitionError):
        producer.send("t", b"x", partition=-1)
    with pytest.raises(UnknownPartitionError):
        producer.send_many("t", [b"x"], partition=4)


def test_a_record_over_the_topics_limit_is_refused_and_the_rest_goes_on(make: Made) -> None:
    store = ScriptedStore("t", max_message_bytes=2000)
    store.answer_all()
    producer = make(store)
    producer.send("t", b"before")
    with pytest.raises(BatchTooLargeError, match="max_message_bytes") as caught:
        producer.send("t", bytes(2001))
    assert caught.value.details["max_message_bytes"] == "2000"
    with pytest.raises(BatchTooLargeError):
        producer.send_many("t", [b"fits", bytes(2001)])
    producer.send("t", b"after")
    producer.flush(SECONDS_MAX)
    values = [value for call in store.appends for value in call.values]
    assert values == [b"before", b"fits", b"after"]


def test_a_value_of_a_wrong_type_is_refused_and_the_rest_goes_on(
    make: Made, store: ScriptedStore
) -> None:
    store.answer_all()
    producer = make(store, linger_ms=0)
    for _ in range(2):  # once into a new batch, once behind another record
        with pytest.raises((InvalidRequestError, TypeError)):
            producer.send("t", "text")  # type: ignore[arg-type]
        with pytest.raises((InvalidRequestError, TypeError)):
            producer.send_many("t", ["text"])  # type: ignore[list-item]
        with pytest.raises((InvalidRequestError, TypeError)):
            producer.send_many("t", [b"good", "text"])  # type: ignore[list-item]
    assert producer.send("t", b"after").result(SECONDS_MAX).offset == 2
    producer.flush(SECONDS_MAX)
    values = [value for call in store.appends for value in call.values]
    assert values == [b"good", b"good", b"after"]


def test_a_batch_is_never_sent_empty(make: Made, wide: ScriptedStore) -> None:
    """Nothing lets the thread in between the opening of a batch and its first record."""
    wide.answer_all()
    producer = make(wide, linger_ms=0, batch_bytes=1024, buffer_bytes_max=4096)
    stop = threading.Event()

    def flush() -> None:
        while not stop.is_set():
            producer.flush(SECONDS_MAX)

    flushing = threading.Thread(target=flush)
    flushing.start()
    for _ in range(20):
        producer.send_many("t", [bytes(100)] * 100)
    stop.set()
    flushing.join(SECONDS_MAX)
    producer.flush(SECONDS_MAX)
    assert sum(len(call.values) for call in wide.appends) == 2000


@pytest.mark.parametrize(
    "options",
    [{"acks": 2}, {"batch_bytes": 100}, {"batch_bytes": 2048, "buffer_bytes_max": 2047}],
)
def test_options_out_of_range_are_refused(store: ScriptedStore, options: dict[str, int]) -> None:
    with pytest.raises(InvalidRequestError):
        Producer(store.as_log_store, **options)  # type: ignore[arg-type]


def test_an_unknown_compression_is_refused(store: ScriptedStore) -> None:
    with pytest.raises(LogStoreError, match="rar"):
        Producer(store.as_log_store, compression="rar")


# --- a full buffer ----------------------------------------------------------------------------


def test_a_full_buffer_blocks_send_until_something_is_stored(
    make: Made, store: ScriptedStore
) -> None:
    producer = make(store, linger_ms=0, batch_bytes=1024, buffer_bytes_max=2048)
    sent = []

    def send_all() -> None:
        for number in range(6):
            producer.send("t", b"%d" % number + bytes(900))
            sent.append(number)

    thread = threading.Thread(target=send_all)
    thread.start()
    store.wait_for(2)
    assert thread.is_alive()
    assert len(sent) < 6
    for count in range(1, 7):
        store.wait_for(count)[count - 1].store(count - 1)
    thread.join(SECONDS_MAX)
    assert [call.values[0][:1] for call in store.appends if call.values[0]] == [
        b"%d" % number for number in range(6)
    ]


def test_a_buffer_that_stays_full_is_told(make: Made, store: ScriptedStore) -> None:
    producer = make(store, linger_ms=0, batch_bytes=1024, buffer_bytes_max=2048, block_seconds=0.01)
    producer.send("t", bytes(900))
    producer.send("t", bytes(900))
    with pytest.raises(BufferFullError, match="buffer_bytes_max"):
        producer.send("t", bytes(900))
    assert producer.may_block("t", 900)
    store.answer_all()
    producer.flush(SECONDS_MAX)
    assert not producer.may_block("t", 900)
    producer.send("t", bytes(900))


def test_a_topic_not_known_yet_may_block(make: Made, store: ScriptedStore) -> None:
    producer = make(store)
    assert producer.may_block("t", 1)
    producer.send("t", b"x")
    assert not producer.may_block("t", 1)


# --- failures ---------------------------------------------------------------------------------


def test_what_may_pass_is_tried_again_in_order(make: Made, store: ScriptedStore) -> None:
    producer = make(store, linger_ms=0, batch_bytes=1024)
    deliveries = [producer.send("t", b"%d" % number + bytes(900)) for number in range(3)]
    first, second, third = store.wait_for(3)
    third.fail(UnavailableError("away"))
    first.store(0)
    late = producer.send("t", b"3" + bytes(900))
    second.fail(UnavailableError("away"))
    again = store.wait_for(6)[3:]
    assert [call.values[0][:1] for call in again if call.values[0]] == [b"1", b"2", b"3"]
    assert [call.place for call in again] == [second.place, third.place, (1, 3)]
    for number, call in enumerate(again):
        call.store(1 + number)
    offsets = [item.result(SECONDS_MAX).offset for item in [*deliveries, late]]
    assert offsets == [0, 1, 2, 3]


def test_without_idempotence_one_batch_is_in_flight(make: Made, store: ScriptedStore) -> None:
    producer = make(store, linger_ms=0, batch_bytes=1024, idempotent=False)
    for number in range(3):
        producer.send("t", b"%d" % number + bytes(900))
    (first,) = store.wait_for(1)
    first.fail(UnavailableError("away"))
    again = store.wait_for(2)[1]
    assert again.values == first.values
    again.store(0)
    store.answer_all(base_offset=1)
    producer.flush(SECONDS_MAX)
    order = [call.values[0][:1] for call in store.appends if call.values[0]]
    assert order == [b"0", b"0", b"1", b"2"]


def test_a_lasting_failure_is_told_and_the_next_batch_has_a_new_producer_id(
    make: Made, store: ScriptedStore
) -> None:
    producer = make(store, linger_ms=0)
    delivery = producer.send("t", b"x")
    store.wait_for(1)[0].fail(StorageFailedError("disk gone"))
    with pytest.raises(StorageFailedError, match="disk gone"):
        delivery.result(SECONDS_MAX)
    assert isinstance(delivery.error, StorageFailedError)
    producer.send("t", b"y")
    _, second = store.wait_for(2)
    assert (store.appends[0].place, second.place) == ((1, 0), (2, 0))


def test_after_delivery_timeout_it_is_given_up(make: Made, store: ScriptedStore) -> None:
    clock = ManualClock()
    producer = make(store, linger_ms=0, delivery_timeout=5.0, clock=clock)
    delivery = producer.send("t", b"x")
    (call,) = store.wait_for(1)
    clock.advance(5.0)
    call.fail(DiskFullError("no space"))
    with pytest.raises(RequestTimeoutError, match="no space"):
        delivery.result(SECONDS_MAX)


def test_a_producer_id_is_asked_for_again(make: Made, store: ScriptedStore) -> None:
    store.init_errors = [UnavailableError("away")]
    producer = make(store, linger_ms=0)
    producer.send("t", b"x")
    assert store.wait_for(1)[0].place == (1, 0)


def test_no_producer_id_for_good_is_told(make: Made, store: ScriptedStore) -> None:
    store.init_errors = [StorageFailedError("disk gone")]
    producer = make(store, linger_ms=0)
    delivery = producer.send("t", b"x")
    with pytest.raises(StorageFailedError):
        delivery.result(SECONDS_MAX)
    store.answer_all()
    assert producer.send("t", b"y").result(SECONDS_MAX).offset == 0


# --- deliveries, flush, close -----------------------------------------------------------------


def test_callbacks_get_every_delivery_in_the_end(make: Made, store: ScriptedStore) -> None:
    told: list[Delivery] = []
    producer = make(store, linger_ms=FOREVER_MS, on_delivery=told.append)
    good = [producer.send("t", b"x") for _ in range(2)]
    later: list[Delivery] = []
    good[1].add_callback(later.append)
    flushing = threading.Thread(target=producer.flush)
    flushing.start()
    store.wait_for(1)[0].store(0)
    flushing.join()
    bad = producer.send("t", b"y")
    flushing = threading.Thread(target=producer.flush)
    flushing.start()
    store.wait_for(2)[1].fail(StorageFailedError("gone"))
    flushing.join()
    assert told == [*good, bad]
    assert [done.error is None for done in told] == [True, True, False]
    assert later == [good[1]]
    bad.add_callback(later.append)
    assert later[-1] is bad, "at once, since it is done"


def test_flush_gives_up_waiting_but_not_sending(make: Made, store: ScriptedStore) -> None:
    producer = make(store, linger_ms=FOREVER_MS)
    delivery = producer.send("t", b"x")
    with pytest.raises(RequestTimeoutError):
        producer.flush(0.01)
    store.wait_for(1)[0].store(4)
    assert delivery.result(SECONDS_MAX).offset == 4


def test_close_sends_what_is_left_and_waits_for_it(store: ScriptedStore) -> None:
    producer = Producer(store.as_log_store, linger_ms=FOREVER_MS)
    deliveries = [producer.send("t", b"%d" % number) for number in range(3)]
    closing = threading.Thread(target=producer.close)
    closing.start()
    (call,) = store.wait_for(1)
    assert closing.is_alive()
    call.fail(UnavailableError("once"))
    store.wait_for(2)[1].store(0)
    closing.join(SECONDS_MAX)
    assert not closing.is_alive()
    assert [item.result(0).offset for item in deliveries] == [0, 1, 2]
    assert producer.closed
    producer.close()
    with pytest.raises(ClientClosedError):
        producer.send("t", b"x")
    with pytest.raises(ClientClosedError):
        producer.send("other", b"x")
    with pytest.raises(ClientClosedError):
        producer.send_many("t", [b"x"])


def test_close_in_time_gives_up_the_rest(store: ScriptedStore) -> None:
    producer = Producer(store.as_log_store, linger_ms=0)
    delivery = producer.send("t", b"x")
    (call,) = store.wait_for(1)
    with pytest.raises(RequestTimeoutError):
        producer.close(0.01)
    with pytest.raises(ClientClosedError):
        delivery.result(0)
    call.store(0)  # an answer that comes too late changes nothing
    assert isinstance(delivery.error, ClientClosedError)


def test_close_wakes_whoever_waits_for_room(store: ScriptedStore) -> None:
    producer = Producer(store.as_log_store, linger_ms=0, batch_bytes=1024, buffer_bytes_max=1024)
    outcome: list[BaseException] = []

    def send_all() -> None:
        try:
            for _ in range(5):
                producer.send("t", bytes(900))
        except ClientClosedError as error:
            outcome.append(error)

    thread = threading.Thread(target=send_all)
    thread.start()
    store.wait_for(1)
    closing = threading.Thread(target=producer.close)
    closing.start()
    thread.join(SECONDS_MAX)
    assert len(outcome) == 1
    store.answer_all()
    closing.join(SECONDS_MAX)
    assert not closing.is_alive()


def test_many_threads_send_through_one_producer(make: Made, wide: ScriptedStore) -> None:
    wide.answer_all()
    producer = make(wide, batch_bytes=1024, buffer_bytes_max=8192)

    def send(thread: int) -> None:
        for number in range(300):
            producer.send("t", b"%d-%d" % (thread, number), b"%d" % thread)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    producer.flush(SECONDS_MAX)
    values = [value for call in wide.appends for value in call.values if value is not None]
    for number in range(4):
        mine = [value for value in values if value.startswith(b"%d-" % number)]
        assert mine == [b"%d-%d" % (number, place) for place in range(300)]
