"""Plugin for confluent-kafka's integration tests: they take a cluster that is there by BROKERS."""

import os

os.environ["BROKERS"] = os.environ["CONFORMANCE_BOOTSTRAP"]
