"""Every verb of LogStore gives the same over gRPC as in the process."""

from __future__ import annotations

import threading
import time

import pytest

from logstore import api
from logstore.api import (
    EPOCH_LEAVE,
    GroupHeartbeat,
    OffsetReset,
    OffsetToCommit,
    ResetTo,
    TopicPartition,
    TopicSpec,
)
from logstore.errors import (
    GroupNotFoundError,
    InvalidPartitionCountError,
    StaleMemberEpochError,
    TopicExistsError,
    UnknownTopicError,
)
from logstore.remote import RemoteLogStore
from logstore.store import LocalLogStore
from tests.remote.batches import batch


def test_the_remote_store_is_a_log_store(store: RemoteLogStore) -> None:
    seam: api.LogStore = store  # checked by mypy
    assert seam is store


def test_topics(store: RemoteLogStore, local: LocalLogStore) -> None:
    spec = TopicSpec("t", partitions=2, configs={"retention.ms": "1000"})
    store.create_topic(spec, validate_only=True)
    assert store.describe_topics() == []
    assert store.create_topic(spec) == local.describe_topics(["t"])[0]
    with pytest.raises(TopicExistsError):
        store.create_topic(spec)
    with pytest.raises(InvalidPartitionCountError):
        store.create_topic(TopicSpec("none", partitions=0))
    changed = store.alter_topic(
        "t", set_configs={"durability": "page_cache"}, reset_configs=["retention_ms"]
    )
    assert changed.overrides == {"durability": "page_cache"}
    assert len(store.add_partitions("t", total=5).partitions) == 5
    store.append("t", 4, batch(b"x")).result(5)
    assert store.describe_topics(["t"]) == local.describe_topics(["t"])
    store.commit_offsets("g", [OffsetToCommit("t", 0, 0)]).result(5)
    names = [topic.name for topic in store.describe_topics(include_internal=True)]
    assert names == [topic.name for topic in local.describe_topics(include_internal=True)]
    assert len(names) > 1
    store.delete_topic("t")
    with pytest.raises(UnknownTopicError) as caught:
        store.describe_topics(["t"])
    assert caught.value.details["topic"] == "t"


def test_a_topic_made_anew_is_found_anew(store: RemoteLogStore) -> None:
    for partitions in (1, 3):
        store.create_topic(TopicSpec("t", partitions=partitions))
        last = store.append("t", partitions - 1, batch(b"x"))
        assert last.result(5).base_offset == 0
        store.delete_topic("t")


def test_the_store_itself(store: RemoteLogStore, local: LocalLogStore) -> None:
    remote, here = store.describe_store(), local.describe_store()
    assert (remote.cluster_id, remote.node_id, remote.version) == (
        here.cluster_id, here.node_id, here.version,
    )  # fmt: skip
    first, second = store.init_producer(), store.init_producer()
    assert first.producer_id != second.producer_id


def test_deleting_records(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    for _ in range(4):
        store.append("t", 0, batch(b"x")).result(5)
    assert store.delete_records("t", 0, before_offset=2) == 2
    assert store.delete_records("t", 0, before_offset=-1) == 4


def member(store: RemoteLogStore, **fields: object) -> api.GroupAssignment:
    return store.group_heartbeat(GroupHeartbeat("g", **fields))  # type: ignore[arg-type]


def test_a_groups_life(store: RemoteLogStore, local: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", partitions=2))
    store.append("t", 0, batch(b"a", b"b", b"c")).result(5)
    joined = member(
        store, subscribed_topics=("t",), client_id="me", instance_id="static", assignor="range"
    )
    assert joined.partitions == (TopicPartition("t", 0), TopicPartition("t", 1))
    told = member(
        store,
        member_id=joined.member_id,
        member_epoch=joined.member_epoch,
        owned=joined.partitions,
    )
    assert told.settled
    identity = {"member_id": joined.member_id, "member_epoch": told.member_epoch}
    offset = OffsetToCommit("t", 0, 2, 0, "note")
    store.commit_offsets("g", [offset], **identity).result(5)  # type: ignore[arg-type]
    with pytest.raises(StaleMemberEpochError):
        store.commit_offsets("g", [offset], member_id=joined.member_id, member_epoch=0).result(5)
    assert store.committed_offsets("g") == local.committed_offsets("g")
    wanted = [TopicPartition("t", 1), TopicPartition("t", 0)]
    assert store.committed_offsets("g", wanted) == local.committed_offsets("g", wanted)
    assert store.committed_offsets("g", []) == []
    assert store.list_groups() == local.list_groups()
    assert store.describe_group("g") == local.describe_group("g")
    member(store, member_id=joined.member_id, member_epoch=EPOCH_LEAVE)
    reset = OffsetReset("g", ResetTo.EARLIEST, topics=("t",), dry_run=True)
    assert {item.offset for item in store.reset_offsets(reset)} == {0}
    assert store.committed_offsets("g")[0].offset == 2
    store.reset_offsets(OffsetReset("g", ResetTo.OFFSET, 1, partitions=(TopicPartition("t", 0),)))
    assert store.committed_offsets("g") == local.committed_offsets("g")
    store.delete_offsets("g", [TopicPartition("t", 0)])
    store.commit_offsets("g", [offset]).result(5)
    store.delete_group("g")
    with pytest.raises(GroupNotFoundError):
        store.describe_group("g")


@pytest.mark.parametrize("target", list(ResetTo))
def test_every_target_of_a_reset(
    store: RemoteLogStore, local: LocalLogStore, target: ResetTo
) -> None:
    store.create_topic(TopicSpec("t"))
    store.append("t", 0, batch(b"a", b"b", b"c")).result(5)
    store.commit_offsets("g", [OffsetToCommit("t", 0, 1)]).result(5)
    reset = OffsetReset("g", target, 1, topics=("t",), dry_run=True)
    (remote,), (here,) = store.reset_offsets(reset), local.reset_offsets(reset)
    assert remote.offset == here.offset


def test_a_heartbeat_waits_for_news(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t", partitions=2))
    joined = member(store, subscribed_topics=("t",))
    owning = GroupHeartbeat("g", joined.member_id, joined.member_epoch, owned=joined.partitions)
    store.group_heartbeat(owning)
    timer = threading.Timer(0.3, lambda: member(store, subscribed_topics=("t",)))
    timer.start()
    started = time.monotonic()
    answer = store.group_heartbeat(owning, wait=2.5)
    assert 0.2 < time.monotonic() - started < 2
    assert len(answer.partitions) == 1
    timer.join()


def test_commits_keep_their_order(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    store.append("t", 0, batch(*[b"x"] * 50)).result(5)
    commits = [store.commit_offsets("g", [OffsetToCommit("t", 0, n)]) for n in range(50)]
    store.close()  # waits for them
    assert all(pending.result(0) is None for pending in commits)
