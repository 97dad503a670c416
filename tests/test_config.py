from __future__ import annotations

import pytest

from logstore.config import (
    TOPIC_CONFIGS,
    GroupConfig,
    StoreConfig,
    TopicConfig,
    canonical_topic_configs,
)
from logstore.errors import InvalidConfigError


def test_the_defaults_are_valid_and_complete() -> None:
    config = TopicConfig.from_overrides({})
    assert config.as_mapping() == {name: key.default for name, key in TOPIC_CONFIGS.items()}
    assert canonical_topic_configs(config.as_mapping()) == config.as_mapping()


def test_kafkas_spelling_means_ours() -> None:
    assert canonical_topic_configs({"retention.ms": "5"}) == {"retention_ms": "5"}
    with pytest.raises(InvalidConfigError, match="twice"):
        canonical_topic_configs({"retention.ms": "5", "retention_ms": "6"})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("retention_ms", "-2", "from -1 to"),
        ("retention_ms", "soon", "a whole number from -1"),
        ("segment_bytes", "1", "from 16384 to 2147483647"),
        ("durability", "maybe", "one of fsync, page_cache"),
        ("min_cleanable_dirty_ratio", "1.5", "a number from 0 to 1"),
        ("min_cleanable_dirty_ratio", "nan", "a number from 0 to 1"),
        ("compression_gzip_level", "0", "a whole number from 1 to 9, or -1"),
        ("compression_gzip_level", "-2", "a whole number from 1 to 9, or -1"),
        ("compression_lz4_level", "18", "from 1 to 17"),
        ("compression_type", "none", "one of producer, uncompressed, gzip, snappy, lz4, zstd"),
        ("compression_zstd_level", "23", "from -131072 to 22"),
        ("cleanup_policy", "delete,", "one of delete, compact, compact,delete"),
    ],
)
def test_a_bad_value_is_told_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(InvalidConfigError, match=allowed):
        canonical_topic_configs({name: value})


def test_a_default_outside_the_range() -> None:
    for value in ("-1", "1", "9"):
        given = {"compression.gzip.level": value}
        assert canonical_topic_configs(given) == {"compression_gzip_level": value}


def test_what_becomes_of_old_segments() -> None:
    def config(policy: str) -> TopicConfig:
        return TopicConfig.from_overrides({"cleanup_policy": policy})

    assert [config(policy).is_compacted for policy in ("delete", "compact", "compact,delete")] == [
        False,
        True,
        True,
    ]
    assert [config(policy).is_deleted for policy in ("delete", "compact", "compact,delete")] == [
        True,
        False,
        True,
    ]
    assert canonical_topic_configs({"cleanup.policy": "delete, compact"}) == {
        "cleanup_policy": "compact,delete"
    }


def test_an_unknown_config_is_told_the_known_ones() -> None:
    with pytest.raises(InvalidConfigError, match="retention_bytes"):
        canonical_topic_configs({"retention": "5"})


def test_every_config_explains_itself() -> None:
    for key in TOPIC_CONFIGS.values():
        assert key.documentation.endswith(".")
        assert key.allowed


def test_store_and_group_limits_are_checked_on_construction() -> None:
    with pytest.raises(InvalidConfigError, match="leases_max=0"):
        StoreConfig(leases_max=0)
    with pytest.raises(InvalidConfigError, match="heartbeat_interval_ms"):
        GroupConfig(heartbeat_interval_ms=60_000)
