"""GetTelemetrySubscriptions (key 71), versions 0 to 0: which metrics a client should push: none.

A client that gets no metrics to send stays quiet and asks again after `PUSH_INTERVAL_MS`
(KIP-714). It is given an id if it has none.

Not done: PushTelemetry, which nobody is asked for.
"""

from __future__ import annotations

import uuid

from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode

# Kafka's. librdkafka counts in microseconds of 32 bits: of an hour it makes no time at all, and
# asks thousands of times a second.
PUSH_INTERVAL_MS = 5 * 60 * 1000
TELEMETRY_BYTES_MAX = 1 << 20  # Kafka's; of what is never asked for


def handle(request: Request) -> Values:
    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE,
        "client_instance_id": request.body.client_instance_id or uuid.uuid4(),
        "subscription_id": 0,
        "accepted_compression_types": (),
        "push_interval": PUSH_INTERVAL_MS,
        "telemetry_max_bytes": TELEMETRY_BYTES_MAX,
        "delta_temporality": True,
        "requested_metrics": (),
    }
