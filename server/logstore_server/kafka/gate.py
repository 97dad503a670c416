"""What stands around every handler: access rules (guard.py) and quotas (throttling.py).

And the end of a producer's connection that waits for no answers (acks=0) when there is one: then
something was refused, by the handler or by a rule, and to close is how Kafka tells.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from logstore_server.kafka.context import CloseConnection, Request
from logstore_server.kafka.guard import Answer, Handler, guarded, then
from logstore_server.kafka.guard_rules import RULES
from logstore_server.kafka.throttling import (
    CONSUMER_BYTE_RATE,
    PRODUCER_BYTE_RATE,
    fetched_bytes,
)

PRODUCE, FETCH = 0, 1


def gated(api_key: int, handle: Handler, answer_class: type[Any]) -> Handler:
    """`answer_class`: the schema of this version's answer."""
    handle = guarded(RULES.get(api_key), handle, answer_class)
    if api_key == PRODUCE:
        return _unanswered(_produces(handle))
    return _fetches(handle) if api_key == FETCH else handle


def _unanswered(handle: Handler) -> Handler:
    def checked(request: Request) -> Answer | Awaitable[Answer]:
        answer = handle(request)
        return answer if request.body.acks else then(answer, _close_if_refused)

    return checked


def _close_if_refused(answer: Answer) -> Answer:
    if answer is None:
        return None
    refused = [
        f"{topic.get('name') or topic.get('topic_id')}-{one['index']}: {one['error_code'].name}"
        for topic in answer["responses"]
        for one in topic["partition_responses"]
        if one["error_code"]
    ]
    raise CloseConnection(
        f"it waits for no answers (acks=0), and was refused {len(refused)} batches, first "
        f"{refused[0]}"
    )


def _produces(handle: Handler) -> Handler:
    """Counted before it is handled: the requests behind it, which might overlap, have to wait."""

    def counted(request: Request) -> Answer | Awaitable[Answer]:
        seconds = _count(request, PRODUCER_BYTE_RATE, request.size_bytes)
        if seconds <= 0:
            return handle(request)
        request.hold_back_s = seconds
        return then(handle(request), lambda answer: _told(answer, seconds))

    return counted


def _fetches(handle: Handler) -> Handler:
    """Counted when it is known what there was to read."""

    def counted(request: Request) -> Answer | Awaitable[Answer]:
        def count(answer: Answer) -> Answer:
            request.hold_back_s = _count(request, CONSUMER_BYTE_RATE, fetched_bytes(answer))
            return _told(answer, request.hold_back_s) if request.hold_back_s > 0 else answer

        throttle = request.serving.throttle
        if throttle is None or not throttle.is_needed:
            return handle(request)
        return then(handle(request), count)

    return counted


def _count(request: Request, limit: str, size_bytes: int) -> float:
    throttle = request.serving.throttle
    if throttle is None or not throttle.is_needed:
        return 0.0
    return throttle.count(request.client.principal, request.client_id, limit, size_bytes)


def _told(answer: Answer, seconds: float) -> Answer:
    """Rounded up: whoever waits for that long finds the connection open."""
    return answer and {**answer, "throttle_time": int(seconds * 1000) + 1}
