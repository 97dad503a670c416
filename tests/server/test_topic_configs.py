from __future__ import annotations

import pytest

from logstore.config import TOPIC_CONFIGS
from logstore.config_names import FIXED
from logstore.errors import InvalidConfigError
from logstore_server.topic_configs import (
    list_config_changed,
    topic_entries,
    with_default_partitioner,
)


def test_every_config_is_shown_once_under_kafkas_name() -> None:
    names = [entry.name for entry in topic_entries({}, {})]
    assert len(names) == len(set(names)) == len(TOPIC_CONFIGS) + len(FIXED)
    assert not any("_" in name for name in names)


def test_what_is_set_is_told_from_defaults() -> None:
    found = {
        entry.name: entry for entry in topic_entries({"retention_ms": "5"}, {"retention_ms": "5"})
    }
    assert (found["retention.ms"].value, found["retention.ms"].default) == ("5", "-1")
    assert [name for name, entry in found.items() if entry.is_set] == ["retention.ms"]
    assert found["min.insync.replicas"].is_fixed


def test_the_partitioner_is_kafkas_unless_it_is_chosen() -> None:
    assert with_default_partitioner({}) == {"partitioner": "murmur2"}
    assert with_default_partitioner({"partitioner": "crc32"}) == {"partitioner": "crc32"}


@pytest.mark.parametrize(
    ("current", "add", "remove", "result"),
    [
        ("delete", "compact", "", "delete,compact"),
        ("compact,delete", "compact", "", "compact,delete"),
        ("compact,delete", "", "compact", "delete"),
        ("delete", "", "compact", "delete"),
        ("delete", " compact , delete", "", "delete,compact"),
    ],
)
def test_words_of_a_list(current: str, add: str, remove: str, result: str) -> None:
    configs = {"cleanup_policy": current}
    assert list_config_changed("cleanup.policy", configs, add=add, remove=remove) == result


def test_what_is_no_list() -> None:
    for name in ("retention.ms", "compression.type", "nope"):
        with pytest.raises(InvalidConfigError, match="no list"):
            list_config_changed(name, {}, add="5")
    name = "leader.replication.throttled.replicas"
    assert list_config_changed(name, {}, add="0:1") == "0:1"
