"""What stands around every handler: access rules (guard.py) and quotas (throttling.py)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from logstore_server.kafka.context import Request
from logstore_server.kafka.guard import Answer, Handler, guarded, then
from logstore_server.kafka.guard_rules import RULES
from logstore_server.kafka.throttling import (
    CONSUMER_BYTE_RATE,
    PRODUCER_BYTE_RATE,
    fetched_bytes,
)

PRODUCE, FETCH = 0, 1
_LIMITS = {PRODUCE: PRODUCER_BYTE_RATE, FETCH: CONSUMER_BYTE_RATE}


def gated(api_key: int, handle: Handler, answer_class: type[Any]) -> Handler:
    """`answer_class`: the schema of this version's answer."""
    handle = guarded(RULES.get(api_key), handle, answer_class)
    limit = _LIMITS.get(api_key)
    return handle if limit is None else _throttled(handle, limit)


def _throttled(handle: Handler, limit: str) -> Handler:
    def counted(request: Request) -> Answer | Awaitable[Answer]:
        throttle = request.serving.throttle
        if throttle is None or not throttle.is_needed:
            return handle(request)

        def count(answer: Answer) -> Answer:
            size = request.size_bytes if limit == PRODUCER_BYTE_RATE else fetched_bytes(answer)
            client = request.client
            seconds = throttle.count(client.principal, request.client_id, limit, size)
            if seconds <= 0:
                return answer
            request.hold_back_s = seconds
            # Rounded up: whoever waits for that long finds the connection open.
            return answer and {**answer, "throttle_time": int(seconds * 1000) + 1}

        return then(handle(request), count)

    return counted
