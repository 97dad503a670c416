"""What the schemas' classes say of their fields; for encoding.py and decoding.py."""

from __future__ import annotations

from dataclasses import Field
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

# Fields of a fixed size, as struct has them.
FORMATS = {
    "int8": "b", "int16": "h", "int32": "i", "int64": "q",
    "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
    "float64": "d", "bool": "?", "error_code": "h",
    "timedelta_i32": "i", "timedelta_i64": "q",
}  # fmt: skip


def inner_type(field: Field[Any]) -> tuple[Any, bool, bool]:
    """(type without its wrappings, whether it is an array, whether None is a value)."""
    kind, nullable = _without_none(field.type)
    if get_origin(kind) is not tuple:
        return kind, False, nullable
    inner, inner_nullable = _without_none(get_args(kind)[0])
    return inner, True, nullable or inner_nullable


def _without_none(kind: Any) -> tuple[Any, bool]:
    if get_origin(kind) not in (UnionType, Union):
        return kind, False
    kinds = [arg for arg in get_args(kind) if arg is not NoneType]
    return kinds[0], len(kinds) < len(get_args(kind))
