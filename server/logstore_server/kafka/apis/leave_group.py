"""LeaveGroup (key 13), versions 0 to 5: members leave, and the others share what they had.

What each version added
    1  throttle time     3  several members, static ones by their instance id     4  flexible
    5  a reason

Not done: the reason is not kept.
"""

from __future__ import annotations

from logstore.api import ClassicLeave, LeavingMember
from logstore.errors import LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.groups import group_error_code

SEVERAL_VERSION = 3


def handle(request: Request) -> Values:
    body = request.body
    has_several = request.version >= SEVERAL_VERSION
    if has_several:
        leaving = [LeavingMember(item.member_id, item.group_instance_id) for item in body.members]
    else:
        leaving = [LeavingMember(body.member_id)]
    try:
        outcomes = request.store.coordination.leave(ClassicLeave(body.group_id, tuple(leaving)))
    except LogStoreError as error:
        return {"throttle_time": 0, "error_code": group_error_code(error), "members": ()}
    codes = [ErrorCode.NONE if item is None else group_error_code(item) for item in outcomes]
    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE if has_several else codes[0],
        "members": [
            {
                "member_id": member.member_id,
                "group_instance_id": member.instance_id,
                "error_code": code,
            }
            for member, code in zip(leaving, codes, strict=True)
        ],
    }
