"""What a connection is told, as one frozen value; units are in the names."""

from __future__ import annotations

from dataclasses import dataclass

from logstore.config import MIB
from logstore.errors import InvalidConfigError

# Around the batch of a message: names and numbers (a topic's name has at most 249 characters).
MESSAGE_OVERHEAD_BYTES = 1024


def _check_range(owner: object, name: str, minimum: float, maximum: float) -> None:
    value = getattr(owner, name)
    if not minimum <= value <= maximum:
        raise InvalidConfigError(
            f"{name}={value} is not valid: it takes a number from {minimum} to {maximum}",
            config=name,
            value=value,
        )


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """Limits and times of one RemoteLogStore."""

    request_timeout_ms: int = 30_000  # for one call, its retries and redirects included
    connect_timeout_ms: int = 10_000  # for the first answer
    delivery_timeout_ms: int = 60_000  # how long an append waits for an endpoint to be reachable
    backoff_ms_min: int = 50  # between tries; doubles up to the maximum, half of it at random
    backoff_ms_max: int = 1_000
    redirects_max: int = 5  # of one request, before WrongEndpointError is told
    message_bytes_max: int = 64 * MIB
    append_message_bytes: int = MIB  # small batches are sent together up to this size
    append_bytes_in_flight_max: int = 256 * MIB  # unanswered; beyond it appends are refused
    keepalive_time_ms: int = 30_000  # not below the server's client_ping_interval_ms_min
    keepalive_timeout_ms: int = 20_000
    commit_threads: int = 4  # groups whose commits are on their way at one time

    def __post_init__(self) -> None:
        _check_range(self, "request_timeout_ms", 1, 86_400_000)
        _check_range(self, "connect_timeout_ms", 1, 86_400_000)
        _check_range(self, "delivery_timeout_ms", 1, 86_400_000)
        _check_range(self, "backoff_ms_min", 1, self.backoff_ms_max)
        _check_range(self, "backoff_ms_max", 1, 3_600_000)
        _check_range(self, "redirects_max", 0, 100)
        _check_range(self, "message_bytes_max", 16 * MESSAGE_OVERHEAD_BYTES, (1 << 31) - 1)
        _check_range(self, "append_message_bytes", 1, self.message_bytes_max)
        _check_range(self, "append_bytes_in_flight_max", 1, 1 << 40)
        _check_range(self, "keepalive_time_ms", 1_000, 86_400_000)
        _check_range(self, "keepalive_timeout_ms", 1_000, 86_400_000)
        _check_range(self, "commit_threads", 1, 1_000)

    @property
    def batch_bytes_max(self) -> int:
        return self.message_bytes_max - MESSAGE_OVERHEAD_BYTES
