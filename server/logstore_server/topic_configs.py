"""A topic's configs as listeners show and change them, under Kafka's names.

Shared by listeners, which do not see the engine's tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from logstore.config import TOPIC_CONFIGS
from logstore.config_names import (
    BROKER_NAMES,
    FIXED,
    TYPES,
    ConfigType,
    fixed_config,
    kafka_name,
    our_name,
)
from logstore.errors import InvalidConfigError


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """`broker_name`: what Kafka calls the default of it, "" for what it does not have."""

    name: str
    value: str
    default: str
    is_set: bool
    is_fixed: bool
    type: ConfigType
    documentation: str
    broker_name: str = ""


def topic_entries(
    configs: Mapping[str, str], overrides: Mapping[str, str]
) -> Iterator[ConfigEntry]:
    """Of a TopicInfo's mappings; without any: of a topic that sets nothing."""
    for key in TOPIC_CONFIGS.values():
        name = kafka_name(key.name)
        yield ConfigEntry(
            name=name,
            value=configs.get(key.name, key.default),
            default=key.default,
            is_set=key.name in overrides,
            is_fixed=False,
            type=TYPES[key.name],
            documentation=key.documentation,
            broker_name=BROKER_NAMES.get(name, ""),
        )
    for fixed in FIXED.values():
        yield ConfigEntry(
            name=fixed.name,
            value=fixed.value,
            default=fixed.value,
            is_set=False,
            is_fixed=True,
            type=fixed.type,
            documentation=fixed.documentation,
            broker_name=BROKER_NAMES.get(fixed.name, ""),
        )


def with_default_partitioner(configs: Mapping[str, str]) -> dict[str, str]:
    """Of a topic that Kafka's clients create: murmur2 is what they choose partitions with."""
    given = {our_name(name) for name in configs}
    return dict(configs) if "partitioner" in given else {**configs, "partitioner": "murmur2"}


def list_config_changed(
    name: str, current: Mapping[str, str], *, add: str = "", remove: str = ""
) -> str:
    """The value of a config that is a list, with words added or taken away; `current`: the topic's
    configs. Raises InvalidConfigError if it is none."""
    key = our_name(name)
    fixed = fixed_config(name)
    kind = fixed.type if fixed is not None else TYPES.get(key)
    if kind is not ConfigType.LIST:
        raise InvalidConfigError(
            f"config {name} is no list: its value can be set, not added to or taken from",
            config=name,
        )
    words = _words(current.get(key, "" if fixed is None else fixed.value))
    removed = _words(remove)
    words = [word for word in words if word not in removed]
    return ",".join(dict.fromkeys([*words, *_words(add)]))


def _words(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip())]
