"""FindCoordinator (key 10), versions 0 to 6: who serves a group or a transactional id: this server.

What each version added
    1  the kind of key: 0 group, 1 transactional id   3  flexible   4  many keys in one request
    5  TRANSACTION_ABORTABLE, which is not answered    6  2 share group (KIP-932)

Not done: share groups (INVALID_REQUEST).
"""

from __future__ import annotations

from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode

GROUP, TRANSACTION = 0, 1
BATCHED_VERSION = 4


def handle(request: Request) -> Values:
    body = request.body
    kind = getattr(body, "key_type", GROUP)
    if request.version < BATCHED_VERSION:
        return {"throttle_time": 0, **_coordinator(request, kind, body.key)}
    return {
        "throttle_time": 0,
        "coordinators": [
            {"key": key, **_coordinator(request, kind, key)} for key in body.coordinator_keys
        ],
    }


def _coordinator(request: Request, kind: int, key: str) -> Values:
    if kind not in (GROUP, TRANSACTION):
        return _failed(ErrorCode.INVALID_REQUEST, f"there are no keys of kind {kind} here")
    if kind == TRANSACTION and not key:
        return _failed(ErrorCode.INVALID_REQUEST, "a transactional id has at least one character")
    return {
        "error_code": ErrorCode.NONE,
        "error_message": None,
        "node_id": request.store.describe_store().node_id,
        "host": request.serving.host,
        "port": request.serving.port,
    }


def _failed(code: ErrorCode, why: str) -> Values:
    return {"error_code": code, "error_message": why, "node_id": -1, "host": "", "port": -1}
