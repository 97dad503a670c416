"""Kafka's names for the configs of a topic, and what each of them means here.

A name either is one of ours in Kafka's spelling (`OUR_NAMES`: "retention.ms" is `retention_ms`), or
has no meaning in a store of one machine (`FIXED`). Such a one is accepted with the values under
which Kafka would do what logstore does anyway, and changes nothing; any other value is refused with
a sentence that says why, so that nobody relies on what is not there.

`TYPES` and `BROKER_NAMES` are what DescribeConfigs tells of a config beside its value.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from logstore.errors import InvalidConfigError

INT64_MAX = (1 << 63) - 1
_INT64_MAX_TEXT = str(INT64_MAX)


class ConfigType(enum.IntEnum):
    """Kafka's numbers (DescribeConfigs)."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    LONG = 5
    DOUBLE = 6
    LIST = 7


# Kafka's name -> ours, where that is more than another spelling; the others have dots for
# underscores.
OUR_NAMES = {"flush.ms": "flush_interval_ms"}
KAFKA_NAMES = {ours: name for name, ours in OUR_NAMES.items()}

TYPES = {
    "cleanup_policy": ConfigType.LIST,
    "compression_gzip_level": ConfigType.INT,
    "compression_lz4_level": ConfigType.INT,
    "compression_type": ConfigType.STRING,
    "compression_zstd_level": ConfigType.INT,
    "delete_retention_ms": ConfigType.LONG,
    "durability": ConfigType.STRING,
    "flush_interval_ms": ConfigType.LONG,
    "index_interval_bytes": ConfigType.INT,
    "max_message_bytes": ConfigType.INT,
    "message_timestamp_type": ConfigType.STRING,
    "min_cleanable_dirty_ratio": ConfigType.DOUBLE,
    "min_compaction_lag_ms": ConfigType.LONG,
    "partitioner": ConfigType.STRING,
    "retention_bytes": ConfigType.LONG,
    "retention_ms": ConfigType.LONG,
    "segment_bytes": ConfigType.INT,
    "segment_ms": ConfigType.LONG,
}

# Kafka's name -> the broker's config that a topic without its own takes it from.
BROKER_NAMES = {
    "cleanup.policy": "log.cleanup.policy",
    "compression.gzip.level": "compression.gzip.level",
    "compression.lz4.level": "compression.lz4.level",
    "compression.type": "compression.type",
    "compression.zstd.level": "compression.zstd.level",
    "delete.retention.ms": "log.cleaner.delete.retention.ms",
    "file.delete.delay.ms": "log.segment.delete.delay.ms",
    "flush.messages": "log.flush.interval.messages",
    "flush.ms": "log.flush.interval.ms",
    "index.interval.bytes": "log.index.interval.bytes",
    "max.compaction.lag.ms": "log.cleaner.max.compaction.lag.ms",
    "max.message.bytes": "message.max.bytes",
    "message.timestamp.after.max.ms": "log.message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms": "log.message.timestamp.before.max.ms",
    "message.timestamp.type": "log.message.timestamp.type",
    "min.cleanable.dirty.ratio": "log.cleaner.min.cleanable.ratio",
    "min.compaction.lag.ms": "log.cleaner.min.compaction.lag.ms",
    "min.insync.replicas": "min.insync.replicas",
    "preallocate": "log.preallocate",
    "retention.bytes": "log.retention.bytes",
    "retention.ms": "log.retention.ms",
    "segment.bytes": "log.segment.bytes",
    "segment.index.bytes": "log.index.size.max.bytes",
    "segment.jitter.ms": "log.roll.jitter.ms",
    "segment.ms": "log.roll.ms",
    "unclean.leader.election.enable": "unclean.leader.election.enable",
}


@dataclass(frozen=True, slots=True)
class FixedConfig:
    """A config of Kafka's that is what it is here.

    `value` is shown; `accepted` may be given, or with `minimum` any whole number from there on.
    `documentation` says how it is here, and is the reason that a refusal gives.
    """

    name: str
    type: ConfigType
    value: str
    documentation: str
    accepted: tuple[str, ...] = ()
    minimum: int | None = None

    @property
    def allowed(self) -> str:
        if self.minimum is not None:
            return f"a whole number from {self.minimum} to {INT64_MAX}"
        named = (self.value, *self.accepted)
        return "only " + " or ".join(value or "nothing" for value in named)

    def check(self, given: str) -> None:
        """Raises InvalidConfigError for a value that would have a meaning."""
        text = given.strip()
        if self.type is ConfigType.BOOLEAN:
            text = text.lower()
        if text == self.value or text in self.accepted or self._is_large_enough(text):
            return
        raise InvalidConfigError(
            f"config {self.name}={given!r} is not valid here: it takes {self.allowed}. "
            f"{self.documentation}",
            config=self.name,
            value=given,
            allowed=self.allowed,
        )

    def _is_large_enough(self, text: str) -> bool:
        if self.minimum is None or not (text.isascii() and text.isdigit()):
            return False
        return len(text) <= len(_INT64_MAX_TEXT) and self.minimum <= int(text) <= INT64_MAX


_TIERED = "There is no remote storage; segments stay in the store's directory."
_REPLICAS = "A store has one replica of each partition, which is its leader."
_ANY_TIME = "A record's timestamp is taken as its producer gave it, however far from now."

FIXED: dict[str, FixedConfig] = {
    config.name: config
    for config in (
        FixedConfig(
            "file.delete.delay.ms", ConfigType.LONG, "60000",
            "A deleted segment's bytes stay as long as somebody reads them, however long that is.",
            minimum=0,
        ),
        FixedConfig(
            "flush.messages", ConfigType.LONG, _INT64_MAX_TEXT,
            "Appends are synced by durability and flush_interval_ms (flush.ms), not by count: "
            "with durability=fsync none is acknowledged before it is on disk.",
        ),
        FixedConfig(
            "follower.replication.throttled.replicas", ConfigType.LIST, "", _REPLICAS,
        ),
        FixedConfig(
            "leader.replication.throttled.replicas", ConfigType.LIST, "", _REPLICAS,
        ),
        FixedConfig(
            "local.retention.bytes", ConfigType.LONG, "-2", _TIERED,
        ),
        FixedConfig(
            "local.retention.ms", ConfigType.LONG, "-2", _TIERED,
        ),
        FixedConfig(
            "max.compaction.lag.ms", ConfigType.LONG, _INT64_MAX_TEXT,
            "A compacted topic is compacted by min_cleanable_dirty_ratio alone; a lower ratio "
            "compacts sooner.",
        ),
        FixedConfig(
            "message.timestamp.after.max.ms", ConfigType.LONG, _INT64_MAX_TEXT, _ANY_TIME,
        ),
        FixedConfig(
            "message.timestamp.before.max.ms", ConfigType.LONG, _INT64_MAX_TEXT, _ANY_TIME,
        ),
        FixedConfig(
            "min.insync.replicas", ConfigType.INT, "1", _REPLICAS,
        ),
        FixedConfig(
            "preallocate", ConfigType.BOOLEAN, "true",
            "Segment files always get their space in steps before it is written.",
            accepted=("false",),
        ),
        FixedConfig(
            "remote.log.copy.disable", ConfigType.BOOLEAN, "false", _TIERED,
        ),
        FixedConfig(
            "remote.log.delete.on.disable", ConfigType.BOOLEAN, "false", _TIERED,
        ),
        FixedConfig(
            "remote.storage.enable", ConfigType.BOOLEAN, "false", _TIERED,
        ),
        FixedConfig(
            "segment.index.bytes", ConfigType.INT, "10485760",
            "An index grows with its segment, up to 10 MiB.",
            minimum=10 << 20,
        ),
        FixedConfig(
            "segment.jitter.ms", ConfigType.LONG, "0",
            "A segment is closed at its own time; there is no herd of replicas to spread.",
        ),
        FixedConfig(
            "unclean.leader.election.enable", ConfigType.BOOLEAN, "false", _REPLICAS,
            accepted=("true",),
        ),
    )
}  # fmt: skip


def our_name(given: str) -> str:
    """`given` in our spelling, whichever it has; not a promise that there is such a config."""
    return OUR_NAMES.get(given, given.replace(".", "_"))


def kafka_name(ours: str) -> str:
    """A config of ours as Kafka's clients see it."""
    return KAFKA_NAMES.get(ours, ours.replace("_", "."))


def fixed_config(given: str) -> FixedConfig | None:
    """The config without a meaning here that is called so, in Kafka's spelling or with
    underscores."""
    return FIXED.get(given) or FIXED.get(given.replace("_", "."))
