from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from logstore.api import GroupHeartbeat, OffsetToCommit, TopicSpec
from logstore.errors import (
    LogStoreError,
    UnavailableError,
    UnknownPartitionError,
    UnknownTopicError,
    WrongEndpointError,
)
from logstore.remote import RemoteConfig, RemoteLogStore, connect_store
from logstore.remote.connections import Connections
from logstore.remote.routing import Router
from tests.remote.proxy import Proxy
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore

NOBODY = "127.0.0.1:1"


class GroupStore(MemoryStore):
    """Refuses groups that another endpoint serves."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: str | None = None
        self.asked = 0

    def _check(self) -> None:
        self.asked += 1
        if self.elsewhere is not None:
            raise WrongEndpointError("not here", endpoint=self.elsewhere)

    def committed_offsets(self, group_id, partitions=None):
        self._check()
        return super().committed_offsets(group_id, partitions)

    def commit_offsets(self, group_id, offsets, *, member_id="", member_epoch=-1):
        self._check()
        return super().commit_offsets(group_id, offsets)


@dataclass
class Two:
    first: GroupStore
    second: GroupStore
    addresses: tuple[str, str]
    store: RemoteLogStore


@pytest.fixture
def two() -> Iterator[Two]:
    first, second = GroupStore(), GroupStore()
    with InProcessServer(first) as one, InProcessServer(second) as other:
        store = connect_store(one.address, config=RemoteConfig(redirects_max=2))
        yield Two(first, second, (one.address, other.address), store)
        store.close()


def test_a_group_is_asked_for_once_and_then_known(two: Two) -> None:
    two.first.endpoint = two.addresses[1]  # what FindGroup tells
    for _ in range(3):
        two.store.committed_offsets("g")
    assert (two.first.asked, two.second.asked) == (0, 3)
    assert two.store.find_group("g") == two.addresses[1]


def test_the_redirect_of_a_group_is_followed_and_kept(two: Two) -> None:
    two.first.elsewhere = two.addresses[1]
    two.store.commit_offsets("g", [OffsetToCommit("t", 0, 1)]).result(5)
    assert [item.offset for item in two.store.committed_offsets("g")] == [1]
    assert (two.first.asked, two.second.asked) == (1, 2)
    assert not two.first.committed


def test_redirects_in_a_circle_end(two: Two) -> None:
    two.first.elsewhere, two.second.elsewhere = two.addresses[1], two.addresses[0]
    with pytest.raises(WrongEndpointError):
        two.store.committed_offsets("g")
    assert two.first.asked + two.second.asked == 3


def test_a_redirect_without_a_place_asks_anew(two: Two) -> None:
    def refuse(topic: str, partition: int) -> LogStoreError | None:
        two.first.endpoint = two.addresses[1]
        return WrongEndpointError("not here")

    two.first.refuse = refuse
    assert two.store.group_heartbeat(GroupHeartbeat("g", member_id="m")).member_id == "m"


def test_an_endpoint_that_died_is_asked_for_anew(two: Two) -> None:
    with InProcessServer(GroupStore()) as third, Proxy(third.address) as proxy:
        two.first.endpoint = proxy.address
        two.store.committed_offsets("g")
        proxy.refusing = True
        proxy.cut()
        two.first.endpoint = two.addresses[1]
        two.store.committed_offsets("g")
        assert two.second.asked == 1


def test_any_of_the_endpoints_given_will_do(memory_server: InProcessServer) -> None:
    store = connect_store(f"{NOBODY}, {memory_server.address}")
    assert store.describe_store().cluster_id == "memory"
    store.create_topic(TopicSpec("t"))  # no second try: it stays with the one that answered
    store.close()


def test_if_none_answers_it_is_told() -> None:
    config = RemoteConfig(connect_timeout_ms=300)
    with pytest.raises(UnavailableError):
        connect_store(f"{NOBODY},127.0.0.1:2", config=config)


def test_partitions_are_learnt_by_topic_and_forgotten(memory_server: InProcessServer) -> None:
    connections = Connections(RemoteConfig())
    router = Router(connections, [memory_server.address])
    memory_server.store.create_topic(TopicSpec("t", partitions=2))
    assert router.partition("t", 1) == memory_server.address
    with pytest.raises(UnknownPartitionError):
        router.partition("t", 2)
    with pytest.raises(UnknownTopicError):
        router.partition("no", 0)
    memory_server.store.endpoint = "elsewhere:1"
    assert router.partition("t", 0) == memory_server.address  # still as learnt
    router.forget_topic("t")
    assert router.partition("t", 0) == "elsewhere:1"
    router.unreachable("elsewhere:1")
    memory_server.store.endpoint = "third:1"
    assert router.partition("t", 0) == "third:1"
    router.unreachable(memory_server.address)  # given by the user: kept
    assert router.any_endpoint() == memory_server.address
    connections.close()
