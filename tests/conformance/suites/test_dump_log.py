"""Tests of what is read from the dump tool's output, which itself is not run here."""

from __future__ import annotations

from tests.conformance.suites.dump_log import Dump, Dumped, compare, parse

OUTPUT = """\
Dumping /data/orders-0/00000000000000000000.index
offset: 12 position: 4242
Dumping /data/orders-0/00000000000000000000.log
Log starting offset: 0
baseOffset: 0 lastOffset: 2 count: 3 isControl: false size: 72 magic: 2 crc: 1 isvalid: true
| offset: 0 CreateTime: 17 keySize: 13 valueSize: 1 sequence: 0 headerKeys: [a,b] key: k payload: x1 payload: v
| offset: 1 LogAppendTime: 18 keySize: -1 valueSize: -1 sequence: 1 headerKeys: []
| offset: 2 CreateTime: 19 keySize: 0 valueSize: 0 sequence: 2 headerKeys: [] key:  payload: 
| offset: 3 CreateTime: 20 keySize: 4 valueSize: 6 sequence: -1 headerKeys: [] endTxnMarker: COMMIT
"""  # noqa: W291, E501
RECORDS = {
    ("orders-0", 0): Dumped(17, "k payload: x1", "v", ("a", "b")),
    ("orders-0", 1): Dumped(18, None, None, ()),
    ("orders-0", 2): Dumped(19, "", "", ()),
}


def test_records_are_read_with_their_null_and_empty_parts() -> None:
    assert parse(OUTPUT) == Dump(RECORDS, (), 2)


def test_what_the_tool_complains_of_is_kept() -> None:
    bad = OUTPUT.replace("isvalid: true", "isvalid: false")
    assert len(parse(bad).complaints) == 1
    assert parse("java.lang.IllegalArgumentException: Invalid max index size").complaints
    assert parse("Mismatches in :/data/orders-0/00000000000000000000.index").complaints
    assert parse("Non-consecutive offsets in /data/orders-0/0.log").complaints
    assert not parse("Non-consecutive offsets in /data/compacted-0/0.log").complaints


def test_a_record_that_is_missing_other_or_more_is_a_difference() -> None:
    fine = Dump(RECORDS, (), 1)
    assert list(compare(RECORDS, fine)) == []
    assert list(compare({**RECORDS, ("orders-0", 9): RECORDS["orders-0", 1]}, fine)) == [
        "orders-0 offset 9 is not dumped"
    ]
    assert len(list(compare({**RECORDS, ("orders-0", 1): RECORDS["orders-0", 2]}, fine))) == 1
    fewer = {place: record for place, record in RECORDS.items() if place[1]}
    assert len(list(compare(fewer, fine))) == 1


def test_a_compacted_topic_must_have_the_last_of_each_key() -> None:
    sent = {("c-0", number): Dumped(1, str(number % 2), "v", ()) for number in range(4)}
    kept = {place: record for place, record in sent.items() if place[1] >= 2}
    assert list(compare(sent, Dump(kept, (), 1), last_of_key_only="c")) == []
    lost = {place: record for place, record in kept.items() if place[1] != 3}
    assert list(compare(sent, Dump(lost, (), 1), last_of_key_only="c")) == [
        "c-0 offset 3 is not dumped"
    ]
