"""Configuration as frozen values, checked when they are made; units are in the names.

Topic configs are a table (`TOPIC_CONFIGS`), so that validation, `topic describe` and the
documentation say the same. Kafka's spelling of a key ("retention.ms") means ours (config_names.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from logstore.config_names import INT64_MAX, fixed_config, our_name
from logstore.errors import InvalidConfigError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One topic config: its default as text, what it may be, and what it is for."""

    name: str
    default: str
    documentation: str
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 0
    is_fraction: bool = False
    is_default_apart: bool = False  # the default is a number outside the range

    @property
    def allowed(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = "number" if self.is_fraction else "whole number"
        other = f", or {self.default}" if self.is_default_apart else ""
        return f"a {kind} from {self.minimum} to {self.maximum}{other}"

    def parse(self, text: str) -> int | float | str:
        """Raises InvalidConfigError. A choice of several words may name them in any order."""
        if self.choices:
            words = sorted(word.strip() for word in text.split(","))
            if ",".join(words) in self.choices:
                return ",".join(words)
        else:
            number: int | float
            try:
                number = float(text) if self.is_fraction else int(text)
            except ValueError:
                number = self.minimum - 1
            if self.minimum <= number <= self.maximum:
                return number
            if self.is_default_apart and text == self.default:
                return number
        raise InvalidConfigError(
            f"config {self.name}={text!r} is not valid: it takes {self.allowed}",
            config=self.name,
            value=text,
            allowed=self.allowed,
        )


def _number(name: str, default: int, minimum: int, maximum: int, documentation: str) -> ConfigKey:
    return ConfigKey(name, str(default), documentation, minimum=minimum, maximum=maximum)


def _fraction(name: str, default: float, documentation: str) -> ConfigKey:
    return ConfigKey(name, str(default), documentation, maximum=1, is_fraction=True)


def _choice(name: str, choices: tuple[str, ...], documentation: str) -> ConfigKey:
    return ConfigKey(name, choices[0], documentation, choices=choices)


TOPIC_CONFIGS: dict[str, ConfigKey] = {
    key.name: key
    for key in (
        _choice(
            "durability",
            ("fsync", "page_cache"),
            "fsync: an acks=all append is answered after a sync that covers it. page_cache: it is "
            "answered at once and flushed in the background; survives a killed process, not a "
            "power loss.",
        ),
        _number(
            "flush_interval_ms", 100, 1, DAY_MS,
            "An append that nobody waits for is synced within this time.",
        ),
        _number(
            "segment_bytes", 256 * MIB, 16 * KIB, 2 * GIB - 1,
            "A segment file is closed and the next begun at this size.",
        ),
        _number(
            "segment_ms", 7 * DAY_MS, 1, INT64_MAX,
            "A segment is closed when its first record is older than this.",
        ),
        _number(
            "index_interval_bytes", 4096, 64, 16 * MIB,
            "One offset index entry for about this many bytes of log.",
        ),
        _number(
            "retention_ms", -1, -1, INT64_MAX,
            "Segments whose newest record is older than this are deleted; -1 keeps them.",
        ),
        _number(
            "retention_bytes", -1, -1, INT64_MAX,
            "Oldest segments are deleted while the partition is larger than this; -1 keeps them.",
        ),
        _number(
            "max_message_bytes", 8 * MIB, 61, GIB,
            "The largest record batch accepted, in bytes as sent and stored (after compression).",
        ),
        _choice(
            "message_timestamp_type",
            ("CreateTime", "LogAppendTime"),
            "Whether a record keeps its producer's timestamp or gets the time of its append.",
        ),
        _choice(
            "partitioner",
            ("murmur3", "murmur2", "crc32"),
            "How clients choose the partition of a record with a key.",
        ),
        _choice(
            "cleanup_policy",
            ("delete", "compact", "compact,delete"),
            "What becomes of old segments: delete follows the retention configs; compact keeps the "
            "last record of each key, whatever their age, and takes no record without a key.",
        ),
        _number(
            "delete_retention_ms", DAY_MS, 0, INT64_MAX // 2,
            "A record without a value (it deletes its key) stays this long after the compaction "
            "that first saw it, for readers that are behind.",
        ),
        _fraction(
            "min_cleanable_dirty_ratio", 0.5,
            "A partition is compacted when this share of its closed segments, in bytes, was not "
            "compacted yet.",
        ),
        _number(
            "min_compaction_lag_ms", 0, 0, INT64_MAX,
            "Segments whose newest record is younger than this are not compacted yet.",
        ),
        _choice(
            "compression_type",
            ("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"),
            "How batches are stored. producer: as they were sent. Else a batch that was sent in "
            "another codec is compressed again before it is stored, which takes the server's time.",
        ),
        ConfigKey(
            "compression_gzip_level", "-1",
            "How hard gzip tries where compression_type is gzip; -1 is gzip's own choice.",
            minimum=1, maximum=9, is_default_apart=True,
        ),
        _number(
            "compression_lz4_level", 9, 1, 17,
            "Kept and shown where compression_type is lz4; the codec here has one level.",
        ),
        _number(
            "compression_zstd_level", 3, -131072, 22,
            "How hard zstd tries where compression_type is zstd.",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """The effective configs of one topic. See TOPIC_CONFIGS for meaning and ranges."""

    durability: str
    flush_interval_ms: int
    segment_bytes: int
    segment_ms: int
    index_interval_bytes: int
    retention_ms: int
    retention_bytes: int
    max_message_bytes: int
    message_timestamp_type: str
    partitioner: str
    cleanup_policy: str
    delete_retention_ms: int
    min_cleanable_dirty_ratio: float
    min_compaction_lag_ms: int
    compression_type: str
    compression_gzip_level: int
    compression_lz4_level: int
    compression_zstd_level: int

    @property
    def is_compacted(self) -> bool:
        return self.cleanup_policy != "delete"

    @property
    def is_deleted(self) -> bool:
        """Whether retention_ms and retention_bytes count."""
        return self.cleanup_policy != "compact"

    @classmethod
    def from_overrides(cls, overrides: Mapping[str, str]) -> TopicConfig:
        """Defaults with `overrides` (canonical names) applied; raises InvalidConfigError."""
        values = {
            name: key.parse(overrides.get(name, key.default)) for name, key in TOPIC_CONFIGS.items()
        }
        return cls(**values)  # type: ignore[arg-type]

    def as_mapping(self) -> dict[str, str]:
        return {field.name: str(getattr(self, field.name)) for field in fields(self)}


def topic_config_key(given: str) -> ConfigKey:
    """The config of that name, in our spelling or Kafka's. Raises InvalidConfigError."""
    key = TOPIC_CONFIGS.get(our_name(given))
    if key is None:
        known = ", ".join(sorted(TOPIC_CONFIGS))
        raise InvalidConfigError(
            f"there is no topic config {given!r}; the known ones are {known}", config=given
        )
    return key


def canonical_topic_configs(configs: Mapping[str, str]) -> dict[str, str]:
    """Check names and values; the same configs under our spelling, without those of Kafka's that
    have no meaning here. Raises InvalidConfigError."""
    result: dict[str, str] = {}
    seen: set[str] = set()
    for given, value in configs.items():
        fixed = fixed_config(given)
        name = topic_config_key(given).name if fixed is None else fixed.name
        if name in seen:
            raise InvalidConfigError(f"config {name} is given twice", config=name)
        seen.add(name)
        if fixed is not None:
            fixed.check(value)
        elif given == "flush.ms" and value == str(INT64_MAX):  # Kafka's "the system may decide"
            result[name] = TOPIC_CONFIGS[name].default
        else:
            result[name] = str(TOPIC_CONFIGS[name].parse(value))
    return result


def canonical_config_names(names: Iterable[str]) -> set[str]:
    """The names in our spelling, without those of Kafka's that have no meaning here. Raises
    InvalidConfigError for one that there is not."""
    return {topic_config_key(name).name for name in names if fixed_config(name) is None}


def _check_range(owner: object, name: str, minimum: float, maximum: float) -> None:
    value = getattr(owner, name)
    if not minimum <= value <= maximum:
        raise InvalidConfigError(
            f"{name}={value} is not valid: it takes a number from {minimum} to {maximum}",
            config=name,
            value=value,
        )


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Limits and times of consumer groups, for all groups of a store."""

    session_timeout_ms: int = 45_000
    session_timeout_ms_min: int = 500
    session_timeout_ms_max: int = 30 * 60 * 1000
    heartbeat_interval_ms: int = 3_000
    rebalance_timeout_ms: int = 5 * 60 * 1000
    members_max: int = 10_000
    offsets_retention_ms: int = 7 * DAY_MS
    offset_metadata_bytes_max: int = 4096
    # The first members of a classic group wait for more to come, and for their own metadata: a
    # kafka-python member that joins before it knows its topic's partitions is assigned none, joins
    # again, and never takes up that answer if its poll timed out on it. Kafka waits 3000.
    classic_initial_rebalance_delay_ms: int = 500

    def __post_init__(self) -> None:
        _check_range(self, "session_timeout_ms_min", 1, self.session_timeout_ms_max)
        _check_range(
            self, "session_timeout_ms", self.session_timeout_ms_min, self.session_timeout_ms_max
        )
        _check_range(self, "heartbeat_interval_ms", 1, self.session_timeout_ms)
        _check_range(self, "classic_initial_rebalance_delay_ms", 0, 60_000)
        _check_range(self, "rebalance_timeout_ms", 1, INT64_MAX)
        _check_range(self, "members_max", 1, 1_000_000)
        _check_range(self, "offsets_retention_ms", 1, INT64_MAX)
        _check_range(self, "offset_metadata_bytes_max", 0, 1 << 20)


@dataclass(frozen=True, slots=True)
class TransactionConfig:
    """Limits and times of producers and their transactions, for a whole store."""

    transaction_timeout_ms_max: int = 15 * 60 * 1000
    transactional_id_retention_ms: int = 7 * DAY_MS  # unused so long, an id is forgotten
    producer_retention_ms: int = DAY_MS  # the same for a producer's sequences in a partition

    def __post_init__(self) -> None:
        _check_range(self, "transaction_timeout_ms_max", 1, (1 << 31) - 1)
        _check_range(self, "transactional_id_retention_ms", 1, INT64_MAX)
        _check_range(self, "producer_retention_ms", 1, INT64_MAX)


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Limits of a whole store; none of them changes what is stored."""

    open_segments_max: int = (
        1_000  # each holds up to three files and maps (RLIMIT_NOFILE, max_map_count)
    )
    leases_max: int = 10_000  # views handed out and not yet closed
    decompressed_bytes_max: int = 256 * MIB  # what one compressed batch may unfold to
    partitions_max: int = 20_000
    waiters_max: int = 100_000
    retention_check_interval_ms: int = 30_000
    compaction_memory_bytes: int = 64 * MIB  # of the map from keys to offsets: 2 million keys
    offsets_topic_partitions: int = 1
    flush_threads: int = 8  # files synced side by side in one flush round
    syncfs_threshold: int = 4  # from this many dirty files on, one syncfs replaces them
    group: GroupConfig = GroupConfig()
    transaction: TransactionConfig = TransactionConfig()

    def __post_init__(self) -> None:
        _check_range(self, "open_segments_max", 8, 1_000_000)
        _check_range(self, "leases_max", 1, 10_000_000)
        _check_range(self, "decompressed_bytes_max", 64 * KIB, 16 * GIB)
        _check_range(self, "partitions_max", 1, 1_000_000)
        _check_range(self, "waiters_max", 1, 100_000_000)
        _check_range(self, "retention_check_interval_ms", 1, DAY_MS)
        _check_range(self, "compaction_memory_bytes", 4 * KIB, 64 * GIB)
        _check_range(self, "offsets_topic_partitions", 1, 50)
        _check_range(self, "flush_threads", 1, 256)
        _check_range(self, "syncfs_threshold", 1, 1_000_000)
