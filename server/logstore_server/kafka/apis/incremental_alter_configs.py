"""IncrementalAlterConfigs (key 44), versions 0 to 1: single configs of topics.

What each version added
    1  flexible

A config is set, or deleted (back to its default); to one that is a list, words are added or taken
away. Each topic is altered by itself; durable when answered. See config_changes.py for other
resources.
"""

from __future__ import annotations

import enum
from typing import Any

from logstore_server.kafka.admin import RefusedError
from logstore_server.kafka.config_changes import alter_resources, apply_changes
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.topic_configs import list_config_changed


class ConfigOperation(enum.IntEnum):
    """Kafka's numbers."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


async def handle(request: Request) -> Values:
    return await alter_resources(request, _alter)


async def _alter(request: Request, resource: Any) -> None:
    (topic,) = request.store.describe_topics([resource.resource_name])
    changes: dict[str, str] = {}
    resets: list[str] = []
    for config in resource.configs:
        operation, value = config.config_operation, config.value
        if operation == ConfigOperation.DELETE:
            resets.append(config.name)
        elif value is None:
            raise RefusedError(ErrorCode.INVALID_REQUEST, f"config {config.name} has no value")
        elif operation == ConfigOperation.SET:
            changes[config.name] = value
        elif operation == ConfigOperation.APPEND:
            changes[config.name] = list_config_changed(config.name, topic.configs, add=value)
        elif operation == ConfigOperation.SUBTRACT:
            changes[config.name] = list_config_changed(config.name, topic.configs, remove=value)
        else:
            raise RefusedError(ErrorCode.INVALID_REQUEST, f"there is no operation {operation}")
    await apply_changes(request, topic, set_configs=changes, resets=resets)
