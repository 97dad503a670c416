"""Times and places in a log: from text and back. Pure.

A time is written as ISO 8601 and is UTC unless it says otherwise. A place is where reading
starts or where a group is moved to: an end of the log, an offset, a time or a distance.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import UTC, datetime

INT64_MAX = 2**63 - 1


def parse_time(text: str) -> int:
    """Milliseconds since the epoch. Raises ValueError with a sentence that says what is taken."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time; write it as 2013-07-01 or 2013-07-01T12:30:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # Not moment.timestamp(): a float would round some milliseconds down.
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def format_time(timestamp_ms: int) -> str:
    """ISO 8601 in UTC, with milliseconds only if there are any; "" for no timestamp."""
    if timestamp_ms < 0:
        return ""
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return str(timestamp_ms)  # beyond the year 9999
    fraction = f".{milliseconds:03d}" if milliseconds else ""
    return f"{moment.isoformat()}{fraction}Z"


class PlaceKind(enum.Enum):
    EARLIEST = enum.auto()
    LATEST = enum.auto()
    OFFSET = enum.auto()
    TIME = enum.auto()
    SHIFT = enum.auto()


@dataclass(frozen=True, slots=True)
class Place:
    """`value`: the offset, the time in milliseconds since the epoch, or the signed distance."""

    kind: PlaceKind
    value: int = 0


_ENDS = {
    "beginning": PlaceKind.EARLIEST,
    "earliest": PlaceKind.EARLIEST,
    "end": PlaceKind.LATEST,
    "latest": PlaceKind.LATEST,
}


def parse_place(text: str) -> Place:
    """Raises ValueError with a sentence that says what is taken."""
    text = text.strip()
    if text in _ENDS:
        return Place(_ENDS[text])
    if re.fullmatch(r"[+-]?[0-9]{1,19}", text) and abs(int(text)) <= INT64_MAX:
        kind = PlaceKind.SHIFT if text[0] in "+-" else PlaceKind.OFFSET
        return Place(kind, int(text))
    if re.match(r"[0-9]{4}-", text):
        return Place(PlaceKind.TIME, parse_time(text))
    raise ValueError(
        f"{text!r} is none of: beginning, end, an offset (42), a distance (-10, +10), "
        "a time (2013-07-01T12:30:00Z)"
    )


def parse_topic_partition(text: str) -> tuple[str, int]:
    """ "orders:3" as topic and partition."""
    topic, colon, number = text.rpartition(":")
    if not colon or not topic or not number.isdecimal():
        raise ValueError(f"{text!r} is not TOPIC:PARTITION, such as orders:3")
    return topic, int(number)


def format_bytes(count: int) -> str:
    """With a binary unit and three digits: "31.2 MiB"."""
    if count < 1024:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.3g} {unit}" if size < 999.5 else f"{size:.0f} {unit}"
    return f"{size / 1024:,.1f} TiB"


def plural(count: int, noun: str) -> str:
    """ "1 record", "2,000 records"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
