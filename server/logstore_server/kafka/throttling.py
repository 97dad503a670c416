"""Quotas kept: who has moved more bytes than allowed is answered, told for how long, and held back.

As Kafka does since KIP-219: the answer comes at once and says how long the client shall wait; the
connection takes no request until then, whether the client obeys or not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from logstore.api.access import AccessStore, QuotaEntity
from logstore_server.auth import USER_PREFIX, TokenBucket

PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE = "producer_byte_rate", "consumer_byte_rate"
# Clients with a quota that are remembered; of more, the one that was quiet longest is forgotten.
BUCKETS_MAX = 100_000


class Throttle:
    """Of one listener. Owned by the event loop."""

    def __init__(self, access: AccessStore, monotonic: Callable[[], float]) -> None:
        self._access = access
        self._monotonic = monotonic
        self._buckets: OrderedDict[tuple[QuotaEntity, str], TokenBucket] = OrderedDict()

    @property
    def is_needed(self) -> bool:
        """Whether there is any quota."""
        return bool(self._access.quotas())

    def count(self, principal: str, client_id: str, limit: str, size_bytes: int) -> float:
        """Seconds for which the client must be held back after these bytes."""
        finder = self._access.quota_finder
        found = finder.find(principal.removeprefix(USER_PREFIX), client_id, limit)
        if found is None:
            return 0.0
        entity, rate = found
        now = self._monotonic()
        bucket = self._buckets.get((entity, limit))
        if bucket is None or bucket.rate != rate:
            bucket = self._buckets[entity, limit] = TokenBucket(rate, now)
            if len(self._buckets) > BUCKETS_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end((entity, limit))
        return bucket.take(size_bytes, now)


def fetched_bytes(answer: Any) -> int:
    """Of a Fetch answer's records."""
    if answer is None:
        return 0
    return sum(
        len(partition.get("records") or b"")
        for topic in answer.get("responses", ())
        for partition in topic["partitions"]
    )
