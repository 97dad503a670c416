"""What an append is told, and what it answers."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Flush(Enum):
    """Who sees to it that an append is flushed."""

    NOW = "the driver, which is told"
    LED = "whoever waits for it, by leading a round or by `want_flush`"
    LATER = "the driver, within flush_interval_ms"


class Appended(NamedTuple):
    base_offset: int
    last_offset: int
    log_append_time_ms: int  # -1 unless the topic's timestamps are LogAppendTime
    duplicate: bool
