from __future__ import annotations

import pytest

from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.registry import APIS
from tests.server.kafka.wire import Wire, raw_request


def test_api_versions_tells_what_the_registry_holds(wire: Wire) -> None:
    for version in range(5):
        answer = wire.ask(
            "api_versions", version, client_software_name="t", client_software_version="1"
        )
        told = {one.api_key: (one.min_version, one.max_version) for one in answer.api_keys}
        assert told == {api.key: (api.first_version, api.version_max) for api in APIS}
    assert told[0][0] == 0  # or librdkafka stops compressing


@pytest.mark.parametrize("version", [5, 99, 32767, -1])
def test_an_unknown_version_of_api_versions_is_answered_in_version_0(
    wire: Wire, version: int
) -> None:
    wire.socket.sendall(raw_request(18, version, b"\0whatever comes"))
    _, answer = wire.receive("api_versions", 0)
    assert answer.error_code == ErrorCode.UNSUPPORTED_VERSION
    assert any(one.api_key == 18 for one in answer.api_keys)
    assert wire.ask("api_versions", 0).error_code == 0  # the client comes down
