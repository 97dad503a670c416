"""AlterConfigs and IncrementalAlterConfigs: what they share.

Only topics have configs that can be changed. A broker's are told to the server when it starts;
to change "nothing" there is answered as done, so that tools which write back what they read can.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from logstore.api import TopicInfo
from logstore.errors import LogStoreError
from logstore_server.kafka.admin import RefusedError, outcome, repeated
from logstore_server.kafka.config_answers import ConfigResource
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.topic_configs import topic_entries

Alter = Callable[[Request, Any], Awaitable[None]]


async def alter_resources(request: Request, alter: Alter) -> Values:
    """`alter` for each topic of the request; raises LogStoreError, RefusedError."""
    resources = request.body.resources
    twice = repeated((one.resource_type, one.resource_name) for one in resources)
    results = []
    for resource in resources:
        result = {
            "resource_type": resource.resource_type,
            "resource_name": resource.resource_name,
        }
        try:
            if (resource.resource_type, resource.resource_name) in twice:
                raise RefusedError(ErrorCode.INVALID_REQUEST, "a resource is named twice")
            if again := repeated(config.name for config in resource.configs):
                raise RefusedError(
                    ErrorCode.INVALID_REQUEST, f"configs are named twice: {sorted(map(str, again))}"
                )
            if resource.resource_type == ConfigResource.TOPIC:
                await alter(request, resource)
            elif resource.configs:
                raise RefusedError(
                    ErrorCode.INVALID_REQUEST,
                    "only topics have configs that can be changed; a server's are given to "
                    "'logstore serve' when it starts",
                )
            results.append(result | outcome())
        except (LogStoreError, RefusedError) as error:
            results.append(result | outcome(error))
    return {"throttle_time": 0, "responses": results}


async def apply_changes(
    request: Request,
    topic: TopicInfo,
    *,
    set_configs: Mapping[str, str],
    resets: Sequence[str] = (),
    is_whole: bool = False,
) -> None:
    """`is_whole`: what is set on the topic and not named goes back to its default."""
    if is_whole:
        entries = topic_entries(topic.configs, topic.overrides)
        # The partitioner of Kafka's clients was not theirs to set.
        resets = [
            entry.name
            for entry in entries
            if entry.is_set and entry.name not in set_configs and entry.name != "partitioner"
        ]
    await request.bridge.call(
        request.store.alter_topic,
        topic.name,
        set_configs=set_configs,
        reset_configs=resets,
        validate_only=request.body.validate_only,
    )
