from __future__ import annotations

import threading
import time

from logstore.v1 import common_pb2 as common
from logstore.v1 import group_service_pb2 as pb
from tests.server.in_process import InProcessServer
from tests.server.rpc.stubs import TIMEOUT, Stubs


def heartbeat(stubs: Stubs, **fields: object) -> pb.HeartbeatResponse:
    request = pb.HeartbeatRequest(group_id="g", **fields)  # type: ignore[arg-type]
    answer: pb.HeartbeatResponse = stubs.groups.Heartbeat(request, timeout=TIMEOUT)
    return answer


def join(stubs: Stubs, **fields: object) -> pb.HeartbeatResponse:
    topics = common.TopicNames(names=["t"])
    return heartbeat(stubs, subscribed_topics=topics, **fields)


def own(answer: pb.HeartbeatResponse) -> dict[str, object]:
    """The next heartbeat of a member that does as it was told."""
    return {
        "member_id": answer.member_id,
        "member_epoch": answer.member_epoch,
        "owned": common.TopicPartitions(partitions=answer.partitions),
    }


def test_a_member_waits_for_news_and_gets_them_at_once(stubs: Stubs) -> None:
    stubs.create("t", 2)
    first = join(stubs)
    assert len(first.partitions) == 2
    first = heartbeat(stubs, **own(first))
    timer = threading.Timer(0.2, lambda: join(stubs))
    timer.start()
    started = time.monotonic()
    second = heartbeat(stubs, max_wait_ms=2_500, **own(first))
    assert 0.15 < time.monotonic() - started < 2
    assert len(second.partitions) == 1
    timer.join()


def test_without_news_a_wait_is_no_longer_than_the_interval(stubs: Stubs) -> None:
    stubs.create("t")
    answer = join(stubs, session_timeout_ms=1_000)
    started = time.monotonic()
    again = heartbeat(stubs, max_wait_ms=60_000, **own(answer))
    assert time.monotonic() - started < again.heartbeat_interval_ms / 1000 + 0.5
    assert (again.member_epoch, again.partitions) == (answer.member_epoch, answer.partitions)


def test_leaving_does_not_wait(stubs: Stubs) -> None:
    stubs.create("t")
    answer = join(stubs)
    started = time.monotonic()
    heartbeat(stubs, member_id=answer.member_id, member_epoch=-1, max_wait_ms=5_000)
    assert time.monotonic() - started < 2


def test_a_wait_ends_when_the_server_stops(stubs: Stubs, server: InProcessServer) -> None:
    stubs.create("t")
    answer = heartbeat(stubs, **own(join(stubs)))
    threading.Timer(0.2, server.begin_stop).start()
    started = time.monotonic()
    heartbeat(stubs, max_wait_ms=2_900, **own(answer))
    assert time.monotonic() - started < 2


def commit(stubs: Stubs, offset: int, **fields: object) -> None:
    offsets = [pb.OffsetToCommit(topic="t", offset=offset, metadata="m")]
    request = pb.CommitOffsetsRequest(group_id="g", offsets=offsets, **fields)  # type: ignore[arg-type]
    stubs.groups.CommitOffsets(request, timeout=TIMEOUT)


def committed(stubs: Stubs, *partitions: int) -> list[tuple[int, int]]:
    named = common.TopicPartitions(
        partitions=[common.TopicPartition(topic="t", partition=number) for number in partitions]
    )
    request = pb.FetchOffsetsRequest(group_id="g", partitions=named if partitions else None)
    answer = stubs.groups.FetchOffsets(request, timeout=TIMEOUT)
    return [(item.partition, item.offset) for item in answer.offsets]


def test_offsets_of_a_member_and_of_nobody(stubs: Stubs) -> None:
    stubs.create("t", 2)
    stubs.append("t", b"a", b"b", b"c")
    commit(stubs, 1)  # no member is named, and the group has none
    assert committed(stubs) == [(0, 1)]
    member = join(stubs)
    commit(stubs, 2, member_id=member.member_id, member_epoch=member.member_epoch)
    assert committed(stubs, 1, 0) == [(1, -1), (0, 2)]


def test_looking_after_a_group(stubs: Stubs) -> None:
    stubs.create("t")
    stubs.append("t", b"a", b"b", b"c")
    member = join(stubs, client_id="client", instance_id="static")
    heartbeat(stubs, **own(member))
    commit(stubs, 1, member_id=member.member_id, member_epoch=member.member_epoch)
    (summary,) = stubs.groups.ListGroups(pb.ListGroupsRequest(), timeout=TIMEOUT).groups
    assert (summary.group_id, summary.kind, summary.members) == ("g", pb.GROUP_KIND_CONSUMER, 1)
    describe = pb.DescribeGroupRequest(group_id="g")
    group = stubs.groups.DescribeGroup(describe, timeout=TIMEOUT).group
    assert (group.state, group.offsets[0].lag) == ("stable", 2)
    (shown,) = group.members
    assert (shown.client_id, shown.instance_id, shown.client_host) == (
        "client", "static", "127.0.0.1",
    )  # fmt: skip
    heartbeat(stubs, member_id=member.member_id, member_epoch=-1)
    reset = pb.ResetOffsetsRequest(
        group_id="g", target=pb.RESET_TARGET_SHIFT, value=1, topics=["t"], dry_run=True
    )
    assert stubs.groups.ResetOffsets(reset, timeout=TIMEOUT).offsets[0].offset == 2
    assert committed(stubs) == [(0, 1)]
    reset.dry_run = False
    stubs.groups.ResetOffsets(reset, timeout=TIMEOUT)
    assert committed(stubs) == [(0, 2)]
    gone = [common.TopicPartition(topic="t")]
    request = pb.DeleteOffsetsRequest(group_id="g", partitions=gone)
    stubs.groups.DeleteOffsets(request, timeout=TIMEOUT)
    assert committed(stubs) == []
    found = stubs.groups.FindGroup(pb.FindGroupRequest(group_id="g"), timeout=TIMEOUT)
    assert found.endpoint == ""
    commit(stubs, 1)
    stubs.groups.DeleteGroup(pb.DeleteGroupRequest(group_id="g"), timeout=TIMEOUT)
    assert not stubs.groups.ListGroups(pb.ListGroupsRequest(), timeout=TIMEOUT).groups
