"""Types of `_codec.py`, whose own annotations are C types."""

from array import array
from typing import Self, TypeAlias, final

from typing_extensions import Buffer

# count, base offset, last offset delta, base timestamp, least and largest timestamp delta whose sum
# with it is in range, LogAppendTime's timestamp, from_offset
Span: TypeAlias = tuple[int, int, int, int, int, int, int | None, int]

def is_compiled() -> bool: ...
def walk_records(
    body: Buffer,
    count: int,
    delta_min: int,
    delta_max: int,
    delta_max_is_reached: bool,
    require_keys: bool,
) -> None: ...

@final
class Record:
    def __new__(
        cls,
        *,
        offset: int,
        timestamp: int,
        key: bytes | None = None,
        value: bytes | None = None,
        headers: tuple[tuple[str, bytes | None], ...] = (),
        topic: str = "",
        partition: int = -1,
    ) -> Self: ...
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
    def headers(self) -> tuple[tuple[str, bytes | None], ...]: ...
    def __hash__(self) -> int: ...

def decode_records(body: Buffer, span: Span, topic: str, partition: int) -> list[Record]: ...
def decode_columns(
    body: Buffer, span: Span
) -> tuple[
    int,
    array[int],
    array[int],
    array[int],
    bytearray,
    bytearray | None,
    array[int],
    bytearray,
    bytearray | None,
]: ...
def append_ends(target: array[int], at: int, ends: array[int]) -> None: ...
