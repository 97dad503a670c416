"""GroupService: membership, committed offsets, looking after groups. All first version.

Heartbeat's max_wait_ms makes it a long poll: it ends when the member's next heartbeat would be
answered differently, when the time is over, and when the server shuts down.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from logstore.api import (
    GroupAssignment,
    GroupHeartbeat,
    GroupInfo,
    GroupKind,
    MemberInfo,
    OffsetReset,
    ResetTo,
    is_news,
)
from logstore.errors import InvalidRequestError
from logstore.v1 import group_service_pb2 as pb
from logstore_server.rpc.calls import Context, Serving, client_host
from logstore_server.rpc.values import (
    committed_messages,
    offsets_of,
    partition_messages,
    partitions_of,
)

KINDS = {
    GroupKind.CONSUMER: pb.GROUP_KIND_CONSUMER,
    GroupKind.CLASSIC: pb.GROUP_KIND_CLASSIC,
}
RESET_TARGETS = {
    pb.RESET_TARGET_EARLIEST: ResetTo.EARLIEST,
    pb.RESET_TARGET_LATEST: ResetTo.LATEST,
    pb.RESET_TARGET_OFFSET: ResetTo.OFFSET,
    pb.RESET_TARGET_TIMESTAMP: ResetTo.TIMESTAMP,
    pb.RESET_TARGET_SHIFT: ResetTo.SHIFT,
}


class GroupService:
    descriptor = pb.DESCRIPTOR.services_by_name["GroupService"]

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._store = serving.store
        self._call = serving.bridge.call

    # --- membership -------------------------------------------------------------------------

    async def heartbeat(
        self, request: pb.HeartbeatRequest, context: Context
    ) -> pb.HeartbeatResponse:
        heartbeat = _heartbeat(request, client_host(context))
        wait_s = self._serving.wait_s(context, request.max_wait_ms)
        answer = self._store.heartbeat_now(heartbeat)
        if wait_s > 0 and heartbeat.member_epoch >= 0 and not is_news(heartbeat, answer):
            # Longer than the interval, and the member would be taken for dead while it waits.
            wait_s = min(wait_s, answer.heartbeat_interval_ms / 1000)
            await self._wait_for_news(heartbeat.group_id, answer, wait_s)
            answer = self._store.heartbeat_now(replace(heartbeat, owned=None))
        return pb.HeartbeatResponse(
            member_id=answer.member_id,
            member_epoch=answer.member_epoch,
            heartbeat_interval_ms=answer.heartbeat_interval_ms,
            partitions=partition_messages(answer.partitions),
            settled=answer.settled,
        )

    async def _wait_for_news(self, group_id: str, known: GroupAssignment, wait_s: float) -> None:
        changed = asyncio.Event()
        watching = self._store.watch_member(
            group_id, known.member_id, known, lambda: self._serving.bridge.post(changed.set)
        )
        forget = self._serving.on_drain(changed.set)
        try:
            async with asyncio.timeout(wait_s):
                await changed.wait()
        except TimeoutError:
            pass
        finally:
            forget()
            watching.cancel()

    async def find_group(
        self, request: pb.FindGroupRequest, _context: Context
    ) -> pb.FindGroupResponse:
        return pb.FindGroupResponse(endpoint=self._store.find_group(request.group_id))

    # --- committed offsets ------------------------------------------------------------------

    async def commit_offsets(
        self, request: pb.CommitOffsetsRequest, _context: Context
    ) -> pb.CommitOffsetsResponse:
        pending = self._store.commit_offsets(
            request.group_id,
            offsets_of(request.offsets),
            member_id=request.member_id,
            member_epoch=request.member_epoch if request.member_id else -1,
        )
        await self._serving.bridge.future(pending)
        return pb.CommitOffsetsResponse()

    async def fetch_offsets(
        self, request: pb.FetchOffsetsRequest, _context: Context
    ) -> pb.FetchOffsetsResponse:
        offsets = self._store.committed_offsets(
            request.group_id,
            partitions_of(request.partitions.partitions)
            if request.HasField("partitions")
            else None,
        )
        return pb.FetchOffsetsResponse(offsets=committed_messages(offsets))

    async def delete_offsets(
        self, request: pb.DeleteOffsetsRequest, _context: Context
    ) -> pb.DeleteOffsetsResponse:
        await self._call(
            self._store.delete_offsets, request.group_id, partitions_of(request.partitions)
        )
        return pb.DeleteOffsetsResponse()

    async def reset_offsets(
        self, request: pb.ResetOffsetsRequest, _context: Context
    ) -> pb.ResetOffsetsResponse:
        target = RESET_TARGETS.get(request.target)
        if target is None:
            raise InvalidRequestError(
                f"target={request.target} is not valid: it takes one of RESET_TARGET_EARLIEST, "
                "_LATEST, _OFFSET, _TIMESTAMP and _SHIFT"
            )
        reset = OffsetReset(
            group_id=request.group_id,
            to=target,
            value=request.value,
            topics=tuple(request.topics),
            partitions=partitions_of(request.partitions),
            dry_run=request.dry_run,
        )
        offsets = await self._call(self._store.reset_offsets, reset)
        return pb.ResetOffsetsResponse(offsets=committed_messages(offsets))

    # --- looking after groups ---------------------------------------------------------------

    async def list_groups(
        self, _request: pb.ListGroupsRequest, _context: Context
    ) -> pb.ListGroupsResponse:
        return pb.ListGroupsResponse(
            groups=[
                pb.GroupSummary(
                    group_id=group.group_id,
                    kind=KINDS[group.kind],
                    state=group.state,
                    members=group.members,
                )
                for group in self._store.list_groups()
            ]
        )

    async def describe_group(
        self, request: pb.DescribeGroupRequest, _context: Context
    ) -> pb.DescribeGroupResponse:
        return pb.DescribeGroupResponse(group=_group(self._store.describe_group(request.group_id)))

    async def delete_group(
        self, request: pb.DeleteGroupRequest, _context: Context
    ) -> pb.DeleteGroupResponse:
        await self._call(self._store.delete_group, request.group_id)
        return pb.DeleteGroupResponse()


def _heartbeat(request: pb.HeartbeatRequest, host: str) -> GroupHeartbeat:
    has = request.HasField
    return GroupHeartbeat(
        group_id=request.group_id,
        member_id=request.member_id,
        member_epoch=request.member_epoch,
        instance_id=request.instance_id if has("instance_id") else None,
        client_id=request.client_id,
        client_host=host,
        session_timeout_ms=request.session_timeout_ms if has("session_timeout_ms") else None,
        rebalance_timeout_ms=(
            request.rebalance_timeout_ms if has("rebalance_timeout_ms") else None
        ),
        subscribed_topics=(
            tuple(request.subscribed_topics.names) if has("subscribed_topics") else None
        ),
        subscribed_pattern=request.subscribed_pattern if has("subscribed_pattern") else None,
        assignor=request.assignor if has("assignor") else None,
        owned=partitions_of(request.owned.partitions) if has("owned") else None,
    )


def _group(info: GroupInfo) -> pb.Group:
    return pb.Group(
        group_id=info.group_id,
        kind=KINDS[info.kind],
        state=info.state,
        group_epoch=info.group_epoch,
        assignor=info.assignor,
        members=[_member(member) for member in info.members],
        offsets=[
            pb.PartitionLag(
                topic=item.topic,
                partition=item.partition,
                committed=item.committed,
                high_watermark=item.high_watermark,
                lag=item.lag,
                metadata=item.metadata,
                member_id=item.member_id,
            )
            for item in info.offsets
        ],
        endpoint=info.endpoint,
    )


def _member(member: MemberInfo) -> pb.Member:
    return pb.Member(
        member_id=member.member_id,
        instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        member_epoch=member.member_epoch,
        subscribed_topics=member.subscribed_topics,
        subscribed_pattern=member.subscribed_pattern,
        assigned=partition_messages(member.assigned),
        target=partition_messages(member.target),
    )
