"""Topics, partitions and the store itself, as values."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class TopicPartition(NamedTuple):
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What to create. `configs` override the defaults of logstore.config.TOPIC_CONFIGS."""

    name: str
    partitions: int = 1
    configs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """One partition as it stands now; `endpoint` ("host:port") serves it, "" means this store."""

    partition: int
    endpoint: str
    leader_epoch: int
    log_start_offset: int
    high_watermark: int
    log_end_offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """`configs` holds every config's effective value, `overrides` the ones set for the topic."""

    name: str
    topic_id: uuid.UUID
    internal: bool
    configs: Mapping[str, str]
    overrides: Mapping[str, str]
    partitions: tuple[PartitionInfo, ...]

    @property
    def partitioner(self) -> str:
        return self.configs["partitioner"]


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """`data_dir`: the directory of a local store, "" for one that is elsewhere."""

    cluster_id: str
    node_id: int
    endpoints: tuple[str, ...]
    version: str
    data_dir: str = ""
