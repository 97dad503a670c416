"""ConsumerGroupDescribe (key 69), versions 0 to 1: groups that the server assigns, with what each
member has and is to have. Other groups are GROUP_ID_NOT_FOUND: clients then ask DescribeGroups.

What each version added
    1  whether a member is a classic one

Not done: authorized operations are not told (-2147483648); racks neither.
"""

from __future__ import annotations

from collections.abc import Sequence

from logstore.api import GroupInfo, GroupKind, MemberInfo, TopicPartition
from logstore.errors import GroupNotFoundError, LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, error_message
from logstore_server.kafka.groups import CONSUMER_STATES, group_error_code, topics_with_ids

MEMBER_IS_CLASSIC, MEMBER_IS_ASSIGNED = 0, 1
# Kafka has one name for what ours do, and its clients print it.
ASSIGNOR_NAMES = {"sticky": "uniform"}


async def handle(request: Request) -> Values:
    return await request.bridge.call(_describe_all, request)


def _describe_all(request: Request) -> Values:
    return {
        "throttle_time": 0,
        "groups": [_group(request, group_id) for group_id in request.body.group_ids],
    }


def _group(request: Request, group_id: str) -> Values:
    try:
        info = request.store.describe_group(group_id)
        if info.kind is GroupKind.CLASSIC or info.group_epoch == 0:  # 0: it has only offsets
            raise GroupNotFoundError(f"group {group_id!r} is not assigned by the server")
        return _described(request, info)
    except LogStoreError as error:
        return {
            "error_code": group_error_code(error),
            "error_message": error_message(error),
            "group_id": group_id,
            "group_state": "",
            "group_epoch": 0,
            "assignment_epoch": 0,
            "assignor_name": "",
            "members": (),
        }


def _described(request: Request, info: GroupInfo) -> Values:
    return {
        "error_code": ErrorCode.NONE,
        "group_id": info.group_id,
        "group_state": CONSUMER_STATES[info.state],
        "group_epoch": info.group_epoch,
        "assignment_epoch": info.group_epoch,  # a target follows at once
        "assignor_name": ASSIGNOR_NAMES.get(info.assignor, info.assignor),
        "members": [_member(request, member) for member in info.members],
    }


def _member(request: Request, member: MemberInfo) -> Values:
    def partitions(parts: Sequence[TopicPartition]) -> Values:
        return {"topic_partitions": topics_with_ids(request.store, parts)}

    return {
        "member_id": member.member_id,
        "instance_id": member.instance_id,
        "member_epoch": member.member_epoch,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "subscribed_topic_names": member.subscribed_topics,
        "subscribed_topic_regex": member.subscribed_pattern,
        "assignment": partitions(member.assigned),
        "target_assignment": partitions(member.target),
        "member_type": MEMBER_IS_CLASSIC if member.is_classic else MEMBER_IS_ASSIGNED,
    }
