"""Every name that Kafka gives a topic's config: what it means here, or why it cannot be had."""

from __future__ import annotations

import pytest

from logstore.config import (
    TOPIC_CONFIGS,
    canonical_config_names,
    canonical_topic_configs,
)
from logstore.config_names import (
    BROKER_NAMES,
    FIXED,
    INT64_MAX,
    TYPES,
    ConfigType,
    fixed_config,
    kafka_name,
    our_name,
)
from logstore.errors import InvalidConfigError

# All of TopicConfig in Kafka 4.1.
KAFKAS = {
    "cleanup.policy", "compression.gzip.level", "compression.lz4.level", "compression.type",
    "compression.zstd.level", "delete.retention.ms", "file.delete.delay.ms", "flush.messages",
    "flush.ms", "follower.replication.throttled.replicas", "index.interval.bytes",
    "leader.replication.throttled.replicas", "local.retention.bytes", "local.retention.ms",
    "max.compaction.lag.ms", "max.message.bytes", "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms", "message.timestamp.type", "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms", "min.insync.replicas", "preallocate", "remote.log.copy.disable",
    "remote.log.delete.on.disable", "remote.storage.enable", "retention.bytes", "retention.ms",
    "segment.bytes", "segment.index.bytes", "segment.jitter.ms", "segment.ms",
    "unclean.leader.election.enable",
}  # fmt: skip

SAME = [
    ("cleanup.policy", "compact", "cleanup_policy", "compact"),
    ("cleanup.policy", "delete,compact", "cleanup_policy", "compact,delete"),
    ("compression.gzip.level", "-1", "compression_gzip_level", "-1"),
    ("compression.lz4.level", "17", "compression_lz4_level", "17"),
    ("compression.type", "zstd", "compression_type", "zstd"),
    ("compression.zstd.level", "-131072", "compression_zstd_level", "-131072"),
    ("delete.retention.ms", "7", "delete_retention_ms", "7"),
    ("flush.ms", "1000", "flush_interval_ms", "1000"),
    ("flush.ms", str(INT64_MAX), "flush_interval_ms", "100"),
    ("index.interval.bytes", "4096", "index_interval_bytes", "4096"),
    ("max.message.bytes", "1048588", "max_message_bytes", "1048588"),
    ("message.timestamp.type", "LogAppendTime", "message_timestamp_type", "LogAppendTime"),
    ("min.cleanable.dirty.ratio", "0.01", "min_cleanable_dirty_ratio", "0.01"),
    ("min.compaction.lag.ms", "5", "min_compaction_lag_ms", "5"),
    ("retention.bytes", "-1", "retention_bytes", "-1"),
    ("retention.ms", "604800000", "retention_ms", "604800000"),
    ("segment.bytes", "1073741824", "segment_bytes", "1073741824"),
    ("segment.ms", "604800000", "segment_ms", "604800000"),
]


def test_every_name_of_kafkas_is_one_of_ours_or_fixed() -> None:
    ours = {kafka_name(name) for name in TOPIC_CONFIGS}
    assert ours | set(FIXED) == KAFKAS | {"durability", "partitioner"}
    assert not ours & set(FIXED)
    assert {given for given, *_ in SAME} == KAFKAS - set(FIXED)


def test_names_go_both_ways() -> None:
    for name in TOPIC_CONFIGS:
        assert our_name(kafka_name(name)) == name
        assert our_name(name) == name


def test_every_config_has_a_type_and_known_synonyms() -> None:
    assert set(TYPES) == set(TOPIC_CONFIGS)
    assert set(BROKER_NAMES) <= KAFKAS


@pytest.mark.parametrize(("given", "value", "ours", "stored"), SAME)
def test_a_config_of_kafkas_is_ours(given: str, value: str, ours: str, stored: str) -> None:
    assert canonical_topic_configs({given: value}) == {ours: stored}
    assert canonical_config_names([given]) == {ours}


@pytest.mark.parametrize("name", sorted(FIXED))
def test_what_is_so_anyway_is_accepted_and_changes_nothing(name: str) -> None:
    config = FIXED[name]
    for value in (config.value, *config.accepted, f" {config.value} "):
        assert canonical_topic_configs({name: value}) == {}
        assert canonical_topic_configs({name.replace(".", "_"): value}) == {}
    assert canonical_config_names([name]) == set()
    assert config.documentation.endswith(".")


REFUSED = {
    "file.delete.delay.ms": "-1",
    "flush.messages": "1",
    "follower.replication.throttled.replicas": "*",
    "leader.replication.throttled.replicas": "0:1",
    "local.retention.bytes": "100",
    "local.retention.ms": "100",
    "max.compaction.lag.ms": "1000",
    "message.timestamp.after.max.ms": "3600000",
    "message.timestamp.before.max.ms": "3600000",
    "min.insync.replicas": "2",
    "preallocate": "perhaps",
    "remote.log.copy.disable": "true",
    "remote.log.delete.on.disable": "true",
    "remote.storage.enable": "true",
    "segment.index.bytes": "1024",
    "segment.jitter.ms": "5",
    "unclean.leader.election.enable": "perhaps",
}


def test_there_is_a_refusal_for_every_fixed_name() -> None:
    assert set(REFUSED) == set(FIXED)


@pytest.mark.parametrize(("name", "value"), sorted(REFUSED.items()))
def test_what_cannot_be_had_is_refused_with_the_reason(name: str, value: str) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        canonical_topic_configs({name: value})
    assert FIXED[name].documentation in refused.value.message
    assert FIXED[name].allowed in refused.value.message
    assert refused.value.details["config"] == name


@pytest.mark.parametrize("value", ["²", "9" * 5000, "", "-1", str(INT64_MAX + 1), "1e3"])
def test_a_number_is_a_number_of_64_bits(value: str) -> None:
    with pytest.raises(InvalidConfigError, match="a whole number from 0 to 9223372036854775807"):
        canonical_topic_configs({"file.delete.delay.ms": value})


def test_a_hint_takes_any_value_that_holds_here_too() -> None:
    assert canonical_topic_configs({"file.delete.delay.ms": "0"}) == {}
    assert canonical_topic_configs({"segment.index.bytes": "52428800"}) == {}
    assert canonical_topic_configs({"unclean.leader.election.enable": "TRUE"}) == {}


def test_a_name_given_twice_in_two_spellings_is_refused() -> None:
    for twice in (
        {"min.insync.replicas": "1", "min_insync_replicas": "1"},
        {"flush.ms": "5", "flush_interval_ms": "5"},
    ):
        with pytest.raises(InvalidConfigError, match="twice"):
            canonical_topic_configs(twice)


def test_a_name_that_nobody_knows_is_refused() -> None:
    assert fixed_config("message.format.version") is None
    with pytest.raises(InvalidConfigError, match="no topic config"):
        canonical_config_names(["message.format.version"])


def test_a_boolean_is_one() -> None:
    assert FIXED["preallocate"].type is ConfigType.BOOLEAN
