from __future__ import annotations

from logstore.api import OffsetQuery, OffsetSpec, TopicSpec
from logstore.errors import UnknownPartitionError, UnknownTopicError, WrongEndpointError
from logstore.remote import RemoteConfig, RemoteLogStore, connect_store
from tests.remote.batches import batch
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore


def test_by_time_and_by_end(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    store.append("t", 0, batch(b"a", b"b")).result(5)
    at = [OffsetSpec.EARLIEST, OffsetSpec.LATEST, OffsetSpec.MAX_TIMESTAMP, 0, 1_800_000_000_000]
    answers = store.list_offsets([OffsetQuery("t", 0, when) for when in at])
    assert [answer.offset for answer in answers] == [0, 2, 0, 0, -1]
    assert answers[3].timestamp_ms == 1_700_000_000_000
    assert store.list_offsets([]) == []


def test_errors_are_each_querys_own(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    queries = [OffsetQuery(*at, OffsetSpec.LATEST) for at in (("no", 0), ("t", 0), ("t", 5))]
    first, second, third = store.list_offsets(queries)
    assert isinstance(first.error, UnknownTopicError)
    assert (second.error, second.offset) == (None, 0)
    assert isinstance(third.error, UnknownPartitionError)


def test_each_endpoint_is_asked_for_its_own_and_redirects_are_followed() -> None:
    first, second = MemoryStore(), MemoryStore()
    with InProcessServer(first) as one, InProcessServer(second) as other:
        for memory in (first, second):
            memory.create_topic(TopicSpec("t", partitions=2))
        second.append("t", 1, batch(b"x"))
        first.refuse = lambda topic, partition: (
            WrongEndpointError("not here", endpoint=other.address) if partition == 1 else None
        )
        store = connect_store(one.address)
        queries = [OffsetQuery("t", number, OffsetSpec.LATEST) for number in (1, 0)]
        for _ in range(2):
            assert [answer.offset for answer in store.list_offsets(queries)] == [1, 0]
        store.close()


def test_a_circle_of_redirects_is_the_answers_error() -> None:
    memory = MemoryStore()
    with InProcessServer(memory) as server:
        memory.create_topic(TopicSpec("t"))
        memory.refuse = lambda topic, partition: WrongEndpointError(
            "over there", endpoint=server.address
        )
        store = connect_store(server.address, config=RemoteConfig(redirects_max=2))
        (answer,) = store.list_offsets([OffsetQuery("t", 0, OffsetSpec.LATEST)])
        assert isinstance(answer.error, WrongEndpointError)
        store.close()
