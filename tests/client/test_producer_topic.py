from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.client.partitioners import Hash, murmur2, murmur3
from logstore.client.producer_core import PartitionQueue, ProducerSettings
from logstore.client.producer_topic import ProducerTopic
from logstore.errors import BatchTooLargeError, UnknownPartitionError

PARTITIONS = 3


def make_topic(hash_key: Hash = murmur3, message_bytes_max: int = 1000) -> ProducerTopic:
    queues = [
        PartitionQueue("t", number, ProducerSettings(), 1024, lambda batch: None)
        for number in range(PARTITIONS)
    ]
    return ProducerTopic("t", queues, hash_key, message_bytes_max=message_bytes_max)


@pytest.mark.parametrize("hash_key", [murmur3, murmur2])
@given(records=st.lists(st.tuples(st.none() | st.binary(max_size=3), st.integers(0, 9))))
def test_shares_are_what_one_by_one_would_be(
    hash_key: Hash, records: list[tuple[bytes | None, int]]
) -> None:
    topic = make_topic(hash_key)
    expected: dict[int | None, list[tuple[bytes | None, bytes, int]]] = {}
    for number, (key, timestamp) in enumerate(records):
        place = None if key is None else hash_key(key) % PARTITIONS
        expected.setdefault(place, []).append((key, b"%d" % number, timestamp))
    shares = topic.split(
        [b"%d" % number for number in range(len(records))],
        [key for key, _ in records],
        [timestamp for _, timestamp in records],
    )
    found = {
        None if share.queue is None else share.queue.partition: list(
            zip(
                share.keys or [None] * len(share.values),
                share.values,
                share.timestamps or [],
                strict=True,
            )
        )
        for share in shares
    }
    assert found == expected
    assert len(shares) == len(found)


def test_without_timestamps_shares_have_none() -> None:
    (share,) = make_topic().split([b"a", b"b"], [b"k", b"k"], None)
    assert (share.values, share.keys, share.timestamps) == ([b"a", b"b"], [b"k", b"k"], None)


def test_keys_and_values_are_of_one_length() -> None:
    with pytest.raises(ValueError, match="shorter"):
        make_topic().split([b"a"], [b"k", b"k"], None)


def test_the_sticky_partition_goes_round() -> None:
    topic = make_topic()
    assert topic.sticky is topic.queues[0]
    turns = [topic.next_sticky().partition for _ in range(4)]
    assert turns == [1, 2, 0, 1]
    assert topic.sticky.partition == 1


@pytest.mark.parametrize("partition", [-1, PARTITIONS])
def test_a_partition_that_is_not_there_is_told(partition: int) -> None:
    with pytest.raises(UnknownPartitionError, match="0 to 2"):
        make_topic().queue(partition)


def test_a_record_over_the_topics_limit_is_told_unless_it_may_shrink() -> None:
    topic = make_topic(message_bytes_max=1000)
    assert topic.size(b"k", bytes(999), compressed=False) > 1000
    with pytest.raises(BatchTooLargeError, match="1001 bytes"):
        topic.size(b"k", bytes(1000), compressed=False)
    assert topic.size(None, bytes(5000), compressed=True) > 5000
