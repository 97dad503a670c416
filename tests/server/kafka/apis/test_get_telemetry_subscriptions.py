from __future__ import annotations

import uuid

from tests.server.kafka.wire import Wire


def test_no_metrics_are_wanted(wire: Wire) -> None:
    answer = wire.ask("get_telemetry_subscriptions", 0, client_instance_id=None)
    assert answer.error_code == 0
    assert answer.requested_metrics == ()
    assert answer.client_instance_id is not None
    assert answer.push_interval.total_seconds() * 1_000_000 < 1 << 31, "librdkafka's range"
    mine = uuid.uuid4()
    again = wire.ask("get_telemetry_subscriptions", 0, client_instance_id=mine)
    assert again.client_instance_id == mine
