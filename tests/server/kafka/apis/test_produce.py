from __future__ import annotations

import struct
import threading
import uuid

import pytest

from logstore.api import FetchPosition, TopicSpec
from logstore.record import CODEC_NAMES, decode_records, encode_batch, iter_batches, parse_header
from logstore_server.kafka.errors import ErrorCode
from tests.server.in_process import InProcessServer
from tests.server.kafka.wire import Wire, raw_request

VERSIONS = range(3, 14)


def batch(value: bytes = b"v", **fields) -> bytes:
    return bytes(encode_batch([value], [None], [1], [[]], **fields))


def produce(store, records: bytes | None, *, topic: str = "t", partition: int = 0, acks: int = -1):
    infos = {info.name: info.topic_id for info in store.describe_topics()}
    return {
        "transactional_id": None,
        "acks": acks,
        "timeout": 1000,
        "topic_data": [
            {
                "name": topic,
                "topic_id": infos.get(topic, uuid.UUID(int=77)),
                "partition_data": [{"index": partition, "records": records}],
            }
        ],
    }


def ask(wire: Wire, store, version: int = 9, records: bytes | None = None, **fields):
    answer = wire.ask("produce", version, **produce(store, records, **fields))
    (topic,) = answer.responses
    (partition,) = topic.partition_responses
    return partition


def stored_batches(store, topic: str = "t") -> list[bytes]:
    position = FetchPosition(topic, 0, 0, 1 << 20)
    with store.fetch([position], bytes_max=1 << 20, cold_ok=True) as result:
        return [bytes(one) for one in iter_batches(result.partitions[0].data)]


def stored(store, topic: str = "t") -> list[bytes | None]:
    return [
        record.value
        for one in stored_batches(store, topic)
        for record in decode_records(one, decompressed_bytes_max=1 << 20)
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_batch_is_stored(wire: Wire, store, version: int) -> None:
    store.create_topic(TopicSpec("t"))
    first = ask(wire, store, version, batch(b"a"))
    second = ask(wire, store, version, batch(b"b", compression="lz4"))
    assert (first.error_code, first.base_offset, second.base_offset) == (0, 0, 1)
    assert stored(store) == [b"a", b"b"]


@pytest.mark.parametrize("asked", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_a_topic_has_its_own_codec(wire: Wire, store, asked: str) -> None:
    store.create_topic(TopicSpec("t", configs={"compression.type": asked}))
    for number, sent in enumerate(CODEC_NAMES):
        assert ask(wire, store, 9, batch(b"v" * 500, compression=sent)).base_offset == number
    codecs = [CODEC_NAMES[parse_header(one).compression] for one in stored_batches(store)]
    assert codecs == ["none" if asked == "uncompressed" else asked] * len(CODEC_NAMES)
    assert stored(store) == [b"v" * 500] * len(CODEC_NAMES)


def test_batches_that_are_compressed_here_are_a_threads_work(wire: Wire, store) -> None:
    threads = []
    append = store.append

    def watched(*arguments, **options):
        threads.append(threading.current_thread())
        return append(*arguments, **options)

    store.append = watched
    store.create_topic(TopicSpec("own", configs={"compression.type": "zstd"}))
    store.create_topic(TopicSpec("senders"))
    for topic in ("own", "senders", "senders"):
        assert ask(wire, store, 9, batch(), topic=topic).error_code == 0
    assert threads[1] is threads[2]  # the event loop's
    assert threads[0] is not threads[1]


@pytest.mark.parametrize("acks", [-1, 1])
def test_acks(wire: Wire, store, acks: int) -> None:
    store.create_topic(TopicSpec("t"))
    assert ask(wire, store, 9, batch(), acks=acks).error_code == 0


def test_without_acks_there_is_no_answer(wire: Wire, store) -> None:
    store.create_topic(TopicSpec("t"))
    wire.send("produce", 9, **produce(store, batch(b"quiet"), acks=0))
    assert ask(wire, store, 9, batch(b"loud")).base_offset == 1
    assert stored(store) == [b"quiet", b"loud"]


@pytest.mark.parametrize("version", [3, 9, 13])
@pytest.mark.parametrize("records", [batch()[:-1], batch()], ids=["damaged", "no topic"])
def test_without_acks_a_refused_batch_closes_the_connection(
    wire: Wire, store, server: InProcessServer, version: int, records: bytes
) -> None:
    store.create_topic(TopicSpec("t"))
    topic = "t" if records != batch() else "missing"
    request = produce(store, batch(b"good"), acks=0)
    bad = produce(store, records, topic=topic, acks=0)
    request["topic_data"] += bad["topic_data"]
    wire.send("produce", version, **request)
    assert wire.is_closed()
    with Wire(server.kafka) as other:
        assert ask(other, store, 9, batch(b"next")).base_offset == 1
    assert stored(store) == [b"good", b"next"]


def test_without_acks_a_large_refused_batch_closes_the_connection_too(wire: Wire, store) -> None:
    """One that is checked in a worker thread."""
    store.create_topic(TopicSpec("t"))
    records = bytearray(batch(b"v" * 500, compression="gzip"))
    records[-1] ^= 1
    wire.send("produce", 9, **produce(store, bytes(records), acks=0))
    assert wire.is_closed()
    assert stored(store) == []


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("acks", [0, 1])
def test_versions_of_old_formats_close_the_connection(
    wire: Wire, store, version: int, acks: int
) -> None:
    """Advertised as they are, see the module."""
    store.create_topic(TopicSpec("t"))
    records = batch()
    topic = struct.pack(">ih", 1, 1) + b"t"
    body = struct.pack(">hi", acks, 1000) + topic
    body += struct.pack(">iii", 1, 0, len(records)) + records
    wire.socket.sendall(raw_request(0, version, body))
    assert wire.is_closed()
    assert stored(store) == []


@pytest.mark.parametrize(("version", "code"), [(3, 76), (6, 76), (7, 0)])
def test_zstd_is_allowed_from_version_7_on(wire: Wire, store, version: int, code: int) -> None:
    store.create_topic(TopicSpec("t"))
    compressed = batch(b"v" * 500, compression="zstd")
    assert ask(wire, store, version, compressed).error_code == code
    assert stored(store) == ([] if code else [b"v" * 500])


def test_an_acks_that_is_none(wire: Wire, store) -> None:
    store.create_topic(TopicSpec("t"))
    assert ask(wire, store, 9, batch(), acks=2).error_code == ErrorCode.INVALID_REQUIRED_ACKS
    assert stored(store) == []


def test_many_requests_ahead_keep_their_order(wire: Wire, store) -> None:
    store.create_topic(TopicSpec("t"))
    for number in range(40):
        compression = "gzip" if number % 3 else "none"
        records = batch(b"%d" % number, compression=compression)
        wire.send("produce", 9, **produce(store, records))
    offsets = []
    for number in range(40):
        answered, answer = wire.receive("produce", 9)
        assert answered == number + 1
        offsets.append(answer.responses[0].partition_responses[0].base_offset)
    assert offsets == list(range(40))
    assert stored(store) == [b"%d" % number for number in range(40)]


@pytest.mark.parametrize(
    ("records", "code"),
    [
        (None, ErrorCode.INVALID_RECORD),
        (b"", ErrorCode.CORRUPT_MESSAGE),
        (b"\0" * 100, ErrorCode.INVALID_RECORD),  # of format version 0
        (b"\0" * 16 + b"\2" + b"\0" * 100, ErrorCode.CORRUPT_MESSAGE),
        (batch()[:-1] + b"\xff", ErrorCode.CORRUPT_MESSAGE),
    ],
    ids=["null", "empty", "old format", "no length", "checksum"],
)
def test_a_batch_that_is_none(wire: Wire, store, records: bytes | None, code: ErrorCode) -> None:
    store.create_topic(TopicSpec("t"))
    answer = ask(wire, store, 9, records)
    assert answer.error_code == code
    assert answer.error_message
    assert stored(store) == []
    assert ask(wire, store, 9, batch()).error_code == 0  # the connection goes on


@pytest.mark.parametrize("version", VERSIONS)
def test_a_topic_that_is_not_there(wire: Wire, store, version: int) -> None:
    expected = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if version < 13 else ErrorCode.UNKNOWN_TOPIC_ID
    assert ask(wire, store, version, batch(), topic="none").error_code == expected
    store.create_topic(TopicSpec("t"))
    answer = ask(wire, store, version, batch(), partition=1)
    assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_batch_that_is_too_large(wire: Wire, store) -> None:
    store.create_topic(TopicSpec("t", configs={"max_message_bytes": "200"}))
    assert ask(wire, store, 9, batch(bytes(300))).error_code == ErrorCode.MESSAGE_TOO_LARGE


def test_records_without_a_key_are_named_on_a_compacted_topic(wire: Wire, store) -> None:
    store.create_topic(TopicSpec("compacted", 1, {"cleanup.policy": "compact"}))
    keys = [b"a", None, b"b", None]
    records = bytes(encode_batch([b"v"] * 4, keys, [1] * 4, [[]] * 4))
    answer = ask(wire, store, 9, records, topic="compacted")
    assert answer.error_code == ErrorCode.INVALID_RECORD
    assert [one.batch_index for one in answer.record_errors] == [1, 3]
    assert "key" in answer.record_errors[0].batch_index_error_message
    assert stored(store, "compacted") == []
