"""Types of `_codec.py`, whose own annotations are C types."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Self, final

from typing_extensions import Buffer

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

def decode_records(
    body: Buffer,
    count: int,
    base_offset: int,
    last_offset_delta: int,
    base_timestamp: int,
    delta_min: int,
    delta_max: int,
    append_time: int | None,
    from_offset: int,
    topic: str,
    partition: int,
) -> list[Record]: ...
def decode_columns(
    body: Buffer,
    count: int,
    base_offset: int,
    last_offset_delta: int,
    base_timestamp: int,
    delta_min: int,
    delta_max: int,
    append_time: int | None,
    from_offset: int,
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

class RecordEncoder:
    def __init__(self, bytes_max: int) -> None: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def record_count(self) -> int: ...
    @property
    def base_timestamp(self) -> int: ...
    @property
    def max_timestamp(self) -> int: ...
    def try_append(
        self,
        key: Buffer | None,
        value: Buffer | None,
        timestamp_ms: int,
        headers: Iterable[tuple[str, bytes | None]] = (),
    ) -> bool: ...
    def extend(
        self,
        values: tuple[bytes | None, ...],
        keys: tuple[bytes | None, ...] | None,
        timestamps: tuple[int, ...] | None,
        timestamp_ms: int,
        headers: tuple[Sequence[tuple[str, bytes | None]], ...] | None,
    ) -> int: ...
    def take(self) -> bytearray: ...
