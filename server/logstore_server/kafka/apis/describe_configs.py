"""DescribeConfigs (key 32), versions 1 to 4: configs of topics and of this broker.

What each version added
    1  synonyms, the source of a value        3  type and documentation        4  flexible

Topics tell every config under Kafka's name, those that have no meaning here (read only) too. A
broker's are what Kafka's clients read of one; none can be changed while the server runs. Groups
have no configs of their own: their answer is empty.

Not done: client metrics and loggers have no configs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from logstore.errors import LogStoreError
from logstore_server.kafka.admin import RefusedError, outcome
from logstore_server.kafka.config_answers import ConfigResource, broker_answers, topic_answer
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.topic_configs import topic_entries


def handle(request: Request) -> Values:
    return {
        "throttle_time": 0,
        "results": [_result(request, resource) for resource in request.body.resources],
    }


def _result(request: Request, resource: Any) -> dict[str, Any]:
    result: dict[str, Any] = {
        "resource_type": resource.resource_type,
        "resource_name": resource.resource_name,
        "configs": [],
    }
    try:
        configs = _configs(request, resource.resource_type, resource.resource_name)
        wanted = resource.configuration_keys
        result["configs"] = [
            _shown(request, config) for config in configs if not wanted or config["name"] in wanted
        ]
    except (LogStoreError, RefusedError) as error:
        return result | outcome(error)
    return result | outcome()


def _configs(request: Request, kind: int, name: str) -> Iterable[dict[str, Any]]:
    if kind == ConfigResource.TOPIC:
        (topic,) = request.store.describe_topics([name])
        return [topic_answer(entry) for entry in topic_entries(topic.configs, topic.overrides)]
    if kind == ConfigResource.BROKER:
        node_id = str(request.store.describe_store().node_id)
        if name not in ("", node_id):
            raise RefusedError(
                ErrorCode.INVALID_REQUEST, f"there is no broker {name!r}: this is {node_id}"
            )
        return broker_answers(request) if name else []  # "": what is set for all brokers
    if kind in (ConfigResource.GROUP, ConfigResource.CLIENT_METRICS):
        return []
    raise RefusedError(ErrorCode.INVALID_REQUEST, f"a resource of type {kind} has no configs")


def _shown(request: Request, config: dict[str, Any]) -> dict[str, Any]:
    shown = dict(config)
    if not request.body.include_synonyms:
        shown["synonyms"] = []
    if not getattr(request.body, "include_documentation", False):
        shown["documentation"] = None
    return shown
