"""ListPartitionReassignments (key 46), versions 0 to 0: with one node none is ever made."""

from __future__ import annotations

from logstore_server.kafka.admin import outcome
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values


def handle(request: Request) -> Values:
    return {"throttle_time": 0, "topics": [], **outcome()}
