"""Quotas: which one holds for a client, and how long it must be held back. Pure.

The nearest quota that is set counts (KIP-546's order): of the user with the client id, of the user
with any client id, of the user; the same of the default user; then of the client id alone, and of
any. Who has the same one shares it: a user's quota is for all its connections together.
"""

from __future__ import annotations

from collections.abc import Mapping

from logstore.api.access import QuotaEntity
from logstore.errors import InvalidQuotaError

USER, CLIENT_ID = "user", "client-id"
PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE = "producer_byte_rate", "consumer_byte_rate"
LIMITS = frozenset({PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE})
# Kafka's, that are not kept here and why.
REFUSED = {
    "request_percentage": "the time that a client's requests take is not measured",
    "controller_mutation_rate": "changes of topics are not counted by client",
    "connection_creation_rate": "connections are limited in number, not by their rate",
}
NAME_BYTES_MAX = 1024
RATE_MAX = float(1 << 62)
# A client that was quiet may send this many seconds' worth at once.
BURST_S = 1.0
# The longest time for which a client is held back at once; what it still owes stays.
THROTTLE_S_MAX = 30.0


def check_quota(entity: QuotaEntity, limits: Mapping[str, float | None]) -> None:
    """Raises InvalidQuotaError, with the reason."""
    types = [kind for kind, _ in entity]
    if not types or types != sorted(set(types)) or not set(types) <= {USER, CLIENT_ID}:
        named = " and ".join(types) or "nothing"
        raise InvalidQuotaError(f"a quota is of a user, a client-id or both, not of {named}")
    for kind, name in entity:
        if name is not None and not 0 < len(name.encode("utf-8", "replace")) <= NAME_BYTES_MAX:
            raise InvalidQuotaError(f"a {kind} takes 1 to {NAME_BYTES_MAX} bytes")
    for limit, value in limits.items():
        if limit in REFUSED:
            raise InvalidQuotaError(f"there is no quota {limit}: {REFUSED[limit]}", limit=limit)
        if limit not in LIMITS:
            known = " and ".join(sorted(LIMITS))
            raise InvalidQuotaError(
                f"there is no quota {limit!r}; the known ones are {known}", limit=limit
            )
        if value is not None and not 0 < value <= RATE_MAX:
            raise InvalidQuotaError(
                f"{limit}={value} is not valid: it takes a number of bytes a second above 0",
                limit=limit,
            )


class QuotaIndex:
    """Quotas, made for being asked. Immutable; implements api.access.QuotaFinder."""

    def __init__(self, quotas: Mapping[QuotaEntity, Mapping[str, float]]) -> None:
        self._quotas = quotas

    def find(self, user: str, client_id: str, limit: str) -> tuple[QuotaEntity, float] | None:
        if not self._quotas:
            return None
        for entity in _candidates(user, client_id):
            value = self._quotas.get(entity, {}).get(limit)
            if value is not None:
                return _sharing(entity, user, client_id), value
        return None


def _candidates(user: str, client_id: str) -> list[QuotaEntity]:
    nearest: list[QuotaEntity] = []
    for user_name in (user, None):
        nearest += [
            ((CLIENT_ID, client_id), (USER, user_name)),
            ((CLIENT_ID, None), (USER, user_name)),
            ((USER, user_name),),
        ]
    return [*nearest, ((CLIENT_ID, client_id),), ((CLIENT_ID, None),)]


def _sharing(entity: QuotaEntity, user: str, client_id: str) -> QuotaEntity:
    """Each user (client id) for which a default holds has it for itself."""
    names = {USER: user, CLIENT_ID: client_id}
    return tuple((kind, names[kind]) for kind, _ in entity)


class TokenBucket:
    """How much one quota has left. Not thread-safe; times are Clock.monotonic seconds."""

    __slots__ = ("_at", "_left", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._at = now
        self._left = rate * BURST_S

    def take(self, amount: float, now: float) -> float:
        """Count `amount`, which was let through; the seconds for which the client must be held
        back now, so that it keeps its rate."""
        burst = self.rate * BURST_S
        self._left = min(burst, self._left + (now - self._at) * self.rate) - amount
        self._at = now
        if self._left >= 0:
            return 0.0
        return min(-self._left / self.rate, THROTTLE_S_MAX)
