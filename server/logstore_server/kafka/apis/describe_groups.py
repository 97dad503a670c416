"""DescribeGroups (key 15), versions 0 to 6: groups with what their members sent and were assigned.

A group that the server assigns is described as if all its members were classic ones, so that tools
which know nothing else show it; Kafka says that such a group is dead.

What each version added
    1  throttle time        3  authorized operations, on request     4  static members
    5  flexible             6  GROUP_ID_NOT_FOUND with a message (before: a group in state Dead)

Not done: authorized operations are not told (-2147483648).
"""

from __future__ import annotations

from logstore.api import ClassicGroupInfo
from logstore.errors import GroupNotFoundError, LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, error_message
from logstore_server.kafka.groups import CLASSIC_STATES, group_error_code

NOT_FOUND_VERSION = 6


def handle(request: Request) -> Values:
    return {
        "throttle_time": 0,
        "groups": [_group(request, group_id) for group_id in request.body.groups],
    }


def _group(request: Request, group_id: str) -> Values:
    try:
        return _described(request.store.coordination.describe(group_id))
    except LogStoreError as error:
        is_missing = isinstance(error, GroupNotFoundError)
        is_hidden = is_missing and request.version < NOT_FOUND_VERSION
        return {
            "error_code": ErrorCode.NONE if is_hidden else group_error_code(error),
            "error_message": error_message(error),
            "group_id": group_id,
            "group_state": "Dead" if is_missing else "",
            "protocol_type": "",
            "protocol_data": "",
            "members": (),
        }


def _described(info: ClassicGroupInfo) -> Values:
    return {
        "error_code": ErrorCode.NONE,
        "group_id": info.group_id,
        "group_state": CLASSIC_STATES[info.state],
        "protocol_type": info.protocol_type,
        "protocol_data": info.protocol,
        "members": [
            {
                "member_id": member.member_id,
                "group_instance_id": member.instance_id,
                "client_id": member.client_id,
                "client_host": member.client_host,
                "member_metadata": member.metadata,
                "member_assignment": member.assignment,
            }
            for member in info.members
        ],
    }
