"""ApiVersions (key 18), versions 0 to 4: which APIs and versions this listener serves.

What each version added
    1  throttle time
    2  nothing
    3  flexible; the client's software name and version; features
    4  features whose lowest level is 0 are listed

A version that is not known is answered with UNSUPPORTED_VERSION in a body of version 0, so that the
client can come down. The answer's header has always version 0, as the client knows ours only later.

Not done: a software name that Kafka would refuse (INVALID_REQUEST) is taken.
"""

from __future__ import annotations

from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.registry import APIS, FEATURES

VERSION_MAX = 4
FEATURES_ALL_VERSION = 4  # older ones get only features whose lowest level is not 0


def handle(request: Request) -> Values:
    if request.version > VERSION_MAX or request.version < 0:
        return _answer(request.version) | {"error_code": ErrorCode.UNSUPPORTED_VERSION}
    if request.version >= 3:
        body = request.body
        request.client.software = f"{body.client_software_name} {body.client_software_version}"
    return _answer(request.version)


def _answer(version: int) -> dict[str, object]:
    shown = {
        name: levels
        for name, levels in FEATURES.items()
        if levels[0] > 0 or version >= FEATURES_ALL_VERSION
    }
    return {
        "error_code": ErrorCode.NONE,
        "api_keys": [
            {
                "api_key": api.key,
                "min_version": api.first_version,
                "max_version": api.version_max,
            }
            for api in APIS
        ],
        "throttle_time": 0,
        "supported_features": [
            {"name": name, "min_version": low, "max_version": high}
            for name, (low, high) in shown.items()
        ],
        "finalized_features_epoch": 0,
        "finalized_features": [
            {"name": name, "max_version_level": high, "min_version_level": high}
            for name, (_, high) in FEATURES.items()
        ],
    }
