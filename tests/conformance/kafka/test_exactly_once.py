"""Consume, transform, produce exactly once: the worker's process is killed at every step of a turn,
and each record of the input is in the output once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from logstore.api import TopicPartition, TopicSpec
from tests.conformance.kafka import exactly_once_worker as worker
from tests.conformance.kafka.txn_clients import READERS, ConfluentProducer
from tests.server.in_process import InProcessServer

TOTAL = 1000
# Lines after which each worker is killed: every step of its first turn, and of its second.
KILLED_AFTER = (1, 2, 3, 4, 5, 6, 7, 8)


def run_worker(address: str, errors: Path, killed_after: int | None) -> int:
    """The lines that it said."""
    with errors.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", worker.__name__, address, str(TOTAL)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            said = 0
            for _ in process.stdout:
                said += 1
                if said == killed_after:
                    process.kill()
                    break
                process.stdin.write(b"\n")
                process.stdin.flush()
    if killed_after is None:
        assert process.returncode == 0, errors.read_text()
    return said


def test_each_record_is_processed_once(server: InProcessServer, tmp_path: Path) -> None:
    for topic in ("in", "out"):
        server.store.create_topic(TopicSpec(topic))
    producer = ConfluentProducer(server.kafka, "source")
    producer.begin()
    for number in range(TOTAL):
        producer.producer.produce("in", b"record %d" % number, partition=0)
    producer.commit()
    errors = tmp_path / "worker.log"
    for killed_after in KILLED_AFTER:
        assert run_worker(server.kafka, errors, killed_after) == killed_after
    run_worker(server.kafka, errors, None)
    end = b"RECORD %d" % (TOTAL - 1)
    wanted = [b"RECORD %d" % number for number in range(TOTAL)]
    for name, read in READERS.items():
        assert read(server.kafka, "out", end) == wanted, name
    (committed,) = server.store.committed_offsets(worker.GROUP, [TopicPartition("in", 0)])
    assert committed.offset == TOTAL
    log = server.store._table.log("out", 0)
    assert log.last_stable_offset == log.log_end_offset
    assert len(log.aborted) == 4  # left by those that died behind "produced" and "offsets sent"
