"""Answers to bytes: plain values by name in, the bytes of one version of the schema out.

The schema is the message class of one version (kio's, generated from Kafka's own). A handler gives
a mapping from field names to values, whatever the version: what that version does not have is left
out, what is missing has the schema's default, or is a KeyError if the schema has none.

    times           int milliseconds (the schema's `throttle_time`, `log_append_time`: -1 for none)
    error codes     int
    ids             uuid.UUID, or None for zeros
    structs         mappings; arrays of them: sequences of mappings
    bytes, records  bytes or memoryview; large ones are not copied but become a part of the output

Why not kio's own writer: it wants objects of each version's classes, and costs three times this.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from logstore_server.kafka.schema import FORMATS, inner_type

Values: TypeAlias = Mapping[str, Any]
Part: TypeAlias = bytes | bytearray | memoryview

# Bytes below this are copied into their neighbours: a part of its own costs the kernel more.
COPIED_BYTES_MAX = 4 * 1024

_REQUIRED = object()
_INT8 = struct.Struct(">b")
_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")
_ZERO_UUID = bytes(16)


class Output:
    """Bytes being written. `parts` are finished, `tail` is what comes after them."""

    __slots__ = ("parts", "size", "tail")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.tail = bytearray()
        self.size = 0  # of `parts`

    def append_view(self, data: Part) -> None:
        if len(data) < COPIED_BYTES_MAX:
            self.tail += data
            return
        self.parts.append(self.tail)
        self.parts.append(data)
        self.size += len(self.tail) + len(data)
        self.tail = bytearray()

    @property
    def size_bytes(self) -> int:
        return self.size + len(self.tail)

    def finish(self) -> list[Part]:
        if self.tail:
            self.parts.append(self.tail)
        return self.parts


Writer: TypeAlias = Callable[[Output, Any], None]


def write_varint(tail: bytearray, number: int) -> None:
    while number > 0x7F:
        tail.append(number & 0x7F | 0x80)
        number >>= 7
    tail.append(number)


def entity_writer(cls: type[Any]) -> Writer:
    """A function that writes a mapping as an entity of this class."""
    flexible: bool = cls.__flexible__
    steps: list[Writer] = []
    tagged: list[tuple[int, str, Writer, object]] = []
    run: list[tuple[str, str, object]] = []  # name, struct format, default: written in one go
    for field in fields(cls):
        form = _fixed_format(field)
        tag = field.metadata.get("tag")
        if tag is None and form is not None:
            run.append((field.name, form, _default(field)))
            continue
        if run:
            steps.append(_run_writer(run))
            run = []
        writer = _field_writer(field, flexible)
        if tag is None:
            steps.append(_named_writer(field.name, writer, _default(field)))
        else:
            tagged.append((tag, field.name, writer, _tagged_default(field)))
    if run:
        steps.append(_run_writer(run))
    if flexible:
        steps.append(_tags_writer(sorted(tagged, key=lambda item: item[0])))
    if len(steps) == 1:
        return steps[0]

    def write(out: Output, values: Values) -> None:
        for step in steps:
            step(out, values)

    return write


def _run_writer(run: Sequence[tuple[str, str, object]]) -> Writer:
    pack = struct.Struct(">" + "".join(form for _, form, _ in run)).pack
    items = [(name, default) for name, _, default in run]

    def write(out: Output, values: Values) -> None:
        out.tail += pack(
            *[
                values[name] if default is _REQUIRED else values.get(name, default)
                for name, default in items
            ]
        )

    return write


def _named_writer(name: str, writer: Writer, default: object) -> Writer:
    def write(out: Output, values: Values) -> None:
        writer(out, values[name] if default is _REQUIRED else values.get(name, default))

    return write


def _tags_writer(tagged: Sequence[tuple[int, str, Writer, object]]) -> Writer:
    if not tagged:

        def write_none(out: Output, _: Values) -> None:
            out.tail.append(0)

        return write_none

    def write(out: Output, values: Values) -> None:
        present = [
            (tag, writer, values[name])
            for tag, name, writer, default in tagged
            if name in values and values[name] is not None and values[name] != default
        ]
        write_varint(out.tail, len(present))
        for tag, writer, value in present:
            inner = Output()
            writer(inner, value)
            data = b"".join(inner.finish())
            write_varint(out.tail, tag)
            write_varint(out.tail, len(data))
            out.tail += data

    return write


# --- fields ---------------------------------------------------------------------------------


def _fixed_format(field: Field[Any]) -> str | None:
    kind, is_array, _ = inner_type(field)
    if is_array or is_dataclass(kind):
        return None
    return FORMATS.get(field.metadata["kafka_type"])


def _default(field: Field[Any]) -> object:
    if field.default is MISSING:
        return _REQUIRED
    if isinstance(field.default, timedelta):
        return round(field.default.total_seconds() * 1000)
    return {} if is_dataclass(field.default) else field.default


def _tagged_default(field: Field[Any]) -> object:
    default = _default(field)
    return None if default is _REQUIRED else default


def _field_writer(field: Field[Any], flexible: bool) -> Writer:
    kind, is_array, nullable = inner_type(field)
    if is_dataclass(kind):
        inner = entity_writer(kind)  # type: ignore[arg-type]
        if not is_array and nullable:
            inner = _nullable_entity(inner)
    else:
        of_item = nullable and not is_array
        inner = _primitive_writer(field.metadata["kafka_type"], flexible, of_item)
    return _array_writer(inner, flexible) if is_array else inner


def _nullable_entity(inner: Writer) -> Writer:
    def write(out: Output, value: Values | None) -> None:
        out.tail += _INT8.pack(-1 if value is None else 1)
        if value is not None:
            inner(out, value)

    return write


def _array_writer(inner: Writer, flexible: bool) -> Writer:
    def write(out: Output, items: Sequence[Any] | None) -> None:
        if flexible:
            write_varint(out.tail, 0 if items is None else len(items) + 1)
        else:
            out.tail += _INT32.pack(-1 if items is None else len(items))
        for item in items or ():
            inner(out, item)

    return write


def _primitive_writer(kafka_type: str, flexible: bool, nullable: bool) -> Writer:
    if (form := FORMATS.get(kafka_type)) is not None:
        return _run_writer_of_one(form)
    if kafka_type == "uuid":
        return _write_uuid
    if kafka_type == "datetime_i64":
        return _write_datetime
    is_text = kafka_type == "string"
    if not is_text and kafka_type not in ("bytes", "records"):
        raise NotImplementedError(f"no writer for {kafka_type}")

    def write(out: Output, value: str | Part | None) -> None:
        if value is None and not nullable:
            raise ValueError(f"a {kafka_type} of this schema takes no null")
        data: Part | None = value.encode() if isinstance(value, str) else value
        if flexible:
            write_varint(out.tail, 0 if data is None else len(data) + 1)
        else:
            out.tail += (_INT16 if is_text else _INT32).pack(-1 if data is None else len(data))
        if data is not None:
            out.append_view(data)

    return write


def _run_writer_of_one(form: str) -> Writer:
    pack = struct.Struct(">" + form).pack

    def write(out: Output, value: Any) -> None:
        out.tail += pack(value)

    return write


def _write_uuid(out: Output, value: Any) -> None:
    out.tail += _ZERO_UUID if value is None else value.bytes


def _write_datetime(out: Output, value: int | None) -> None:
    out.tail += _INT64.pack(-1 if value is None else value)
