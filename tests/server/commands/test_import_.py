from __future__ import annotations

import json
from pathlib import Path

import logstore
from logstore.testing import MemoryFileSystem
from tests.adopt.kafka_layout import Broker, batch, to_disk
from tests.adopt.test_adoption import two_partitions
from tests.server.commands.conftest import Run, rows


def kafka(tmp_path: Path) -> str:
    broker = Broker(MemoryFileSystem())
    two_partitions(broker)
    to_disk(broker, tmp_path / "kafka")
    return str(tmp_path / "kafka")


def test_a_broker_is_taken_over(run: Run, directory: Path, tmp_path: Path) -> None:
    table = rows(run("import", kafka(tmp_path), "-c", "cleanup.policy=compact"))
    assert table[1][:2] == ["t", "2"]
    assert table[1][-2:] == ["120", "0"]
    with logstore.open(directory) as store:
        (topic,) = store.log_store.describe_topics(["t"])
        assert topic.configs["cleanup_policy"] == "compact"
        with store.consumer("t", auto_offset_reset="earliest") as consumer:
            found = consumer.poll(timeout=10)
            while len(found) < 16:
                found += consumer.poll(timeout=10)
        assert [record.offset for record in found] == list(range(104, 120))
        assert (found[0].key, found[0].value, found[0].timestamp) == (b"k104", b"v104", 1104)
    assert "damages         0" in run("verify", str(directory)).stdout
    refused = run("import", kafka(tmp_path), exit_code=1).stderr
    assert "has a topic 't' already" in refused


def test_for_programs(run: Run, tmp_path: Path) -> None:
    said = json.loads(run("import", kafka(tmp_path), "--json").stdout)
    assert said["topics"][0]["end_offsets"] == [120, 0]
    assert (said["groups"], said["notes"]) == ({}, [])


def test_a_running_broker_is_refused(run: Run, tmp_path: Path) -> None:
    directory = kafka(tmp_path)
    (tmp_path / "kafka" / ".kafka_cleanshutdown").unlink()
    assert "the broker runs, or was killed" in run("import", directory, exit_code=1).stderr
    run("import", directory, "--unclean")


def test_batches_are_of_a_library_that_is_not_ours() -> None:
    assert batch([(b"k", b"v", 1)], 7)[16] == 2
