"""ListConfigResources (key 74), versions 0 to 1: of what DescribeConfigs can be asked.

What each version added
    1  other kinds than client metrics; version 0 was ListClientMetricsResources

Not done: client metrics and groups have no configs of their own, so none is listed.
"""

from __future__ import annotations

from logstore_server.kafka.admin import topics_by_name
from logstore_server.kafka.config_answers import ConfigResource
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode

KINDS_VERSION = 1


def handle(request: Request) -> Values:
    kinds = set(ConfigResource)
    if request.version < KINDS_VERSION:
        kinds = {ConfigResource.CLIENT_METRICS}
    elif request.body.resource_types:
        asked = set(request.body.resource_types)
        if not asked <= {int(kind) for kind in ConfigResource}:
            return _answer([], ErrorCode.UNSUPPORTED_VERSION)
        kinds = {ConfigResource(kind) for kind in asked}
    found: list[tuple[str, ConfigResource]] = []
    if ConfigResource.TOPIC in kinds:
        found += [(name, ConfigResource.TOPIC) for name in topics_by_name(request)]
    if ConfigResource.BROKER in kinds:
        found.append((str(request.store.describe_store().node_id), ConfigResource.BROKER))
    return _answer(found, ErrorCode.NONE)


def _answer(found: list[tuple[str, ConfigResource]], code: ErrorCode) -> Values:
    return {
        "throttle_time": 0,
        "error_code": code,
        "config_resources": [
            {"resource_name": name, "resource_type": kind} for name, kind in found
        ],
        "client_metrics_resources": [],
    }
