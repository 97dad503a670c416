"""Protobuf messages as the plain values of logstore.api, and back."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from logstore.api import (
    CommittedOffset,
    GroupAssignment,
    GroupHeartbeat,
    GroupInfo,
    GroupKind,
    GroupSummary,
    MemberInfo,
    OffsetAnswer,
    OffsetQuery,
    OffsetReset,
    OffsetSpec,
    OffsetToCommit,
    PartitionInfo,
    PartitionLag,
    ProducerIdentity,
    ResetTo,
    TopicInfo,
    TopicPartition,
)
from logstore.remote.errors import error_from_message
from logstore.v1 import (
    common_pb2,
    consume_service_pb2,
    topic_service_pb2,
    transaction_service_pb2,
)
from logstore.v1 import group_service_pb2 as groups

KINDS = {groups.GROUP_KIND_CLASSIC: GroupKind.CLASSIC}  # the rest: CONSUMER
RESET_TARGETS = {
    ResetTo.EARLIEST: groups.RESET_TARGET_EARLIEST,
    ResetTo.LATEST: groups.RESET_TARGET_LATEST,
    ResetTo.OFFSET: groups.RESET_TARGET_OFFSET,
    ResetTo.TIMESTAMP: groups.RESET_TARGET_TIMESTAMP,
    ResetTo.SHIFT: groups.RESET_TARGET_SHIFT,
}
OFFSET_SPECS = {
    OffsetSpec.EARLIEST: consume_service_pb2.OFFSET_SPEC_EARLIEST,
    OffsetSpec.LATEST: consume_service_pb2.OFFSET_SPEC_LATEST,
    OffsetSpec.MAX_TIMESTAMP: consume_service_pb2.OFFSET_SPEC_MAX_TIMESTAMP,
}


def partitions_of(items: Iterable[common_pb2.TopicPartition]) -> tuple[TopicPartition, ...]:
    return tuple(TopicPartition(item.topic, item.partition) for item in items)


def partition_messages(items: Iterable[TopicPartition]) -> list[common_pb2.TopicPartition]:
    return [common_pb2.TopicPartition(topic=topic, partition=number) for topic, number in items]


def topic_info(topic: topic_service_pb2.Topic) -> TopicInfo:
    return TopicInfo(
        name=topic.name,
        topic_id=uuid.UUID(bytes=topic.topic_id),
        internal=topic.internal,
        configs=dict(topic.configs),
        overrides=dict(topic.overrides),
        partitions=tuple(
            PartitionInfo(
                partition=item.partition,
                endpoint=item.endpoint,
                leader_epoch=item.leader_epoch,
                log_start_offset=item.log_start_offset,
                high_watermark=item.high_watermark,
                log_end_offset=item.log_end_offset,
                size_bytes=item.size_bytes,
            )
            for item in topic.partitions
        ),
    )


def query_message(query: OffsetQuery) -> consume_service_pb2.OffsetQuery:
    message = consume_service_pb2.OffsetQuery(topic=query.topic, partition=query.partition)
    if query.timestamp_ms < 0:
        message.spec = OFFSET_SPECS[OffsetSpec(query.timestamp_ms)]
    else:
        message.timestamp_ms = query.timestamp_ms
    return message


def offset_answer(answer: consume_service_pb2.OffsetAnswer) -> OffsetAnswer:
    return OffsetAnswer(
        answer.topic,
        answer.partition,
        answer.offset,
        answer.timestamp_ms,
        answer.leader_epoch,
        error_from_message(answer.error) if answer.HasField("error") else None,
    )


def heartbeat_message(heartbeat: GroupHeartbeat, wait_ms: int) -> groups.HeartbeatRequest:
    topics, owned = heartbeat.subscribed_topics, heartbeat.owned
    return groups.HeartbeatRequest(
        group_id=heartbeat.group_id,
        member_id=heartbeat.member_id,
        member_epoch=heartbeat.member_epoch,
        instance_id=heartbeat.instance_id,
        client_id=heartbeat.client_id,
        session_timeout_ms=heartbeat.session_timeout_ms,
        rebalance_timeout_ms=heartbeat.rebalance_timeout_ms,
        subscribed_topics=None if topics is None else common_pb2.TopicNames(names=topics),
        subscribed_pattern=heartbeat.subscribed_pattern,
        assignor=heartbeat.assignor,
        owned=(
            None
            if owned is None
            else common_pb2.TopicPartitions(partitions=partition_messages(owned))
        ),
        max_wait_ms=wait_ms,
    )


def group_assignment(answer: groups.HeartbeatResponse) -> GroupAssignment:
    return GroupAssignment(
        member_id=answer.member_id,
        member_epoch=answer.member_epoch,
        heartbeat_interval_ms=answer.heartbeat_interval_ms,
        partitions=partitions_of(answer.partitions),
        settled=answer.settled,
    )


def commit_messages(offsets: Sequence[OffsetToCommit]) -> list[groups.OffsetToCommit]:
    return [
        groups.OffsetToCommit(
            topic=item.topic,
            partition=item.partition,
            offset=item.offset,
            leader_epoch=item.leader_epoch if item.leader_epoch >= 0 else None,
            metadata=item.metadata,
        )
        for item in offsets
    ]


def committed_offsets(
    offsets: Iterable[groups.CommittedOffset],
) -> list[CommittedOffset]:
    return [
        CommittedOffset(
            item.topic,
            item.partition,
            item.offset,
            item.leader_epoch,
            item.metadata,
            item.commit_timestamp_ms,
        )
        for item in offsets
    ]


def group_summary(group: groups.GroupSummary) -> GroupSummary:
    kind = KINDS.get(group.kind, GroupKind.CONSUMER)
    return GroupSummary(group.group_id, kind, group.state, group.members)


def group_info(group: groups.Group) -> GroupInfo:
    return GroupInfo(
        group_id=group.group_id,
        kind=KINDS.get(group.kind, GroupKind.CONSUMER),
        state=group.state,
        group_epoch=group.group_epoch,
        assignor=group.assignor,
        members=tuple(_member(member) for member in group.members),
        offsets=tuple(
            PartitionLag(
                item.topic,
                item.partition,
                item.committed,
                item.high_watermark,
                item.lag,
                item.metadata,
                item.member_id,
            )
            for item in group.offsets
        ),
        endpoint=group.endpoint,
    )


def _member(member: groups.Member) -> MemberInfo:
    has = member.HasField
    return MemberInfo(
        member_id=member.member_id,
        instance_id=member.instance_id if has("instance_id") else None,
        client_id=member.client_id,
        client_host=member.client_host,
        member_epoch=member.member_epoch,
        subscribed_topics=tuple(member.subscribed_topics),
        subscribed_pattern=member.subscribed_pattern if has("subscribed_pattern") else None,
        assigned=partitions_of(member.assigned),
        target=partitions_of(member.target),
    )


def reset_message(reset: OffsetReset) -> groups.ResetOffsetsRequest:
    return groups.ResetOffsetsRequest(
        group_id=reset.group_id,
        target=RESET_TARGETS[reset.to],
        value=reset.value,
        topics=reset.topics,
        partitions=partition_messages(reset.partitions),
        dry_run=reset.dry_run,
    )


def transactional_producer(
    transactional_id: str, producer: ProducerIdentity
) -> transaction_service_pb2.TransactionalProducer:
    return transaction_service_pb2.TransactionalProducer(
        transactional_id=transactional_id,
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
    )
