from __future__ import annotations

import pytest

from logstore.errors import InvalidConfigError
from logstore.remote import RemoteConfig


@pytest.mark.parametrize(
    "fields",
    [
        {"request_timeout_ms": 0},
        {"backoff_ms_min": 2_000},  # above the maximum
        {"message_bytes_max": 1},
        {"append_message_bytes": 1 << 30},
        {"commit_threads": 0},
    ],
)
def test_a_bad_value_is_refused_with_its_range(fields: dict[str, int]) -> None:
    (name,) = fields
    with pytest.raises(InvalidConfigError, match=f"{name}=.* takes a number from"):
        RemoteConfig(**fields)


def test_the_client_pings_no_faster_than_the_server_bears() -> None:
    from logstore_server.config import RpcConfig

    assert RemoteConfig().keepalive_time_ms > RpcConfig().client_ping_interval_ms_min
