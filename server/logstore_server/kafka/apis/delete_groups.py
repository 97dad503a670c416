"""DeleteGroups (key 42), versions 0 to 2: forget groups without members, and their offsets.
Answered once that is on disk.

What each version added
    2  flexible
"""

from __future__ import annotations

from logstore.errors import LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.groups import group_error_code


async def handle(request: Request) -> Values:
    return await request.bridge.call(_delete, request)


def _delete(request: Request) -> Values:
    return {
        "throttle_time": 0,
        "results": [
            {"group_id": group_id, "error_code": _delete_one(request, group_id)}
            for group_id in request.body.groups_names
        ],
    }


def _delete_one(request: Request, group_id: str) -> ErrorCode:
    try:
        request.store.delete_group(group_id)
    except LogStoreError as error:
        return group_error_code(error)
    return ErrorCode.NONE
