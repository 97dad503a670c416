"""SyncGroup (key 14), versions 0 to 5: the leader brings what it has assigned, all fetch theirs.

Answered when the leader has brought it. In a group that the server assigns, at once.

What each version added
    1  throttle time     3  static members     4  flexible     5  protocol type and name, required
"""

from __future__ import annotations

from collections.abc import Awaitable

from logstore.api import ClassicSync, ClassicSynced
from logstore.errors import LogStoreError
from logstore.pending import Pending
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.groups import group_error_code, wait_for

PROTOCOL_VERSION = 5


def handle(request: Request) -> Values | Awaitable[Values]:
    body = request.body
    protocol_type = getattr(body, "protocol_type", None)
    protocol = getattr(body, "protocol_name", None)
    if request.version >= PROTOCOL_VERSION and (protocol_type is None or protocol is None):
        return _refused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    syncing = request.store.coordination.sync(
        ClassicSync(
            group_id=body.group_id,
            member_id=body.member_id,
            generation=body.generation_id,
            instance_id=getattr(body, "group_instance_id", None),
            protocol_type=protocol_type,
            protocol=protocol,
            assignments={item.member_id: item.assignment for item in body.assignments},
        )
    )
    if syncing.done:
        return _answer(syncing, syncing.error)
    return _wait(request, syncing)


async def _wait(request: Request, syncing: Pending[ClassicSynced]) -> Values:
    return _answer(syncing, await wait_for(request, syncing))


def _answer(syncing: Pending[ClassicSynced], error: LogStoreError | None) -> Values:
    if error is not None:
        return _refused(group_error_code(error))
    synced = syncing.result(0)
    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE,
        "protocol_type": synced.protocol_type,
        "protocol_name": synced.protocol,
        "assignment": synced.assignment,
    }


def _refused(code: ErrorCode) -> Values:
    return {"throttle_time": 0, "error_code": code, "assignment": b""}
