from __future__ import annotations

import pytest

from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


@pytest.mark.parametrize("version", range(7))
@pytest.mark.parametrize("kind", [0, 1])
def test_this_server_serves_every_group_and_id(wire: Wire, version: int, kind: int) -> None:
    answer = wire.ask(
        "find_coordinator", version, key="g", key_type=kind, coordinator_keys=["g", "h"]
    )
    port = wire.socket.getpeername()[1]
    found = answer.coordinators if version >= 4 else [answer]
    assert [(one.error_code, one.host, one.port) for one in found] == [
        (0, "127.0.0.1", port)
    ] * len(found)
    assert len(found) == (2 if version >= 4 else 1)


def test_what_has_no_coordinator(wire: Wire) -> None:
    share = wire.ask("find_coordinator", 6, key_type=2, coordinator_keys=["g:x:0"])
    assert share.coordinators[0].error_code == ErrorCode.INVALID_REQUEST
    nothing = wire.ask("find_coordinator", 2, key_type=1, key="")
    assert nothing.error_code == ErrorCode.INVALID_REQUEST
