"""AlterConfigs (key 33), versions 0 to 2: all configs of topics anew.

What each version added
    2  flexible

What is not named goes back to its default; IncrementalAlterConfigs (44) changes single ones. Each
topic is altered by itself; durable when answered. See config_changes.py for other resources.
"""

from __future__ import annotations

from typing import Any

from logstore_server.kafka.config_changes import alter_resources, apply_changes
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values


async def handle(request: Request) -> Values:
    return await alter_resources(request, _alter)


async def _alter(request: Request, resource: Any) -> None:
    (topic,) = request.store.describe_topics([resource.resource_name])
    given = {config.name: config.value for config in resource.configs if config.value is not None}
    await apply_changes(request, topic, set_configs=given, is_whole=True)
