"""`python -m benchmarks.macro`: the whole-process measurements, one after the other.

Every figure is a ratio of this run, or stands beside what it was measured against in it. Exits 1
if a limit that the project promises is not kept.
"""

from __future__ import annotations

import sys

from benchmarks.macro import durable_stream, grpc_stream, kafka_heartbeat, recovery, startup

SCALE = (
    "for scale, seen on 2 cores from Python: confluent-kafka into an in-memory Rust broker 0.73, "
    "Redis Streams 0.05, NATS JetStream 0.02, RabbitMQ 0.01 M records/s"
)


def main() -> int:
    print("--- start and footprint", flush=True)
    status = startup.main()
    print("--- streaming over gRPC, 100-byte records in batches of 1 MiB", flush=True)
    status |= grpc_stream.main([])
    print(SCALE)
    print("--- durable producers over gRPC", flush=True)
    status |= durable_stream.main([])
    print("--- heartbeats of a Kafka client", flush=True)
    status |= kafka_heartbeat.main([])
    print("--- opening a large store", flush=True)
    status |= recovery.main([])
    return status


if __name__ == "__main__":
    sys.exit(main())
