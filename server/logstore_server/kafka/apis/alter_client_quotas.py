"""AlterClientQuotas (key 49), versions 0 to 1: how many bytes a second users and clients may move.

What each version added
    1  flexible

producer_byte_rate and consumer_byte_rate, of a user, a client id, or both; kept by throttling.py.
Each entry is changed by itself; durable and in force when answered.

Not done: request_percentage, controller_mutation_rate, and quotas of addresses: they are refused
with the reason.
"""

from __future__ import annotations

from typing import Any

from logstore.errors import LogStoreError
from logstore_server.kafka.admin import RefusedError, outcome, repeated
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode


async def handle(request: Request) -> Values:
    entries = []
    for entry in request.body.entries:
        entity = [(part.entity_type, part.entity_name) for part in entry.entity]
        result = {"entity": [{"entity_type": kind, "entity_name": name} for kind, name in entity]}
        try:
            if again := repeated(op.key for op in entry.ops):
                message = f"limits are named twice: {sorted(map(str, again))}"
                raise RefusedError(ErrorCode.INVALID_REQUEST, message)
            await request.bridge.call(
                request.store.access.change_quota,
                tuple(sorted(entity, key=lambda part: part[0])),
                {op.key: _limit(op) for op in entry.ops},
                validate_only=request.body.validate_only,
            )
            entries.append(result | outcome())
        except (LogStoreError, RefusedError) as error:
            entries.append(result | outcome(error))
    return {"throttle_time": 0, "entries": entries}


def _limit(op: Any) -> float | None:
    return None if op.remove else float(op.value)
