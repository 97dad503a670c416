"""A consumer process for test_kill_member: says on stdout, a JSON line each, what it does and when.

Times are CLOCK_MONOTONIC, which all processes of the machine share. A line is written before the
program goes on, so the reader of a killed member's output knows all that it did.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable

import logstore
from logstore.api import TopicPartition


def say(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event, "at": time.monotonic()} | facts) + "\n")
    sys.stdout.flush()


def main(address: str, topic: str, group: str, session_timeout: float) -> None:
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))

    def changed(event: str) -> Callable[[list[TopicPartition]], None]:
        def tell(partitions: list[TopicPartition]) -> None:
            say(event, partitions=[partition for _, partition in partitions])

        return tell

    with (
        logstore.connect(address) as store,
        store.consumer(
            group=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout=session_timeout,
            max_poll_records=20,
        ) as consumer,
    ):
        say("joining")
        consumer.subscribe(
            [topic],
            on_assigned=changed("assigned"),
            on_revoked=changed("revoked"),
            on_lost=changed("lost"),
        )
        while not stopping:
            records = consumer.poll(0.2)
            if not records:
                continue
            for record in records:
                say("record", partition=record.partition, offset=record.offset)
            consumer.commit()
            say(
                "committed",
                offsets={record.partition: record.offset + 1 for record in records},
            )
    say("closed")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
