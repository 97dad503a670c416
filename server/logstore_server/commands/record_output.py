"""Output of `consume`: records as bytes. Pure.

A format is a name or a template:

    value       the value and a newline
    key-value   the key, a separator (a tab), the value and a newline; nothing for a null key
    json        one object a line, which `produce --format json` reads back
    TEMPLATE    any text with fields in braces, such as '{partition}:{offset} {key}={value}\\n';
                the fields are FIELDS below; \\n, \\t, \\0 and \\\\ as in C, {{ and }} for braces;
                a newline is not added
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Protocol

from logstore_server.commands.values import format_time

Headers = tuple[tuple[str, bytes | None], ...]


class OutputRecord(Protocol):
    """What is read of a record; logstore's records have it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


Format = Callable[[OutputRecord], bytes]

FIELDS: dict[str, Format] = {
    "topic": lambda record: record.topic.encode(),
    "partition": lambda record: b"%d" % record.partition,
    "offset": lambda record: b"%d" % record.offset,
    "timestamp": lambda record: b"%d" % record.timestamp,
    "time": lambda record: format_time(record.timestamp).encode(),
    "key": lambda record: record.key or b"",
    "value": lambda record: record.value or b"",
    "headers": lambda record: json.dumps(_headers(record.headers), ensure_ascii=False).encode(),
}
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\0": "\0", "\\\\": "\\"}


def record_format(text: str, *, key_separator: str = "\t") -> Format:
    """The format of that name, or the template. Raises ValueError with what is taken."""
    separator = key_separator.encode()
    if text == "value":
        return lambda record: (record.value or b"") + b"\n"
    if text == "key-value":
        return lambda record: (record.key or b"") + separator + (record.value or b"") + b"\n"
    if text == "json":
        return lambda record: as_json(record).encode() + b"\n"
    if "{" in text:
        return _template(text)
    raise ValueError(
        f"{text!r} is none of value, key-value, json, and no template such as "
        r"'{offset} {key}={value}\n'"
    )


def _template(text: str) -> Format:
    text = re.sub(r"\\[ntr0\\]", lambda match: _ESCAPES[match[0]], text)
    parts: list[bytes | Format] = []
    for literal in re.split(r"(\{\{|\}\}|\{[^{}]*\})", text):
        if literal in ("{{", "}}"):
            parts.append(literal[0].encode())
        elif literal.startswith("{") and literal.endswith("}"):
            name = literal[1:-1]
            if name not in FIELDS:
                raise ValueError(f"a template has no field {name!r}; there are {', '.join(FIELDS)}")
            parts.append(FIELDS[name])
        elif "{" in literal or "}" in literal:
            raise ValueError("a brace in the template has no partner; write {{ or }} for a brace")
        else:
            parts.append(literal.encode())

    def render(record: OutputRecord) -> bytes:
        return b"".join(part if isinstance(part, bytes) else part(record) for part in parts)

    return render


def as_json(record: OutputRecord) -> str:
    return json.dumps(as_dict(record), ensure_ascii=False)


def as_dict(record: OutputRecord) -> dict[str, object]:
    """The object that `json` prints."""
    item: dict[str, object] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
    }
    for name, data in (("key", record.key), ("value", record.value)):
        try:
            item[name] = None if data is None else data.decode()
        except UnicodeDecodeError:
            item[f"{name}_base64"] = base64.b64encode(data or b"").decode()
    if record.headers:
        item["headers"] = _headers(record.headers)
    return item


def _headers(headers: Headers) -> object:
    """An object, or a list of pairs where a name repeats."""
    pairs = [(name, _header_value(value)) for name, value in headers]
    as_object = dict(pairs)
    return as_object if len(as_object) == len(pairs) else pairs


def _header_value(value: bytes | None) -> object:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
