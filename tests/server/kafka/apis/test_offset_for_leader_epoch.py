from __future__ import annotations

from pathlib import Path

import pytest

from logstore.api import TopicSpec
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore_server.config import KafkaConfig
from logstore_server.kafka.errors import ErrorCode
from tests.server.in_process import InProcessServer
from tests.server.kafka.wire import Wire


def ask(wire: Wire, version: int, epoch: int, *, current: int = -1, name: str = "t"):
    asked = {"partition": 0, "current_leader_epoch": current, "leader_epoch": epoch}
    answer = wire.ask(
        "offset_for_leader_epoch", version, topics=[{"topic": name, "partitions": [asked]}]
    )
    return answer.topics[0].partitions[0]


@pytest.mark.parametrize("version", [2, 3, 4])
def test_the_end_of_the_current_epoch(wire: Wire, store, version: int) -> None:
    store.create_topic(TopicSpec("t"))
    store.append("t", 0, encode_batch([b"v"], [None], [1], [[]])).result(10)
    found = ask(wire, version, 0, current=0)
    assert (found.error_code, found.leader_epoch, found.end_offset) == (0, 0, 1)
    newer = ask(wire, version, 5)
    assert (newer.leader_epoch, newer.end_offset) == (-1, -1)
    assert ask(wire, version, 0, current=1).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    assert ask(wire, version, 0, name="no").error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_an_epoch_that_ended_with_a_crash(tmp_path: Path) -> None:
    path = str(tmp_path / "data")
    before = LocalLogStore.open(path)
    before.create_topic(TopicSpec("t"))
    before.append("t", 0, encode_batch([b"v"], [None], [1], [[]])).result(10)
    before._lock_file.release()  # as if its process were killed
    store = LocalLogStore.open(path)
    with InProcessServer(store, kafka=KafkaConfig(port=0)) as server, Wire(server.kafka) as wire:
        store.append("t", 0, encode_batch([b"v"], [None], [1], [[]])).result(10)
        assert ask(wire, 4, 0).end_offset == 1
        assert ask(wire, 4, 1).end_offset == 2
        assert ask(wire, 4, 0, current=0).error_code == ErrorCode.FENCED_LEADER_EPOCH
    store.close()
