"""Input of `produce`: lines, JSON lines or whole files as records. Pure but for reading files.

A JSON line is one object, all fields optional:

    {"key": "k", "value": "v", "headers": {"h": "x"}, "timestamp": 1357034400000, "partition": 2}

    key, value       a string, sent as UTF-8; null or left out; anything else is sent as JSON
    *_base64         "key_base64" and "value_base64" instead: bytes that are not text
    headers          an object, or a list of [name, value] where names repeat; a header's value is
                     a string, null, or {"base64": "..."}
    timestamp        milliseconds since the epoch, or a time in ISO 8601
    partition        instead of the one that the key chooses

`consume --format json` writes the same, and fields of its own (topic, offset) that are ignored
here, so that one can be piped into the other.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from logstore_server.commands.values import parse_time

# A line is a record, and no topic takes one larger than a batch may be.
LINE_BYTES_MAX = 1 << 30


class InputRecord(NamedTuple):
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int | None = None
    partition: int | None = None


class InputError(Exception):
    """A line is not what the format asks for; the message names it."""


def read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines without their newline, as they come (a pipe's line is not held back)."""
    while line := stream.readline(LINE_BYTES_MAX):
        yield line.removesuffix(b"\n")


def records_from_lines(
    lines: Iterable[bytes], *, name: str, key_separator: str | None
) -> Iterator[InputRecord]:
    """A record a line; with `key_separator` what stands before its first occurrence is the key."""
    if key_separator is None:
        yield from map(InputRecord, lines)
        return
    separator = key_separator.encode()
    for number, line in enumerate(lines, 1):
        key, found, value = line.partition(separator)
        if not found:
            raise InputError(
                f"{name}, line {number} has no key: {key_separator!r} does not occur in it"
            )
        yield InputRecord(value, key)


def records_from_json(lines: Iterable[bytes], *, name: str) -> Iterator[InputRecord]:
    """A record a line of JSON; blank lines are skipped."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield record_from_json(line)
        except ValueError as error:
            raise InputError(f"{name}, line {number}: {error}") from None


def record_from_json(line: bytes) -> InputRecord:
    """Raises ValueError with what is wrong."""
    try:
        item = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at character {error.pos + 1})") from None
    except UnicodeDecodeError:
        raise ValueError("not JSON (it is not UTF-8)") from None
    if not isinstance(item, dict):
        raise ValueError('not a JSON object such as {"key": "k", "value": "v"}')
    partition = item.get("partition")
    if partition is not None and (type(partition) is not int or partition < 0):
        raise ValueError('"partition" must be a whole number from 0 on')
    return InputRecord(
        value=_bytes_field(item, "value"),
        key=_bytes_field(item, "key"),
        headers=_headers(item.get("headers")),
        timestamp_ms=_timestamp(item.get("timestamp")),
        partition=partition,
    )


def _bytes_field(item: dict[str, object], name: str) -> bytes | None:
    encoded = item.get(f"{name}_base64")
    if encoded is not None:
        if name in item:
            raise ValueError(f'give "{name}" or "{name}_base64", not both')
        return _from_base64(encoded, f"{name}_base64")
    value = item.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        return _utf8(value, name)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _utf8(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(f'"{name}" holds half a surrogate pair, which is not text') from None


def _from_base64(value: object, name: str) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise ValueError(f'"{name}" is not base64')


def _headers(value: object) -> tuple[tuple[str, bytes | None], ...]:
    if value is None:
        return ()
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list):
        raise ValueError('"headers" must be an object or a list of [name, value]')
    return tuple(_header(pair) for pair in pairs)


def _header(pair: object) -> tuple[str, bytes | None]:
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
        raise ValueError('"headers" must be an object or a list of [name, value]')
    name, value = pair
    if value is None:
        return name, None
    if isinstance(value, str):
        return name, _utf8(value, name)
    if isinstance(value, dict) and set(value) == {"base64"}:
        return name, _from_base64(value["base64"], name)
    raise ValueError(f'header "{name}" must be a string, null or {{"base64": "..."}}')


def _timestamp(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_time(value)
    if type(value) is int and 0 <= value < 2**63:
        return value
    raise ValueError('"timestamp" must be milliseconds since the epoch or a time in ISO 8601')
