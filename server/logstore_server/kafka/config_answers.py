"""Configs in Kafka's terms: kinds of resources, sources, and the configs of this broker."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

from logstore_server.config import join_address
from logstore_server.kafka.context import Request
from logstore_server.topic_configs import ConfigEntry, topic_entries

BOOLEAN, STRING, INT, LONG, LIST = 1, 2, 3, 5, 7  # types of a config


class ConfigResource(enum.IntEnum):
    """Kafka's numbers."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class ConfigSource(enum.IntEnum):
    """Kafka's numbers."""

    DYNAMIC_TOPIC_CONFIG = 1
    STATIC_BROKER_CONFIG = 4
    DEFAULT_CONFIG = 5


def source_of(entry: ConfigEntry) -> ConfigSource:
    return ConfigSource.DYNAMIC_TOPIC_CONFIG if entry.is_set else ConfigSource.DEFAULT_CONFIG


def topic_answer(entry: ConfigEntry) -> dict[str, Any]:
    synonyms = []
    if entry.is_set:
        source = ConfigSource.DYNAMIC_TOPIC_CONFIG
        synonyms.append({"name": entry.name, "value": entry.value, "source": source})
    if entry.broker_name:
        source = ConfigSource.DEFAULT_CONFIG
        synonyms.append({"name": entry.broker_name, "value": entry.default, "source": source})
    return {
        "name": entry.name,
        "value": entry.value,
        "read_only": entry.is_fixed,
        "is_default": not entry.is_set,
        "config_source": source_of(entry),
        "is_sensitive": False,
        "synonyms": synonyms,
        "config_type": entry.type,
        "documentation": entry.documentation,
    }


def broker_answers(request: Request) -> Iterator[dict[str, Any]]:
    """All are told to the server when it starts, so none can be changed here."""
    for name, value, kind, documentation in _broker_configs(request):
        yield _broker_answer(name, value, kind, documentation, ConfigSource.STATIC_BROKER_CONFIG)
    for entry in topic_entries({}, {}):
        if entry.broker_name:
            yield _broker_answer(
                entry.broker_name,
                entry.default,
                entry.type,
                f"The default of {entry.name}. {entry.documentation}",
                ConfigSource.DEFAULT_CONFIG,
            )


def _broker_configs(request: Request) -> Iterator[tuple[str, str, int, str]]:
    config = request.serving.config
    store = request.store.describe_store()
    protocol = request.serving.protocol
    address = join_address(request.serving.host, request.serving.port)
    node_id = str(store.node_id)
    yield "broker.id", node_id, INT, "The node's number, kept in the store."
    yield "node.id", node_id, INT, "The node's number, kept in the store."
    yield "process.roles", "broker,controller", LIST, "There is one node, which is both."
    yield (
        "listeners", f"{protocol}://{address}", LIST,
        "Where Kafka's clients are served (kafka.host, kafka.port).",
    )  # fmt: skip
    yield (
        "advertised.listeners", f"{protocol}://{address}", LIST,
        "Where clients are told to connect (kafka.advertised_host, kafka.advertised_port).",
    )  # fmt: skip
    yield "log.dirs", store.data_dir, LIST, "The store's directory."
    yield "log.dir", store.data_dir, STRING, "The store's directory."
    yield (
        "auto.create.topics.enable", str(config.auto_create_topics).lower(), BOOLEAN,
        "Whether a topic is made when a client asks for it (kafka.auto_create_topics).",
    )  # fmt: skip
    yield (
        "num.partitions", str(config.num_partitions), INT,
        "Partitions of a topic that is created without a number (kafka.num_partitions).",
    )  # fmt: skip
    yield "default.replication.factor", "1", INT, "There is one node."
    yield "delete.topic.enable", "true", BOOLEAN, "Topics can be deleted."
    yield (
        "socket.request.max.bytes", str(config.request_bytes_max), INT,
        "The largest request (kafka.request_bytes_max).",
    )  # fmt: skip
    yield (
        "max.connections", str(config.connections_max), INT,
        "Connections at one time (kafka.connections_max).",
    )  # fmt: skip
    yield (
        "connections.max.idle.ms", str(config.connections_idle_ms), LONG,
        "A connection on which nothing moves for so long is closed (kafka.connections_idle_ms).",
    )  # fmt: skip
    yield (
        "fetch.max.bytes", str(config.fetch_bytes_max), INT,
        "The most that one fetch is answered with (kafka.fetch_bytes_max).",
    )  # fmt: skip


def _broker_answer(
    name: str, value: str, kind: int, documentation: str, source: ConfigSource
) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "read_only": True,
        "is_default": source is ConfigSource.DEFAULT_CONFIG,
        "config_source": source,
        "is_sensitive": False,
        "synonyms": [{"name": name, "value": value, "source": source}],
        "config_type": kind,
        "documentation": documentation,
    }
