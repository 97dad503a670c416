"""Types of `_encoder.py`, whose own annotations are C types."""

from collections.abc import Iterable, Sequence

from typing_extensions import Buffer

def is_compiled() -> bool: ...

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
