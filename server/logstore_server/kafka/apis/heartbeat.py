"""Heartbeat (key 12), versions 0 to 4: a member lives. REBALANCE_IN_PROGRESS: it is to join again.

The most frequent request of a group: no thread, no task, one look-up.

What each version added
    1  throttle time     3  static members     4  flexible
"""

from __future__ import annotations

from logstore.api import ClassicHeartbeat
from logstore.errors import LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.groups import group_error_code

STATIC_VERSION = 3
_FINE: Values = {"throttle_time": 0, "error_code": ErrorCode.NONE}


def handle(request: Request) -> Values:
    body = request.body
    instance_id = body.group_instance_id if request.version >= STATIC_VERSION else None
    beat = ClassicHeartbeat(body.group_id, body.member_id, body.generation_id, instance_id)
    try:
        request.store.coordination.heartbeat(beat)
    except LogStoreError as error:
        return {"throttle_time": 0, "error_code": group_error_code(error)}
    return _FINE
