"""ListTransactions (key 66), versions 0 to 2: all transactional ids, or those that a filter names.

What each version added: 1 those open for longer than a duration (KIP-994); 2 a pattern (RE2) that
the whole id must match.

A state that is not known is told and filters nothing, as in Kafka. Dead and PrepareEpochFence are
known; nothing here is ever in them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import re2

from logstore.api import TransactionInfo, TransactionStatus
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode

KNOWN_STATES = frozenset({*TransactionStatus, "Dead", "PrepareEpochFence"})


def handle(request: Request) -> Values:
    body = request.body
    states = frozenset(body.state_filters)
    try:
        matches = _matcher(getattr(body, "transactional_id_pattern", None))
    except re2.error:
        return {
            "throttle_time": 0,
            "error_code": ErrorCode.INVALID_REGULAR_EXPRESSION,
            "transaction_states": (),
        }
    longer_ms = getattr(body, "duration_filter", -1)
    now_ms = round(time.time() * 1000)
    wanted = states & KNOWN_STATES
    producers = frozenset(body.producer_id_filters)

    def is_wanted(info: TransactionInfo) -> bool:
        return (
            (not wanted or info.status in wanted)
            and (not producers or info.producer.producer_id in producers)
            and (longer_ms < 0 or 0 <= info.started_ms < now_ms - longer_ms)
            and matches(info.transactional_id)
        )

    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE,
        "unknown_state_filters": sorted(states - KNOWN_STATES),
        "transaction_states": [
            {
                "transactional_id": info.transactional_id,
                "producer_id": info.producer.producer_id,
                "transaction_state": info.status,
            }
            for info in request.store.transactions.list_transactions()
            if is_wanted(info)
        ],
    }


def _matcher(pattern: str | None) -> Callable[[str], bool]:
    """Raises re2.error."""
    if not pattern:
        return lambda _: True
    options = re2.Options()
    options.log_errors = False
    compiled = re2.compile(pattern, options)
    return lambda name: compiled.fullmatch(name) is not None
