"""Requests from bytes: a version of the schema and a frame in, an object with its fields out.

The schema is the message class of one version (kio's, generated from Kafka's own). What is read is
an object of that class, but for

    times        timedelta, or datetime (None for -1)
    error codes  int
    ids          uuid.UUID, or None for zeros
    records      a memoryview of the frame: record bytes are not copied. Other bytes: bytes.

A count is believed only as far as bytes are there for it, and a request has at most `ITEMS_MAX`
items in all its arrays: objects take many times the bytes they come from. Tagged fields that are
not known are skipped.

Why not kio's own decoder: it allocates for a count before it looks at the bytes, and where that
fails it aborts the process; and it refuses tagged fields that it does not know.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from logstore_server.kafka.schema import FORMATS, inner_type

ITEMS_MAX = 1_000_000
VARINT_BYTES_MAX = 5
_INT8 = struct.Struct(">b")
_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")


class MalformedRequestError(Exception):
    """The bytes of a request are not one. Ends the connection."""


class Input:
    """Bytes being read, from `position` on; `items` may come still."""

    __slots__ = ("data", "end", "items", "position")

    def __init__(self, data: memoryview, position: int) -> None:
        self.data = data
        self.position = position
        self.end = len(data)
        self.items = ITEMS_MAX

    def take(self, size: int) -> memoryview:
        start = self.position
        end = start + size
        if end > self.end:
            raise MalformedRequestError(f"{size} bytes are announced, {self.end - start} are there")
        self.position = end
        return self.data[start:end]

    def number(self, layout: struct.Struct) -> int:
        (number,) = self.unpack(layout)
        return int(number)

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        start = self.position
        self.position = start + layout.size
        if self.position > self.end:
            raise MalformedRequestError("the request ends inside a field")
        return layout.unpack_from(self.data, start)

    def varint(self) -> int:
        number = 0
        for shift in range(0, 7 * VARINT_BYTES_MAX, 7):
            if self.position >= self.end:
                raise MalformedRequestError("the request ends inside a number")
            byte = self.data[self.position]
            self.position += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise MalformedRequestError("a number has more than 32 bits")

    def count(self, count: int) -> int:
        """Of an array: each item has at least one byte."""
        self.items -= count
        if count > self.end - self.position or self.items < 0:
            raise MalformedRequestError(f"an array of {count} items does not fit in the request")
        return count


Reader: TypeAlias = Callable[[Input], Any]
Step: TypeAlias = Callable[[Input, list[Any]], None]


def entity_reader(cls: type[Any]) -> Reader:
    """A function that reads an entity of this class; raises MalformedRequestError."""
    flexible: bool = cls.__flexible__
    steps: list[Step] = []
    tagged: dict[int, tuple[int, Reader]] = {}  # tag -> index of the field
    defaults: list[Any] = []
    run: list[str] = []  # struct formats of neighbours, read in one go
    all_fields = fields(cls)
    for index, field in enumerate(all_fields):
        defaults.append(None)
        if (tag := field.metadata.get("tag")) is not None:
            if run:
                steps.append(_run_step(run))
                run = []
            tagged[tag] = index, field_reader(field, flexible)
            steps.append(_default_step(_tagged_default(field)))
            continue
        form = _plain_format(field)
        if form is not None:
            run.append(form)
            continue
        if run:
            steps.append(_run_step(run))
            run = []
        steps.append(_field_step(field_reader(field, flexible)))
    if run:
        steps.append(_run_step(run))
    # The class is frozen, which its own slots are not: an object costs half of what a call does.
    setters = [cls.__dict__[field.name].__set__ for field in all_fields]

    def read(source: Input) -> Any:
        values: list[Any] = []
        for step in steps:
            step(source, values)
        if flexible:
            _read_tags(source, tagged, values)
        entity = object.__new__(cls)
        for setter, value in zip(setters, values, strict=True):
            setter(entity, value)
        return entity

    return read


def _run_step(run: list[str]) -> Step:
    layout = struct.Struct(">" + "".join(run))

    def step(source: Input, values: list[Any]) -> None:
        values += source.unpack(layout)

    return step


def _field_step(reader: Reader) -> Step:
    def step(source: Input, values: list[Any]) -> None:
        values.append(reader(source))

    return step


def _default_step(default: Any) -> Step:
    def step(_: Input, values: list[Any]) -> None:
        values.append(default)

    return step


def _read_tags(source: Input, tagged: dict[int, tuple[int, Reader]], values: list[Any]) -> None:
    for _ in range(source.varint()):  # each has two bytes or more, or the input ends
        tag = source.varint()
        size = source.varint()
        known = tagged.get(tag)
        if known is None:
            source.take(size)
            continue
        end = source.position + size
        if end > source.end:
            raise MalformedRequestError("the request ends inside a tagged field")
        index, reader = known
        values[index] = reader(source)
        if source.position != end:
            raise MalformedRequestError(f"tagged field {tag} is not of the length it says")


# --- fields ---------------------------------------------------------------------------------


def _plain_format(field: Field[Any]) -> str | None:
    kind, is_array, _ = inner_type(field)
    if is_array or is_dataclass(kind):
        return None
    kafka_type = field.metadata["kafka_type"]
    return None if kafka_type.startswith("timedelta") else FORMATS.get(kafka_type)


def _tagged_default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    kind, _, nullable = inner_type(field)
    if nullable or is_dataclass(kind):
        return None
    return {"string": "", "bytes": b"", "uuid": None}.get(field.metadata["kafka_type"], 0)


def field_reader(field: Field[Any], flexible: bool) -> Reader:
    kind, is_array, nullable = inner_type(field)
    if is_dataclass(kind):
        inner = entity_reader(kind)  # type: ignore[arg-type]
        if nullable and not is_array:
            inner = _nullable_entity(inner)
    else:
        kafka_type = field.metadata["kafka_type"]
        if is_array and kafka_type in FORMATS and not kafka_type.startswith("timedelta"):
            return _numbers(FORMATS[kafka_type], flexible, nullable)
        inner = _primitive(kafka_type, flexible, nullable and not is_array)
    return _array(inner, flexible, nullable) if is_array else inner


def _nullable_entity(inner: Reader) -> Reader:
    def read(source: Input) -> Any:
        return None if source.number(_INT8) < 0 else inner(source)

    return read


def _read_count(source: Input, flexible: bool, nullable: bool) -> int:
    """-1 for null."""
    count = source.varint() - 1 if flexible else source.number(_INT32)
    if count >= 0:
        return source.count(count)
    if count == -1 and nullable:
        return -1
    raise MalformedRequestError(f"an array cannot have {count} items here")


def _array(inner: Reader, flexible: bool, nullable: bool) -> Reader:
    def read(source: Input) -> Any:
        count = _read_count(source, flexible, nullable)
        return None if count < 0 else tuple([inner(source) for _ in range(count)])

    return read


def _number(form: str) -> Reader:
    layout = struct.Struct(">" + form)

    def read(source: Input) -> Any:
        return source.unpack(layout)[0]

    return read


def _numbers(form: str, flexible: bool, nullable: bool) -> Reader:
    def read(source: Input) -> Any:
        count = _read_count(source, flexible, nullable)
        return None if count < 0 else source.unpack(struct.Struct(f">{count}{form}"))

    return read


def _primitive(kafka_type: str, flexible: bool, nullable: bool) -> Reader:
    if kafka_type in _READERS:
        return _READERS[kafka_type]
    if kafka_type in FORMATS:
        return _number(FORMATS[kafka_type])
    is_text = kafka_type == "string"
    is_view = kafka_type == "records"
    if not is_text and not is_view and kafka_type != "bytes":
        raise NotImplementedError(f"no reader for {kafka_type}")

    def read(source: Input) -> Any:
        if flexible:
            size = source.varint() - 1
        else:
            size = source.number(_INT16 if is_text else _INT32)
        if size < 0:
            if size == -1 and nullable:
                return None
            raise MalformedRequestError(f"a {kafka_type} cannot have {size} bytes here")
        data = source.take(size)
        if is_text:
            try:
                return str(data, "utf-8")
            except UnicodeDecodeError:
                raise MalformedRequestError("a string is not UTF-8") from None
        return data if is_view else bytes(data)

    return read


def _read_uuid(source: Input) -> uuid.UUID | None:
    value = uuid.UUID(bytes=bytes(source.take(16)))
    return value if value.int else None


def _read_milliseconds(layout: struct.Struct) -> Reader:
    def read(source: Input) -> timedelta:
        milliseconds = source.number(layout)
        try:
            return timedelta(milliseconds=milliseconds)
        except OverflowError:
            raise MalformedRequestError(f"{milliseconds} ms are no time") from None

    return read


def _read_datetime(source: Input) -> datetime | None:
    milliseconds = source.number(_INT64)
    if milliseconds == -1:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        raise MalformedRequestError(f"{milliseconds} is no time") from None


_READERS: dict[str, Reader] = {
    "uuid": _read_uuid,
    "timedelta_i32": _read_milliseconds(_INT32),
    "timedelta_i64": _read_milliseconds(_INT64),
    "datetime_i64": _read_datetime,
}
