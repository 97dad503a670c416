"""What the transactions need of the store's topics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from logstore.log import Flusher, PartitionLog


class Partitions(Protocol):
    flusher: Flusher

    def log(self, name: str, partition: int) -> PartitionLog: ...

    def log_for_users(self, name: str, partition: int) -> PartitionLog: ...

    def all_logs(self) -> Iterable[PartitionLog]: ...

    def allocate_producer_id(self) -> int: ...
