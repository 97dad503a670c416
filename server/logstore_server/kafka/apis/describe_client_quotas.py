"""DescribeClientQuotas (key 48), versions 0 to 1: the quotas that fit a filter.

What each version added
    1  flexible

A component of the filter names a type of entity and a name, the default, or any. Strict: quotas
that are of other types too do not fit.
"""

from __future__ import annotations

import enum
from typing import Any

from logstore.api.access import QuotaEntity
from logstore_server.kafka.admin import RefusedError, outcome
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode

TYPES = ("user", "client-id", "ip")


class Match(enum.IntEnum):
    """Kafka's numbers."""

    EXACT = 0
    DEFAULT = 1
    ANY = 2


def handle(request: Request) -> Values:
    try:
        wanted = {one.entity_type: _checked(one) for one in request.body.components}
        if len(wanted) < len(request.body.components):
            raise RefusedError(ErrorCode.INVALID_REQUEST, "a type is named twice")
    except RefusedError as error:
        return {"throttle_time": 0, "entries": None, **outcome(error)}
    found = [
        {
            "entity": [{"entity_type": kind, "entity_name": name} for kind, name in entity],
            "values": [{"key": key, "value": value} for key, value in limits.items()],
        }
        for entity, limits in request.store.access.quotas().items()
        if _fits(entity, wanted, is_strict=request.body.strict)
    ]
    return {"throttle_time": 0, "entries": found, **outcome()}


def _checked(component: Any) -> tuple[Match, str | None]:
    if component.entity_type not in TYPES:
        code = ErrorCode.UNSUPPORTED_VERSION  # what Kafka says of types that it does not know
        raise RefusedError(code, f"there is no entity of type {component.entity_type!r}")
    if component.match_type not in list(Match):
        message = f"there is no kind of match {component.match_type}"
        raise RefusedError(ErrorCode.INVALID_REQUEST, message)
    match = Match(component.match_type)
    if (match is Match.EXACT) is (component.match is None):
        raise RefusedError(ErrorCode.INVALID_REQUEST, "an exact match, and no other, has a name")
    return match, component.match


def _fits(
    entity: QuotaEntity, wanted: dict[str, tuple[Match, str | None]], *, is_strict: bool
) -> bool:
    parts = dict(entity)
    if is_strict and len(parts) > len(wanted):
        return False
    for kind, (match, name) in wanted.items():
        if kind not in parts:
            return False
        if match is not Match.ANY and parts[kind] != name:  # the default's name is null
            return False
    return True
