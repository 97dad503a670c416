"""verify_store: nothing to find in a sound store, and each damage found and named."""

from __future__ import annotations

import errno

import pytest

from logstore.api import TopicSpec
from logstore.errors import StoreFormatError
from logstore.log.format import TIME_ENTRY
from logstore.record import encode_batch, iter_batches
from logstore.store import LocalLogStore
from logstore.testing import MemoryFileSystem
from logstore.verify import Finding, dump, verify_store
from logstore.verify.findings import Progress, Severity
from tests.verify.sample_store import ROOT, content, damage, files, make_store, open_store

SEALED = "orders-0/00000000000000000000"
ACTIVE = "orders-0/00000000000000000040"


def position(fs: MemoryFileSystem, name: str, index: int) -> int:
    """Where the batch of that number begins."""
    log = content(fs, f"{ROOT}/{name}.log")
    batches = iter_batches(log)
    return sum(len(next(batches)) for _ in range(index))


def findings(fs: MemoryFileSystem) -> list[Finding]:
    return verify_store(fs, ROOT).findings


def only(fs: MemoryFileSystem) -> Finding:
    (found,) = findings(fs)
    return found


def flip(fs: MemoryFileSystem, name: str, position: int, bits: int = 1) -> None:
    path = f"{ROOT}/{name}"
    damage(fs, path, position, bytes([content(fs, path)[position] ^ bits]))


def truncate(fs: MemoryFileSystem, name: str, size: int) -> None:
    file = fs.open(f"{ROOT}/{name}")
    file.truncate(size)
    file.close()


def test_a_sound_store_has_no_findings_and_is_not_changed() -> None:
    memory = make_store()
    before = {path: content(memory, path) for path in files(memory)}
    report = verify_store(memory, ROOT)
    assert report.findings == []
    assert report.is_closed_cleanly
    assert (report.partitions, report.batches, report.records) == (4, 39, 77)
    assert {path: content(memory, path) for path in files(memory)} == before


def test_a_killed_store_has_no_findings() -> None:
    report = verify_store(make_store(clean=False), ROOT)
    assert report.findings == []
    assert not report.is_closed_cleanly


def test_a_store_that_is_open_is_verified_beside_its_writer() -> None:
    memory = make_store()
    store = open_store(memory)
    try:
        assert findings(memory) == []
    finally:
        store.close()


def test_no_store_is_an_error() -> None:
    memory = MemoryFileSystem()
    memory.make_directory(ROOT)
    with pytest.raises(StoreFormatError, match="is not a logstore"):
        verify_store(memory, ROOT)


def test_progress_reaches_the_total() -> None:
    seen: list[Progress] = []
    verify_store(make_store(), ROOT, on_progress=seen.append)
    assert seen[0].path == "__cluster_metadata-0/00000000000000000000.log"
    assert seen[-1].bytes_done == seen[-1].bytes_total > 20_000
    assert [item.bytes_done for item in seen] == sorted(item.bytes_done for item in seen)


# --- batches ----------------------------------------------------------------------------------


def test_a_flipped_bit_of_a_record() -> None:
    memory = make_store()
    at = position(memory, SEALED, 2)
    flip(memory, SEALED + ".log", at + 100)
    found = only(memory)
    assert found.path == SEALED + ".log"
    assert (found.position, found.first_offset, found.last_offset) == (at, 4, 5)
    assert "its CRC-32C does not match" in found.problem
    assert found.readable == "offsets from 6 on"


@pytest.mark.parametrize("at", [0, 7, 8, 11, 12, 15, 16, 17, 20], ids="header byte {}".format)
def test_a_flipped_bit_of_what_no_crc_covers(at: int) -> None:
    memory = make_store()
    begin = position(memory, SEALED, 3)
    flip(memory, SEALED + ".log", begin + at)
    found = [item for item in findings(memory) if item.path == SEALED + ".log"]
    assert found[0].position == begin or found[0].first_offset == 6


def test_damaged_framing_tells_where_it_goes_on() -> None:
    memory = make_store()
    at, behind = position(memory, SEALED, 5), position(memory, SEALED, 6)
    damage(memory, f"{ROOT}/{SEALED}.log", at, bytes(70))
    found = findings(memory)[0]
    assert (found.position, found.first_offset, found.last_offset) == (at, 10, 11)
    assert found.readable == f"offsets from 12 on, which begin at position {behind}"


def test_a_log_that_ends_too_early() -> None:
    memory = make_store()
    truncate(memory, ACTIVE + ".log", position(memory, ACTIVE, 4))
    found = findings(memory)
    assert any(item.first_offset == 48 and item.last_offset == 59 for item in found)


def test_a_missing_segment_is_a_gap() -> None:
    memory = make_store()
    memory.unlink(f"{ROOT}/{SEALED}.log")
    found = findings(memory)
    assert (found[-1].first_offset, found[-1].last_offset) == (0, 39)
    assert "are missing" in found[-1].problem


def test_zeros_behind_a_closed_segment() -> None:
    memory = make_store()
    path = f"{ROOT}/{SEALED}.log"
    damage(memory, path, len(content(memory, path)), bytes(100))
    zeros, sums = findings(memory)
    assert "100 bytes of zeros" in zeros.problem
    assert sums.path == SEALED + ".crc"


def test_what_no_flush_had_reached_is_a_remark() -> None:
    memory = make_store(clean=False)
    flip(memory, ACTIVE + ".log", position(memory, ACTIVE, 10) + 65)
    found = only(memory)
    assert found.severity is Severity.REMARK
    assert found.first_offset == 60


def test_a_leader_epoch_that_only_the_checksum_of_its_block_tells() -> None:
    memory = make_store()
    file = memory.open(f"{ROOT}/orders-0/leader-epoch-checkpoint")
    file.truncate(0)
    file.close()
    flip(memory, SEALED + ".log", position(memory, SEALED, 4) + 15)
    checkpoint, block = findings(memory)
    assert checkpoint.path == "orders-0/leader-epoch-checkpoint"
    assert (block.path, block.position) == (SEALED + ".log", 0)
    assert "what no CRC covers" in block.problem


def test_a_sidecar_that_is_damaged_or_missing() -> None:
    memory = make_store()
    flip(memory, SEALED + ".crc", 10)
    memory.unlink(f"{ROOT}/{ACTIVE}.crc")
    assert [item.path for item in findings(memory)] == [SEALED + ".crc", ACTIVE + ".crc"]


# --- indexes ----------------------------------------------------------------------------------


def test_a_wrong_time_index_entry_of_a_sealed_segment() -> None:
    memory = make_store()
    timestamp, relative = TIME_ENTRY.unpack(content(memory, f"{ROOT}/{SEALED}.timeindex")[12:24])
    damage(memory, f"{ROOT}/{SEALED}.timeindex", 12, TIME_ENTRY.pack(timestamp + 1, relative))
    found = only(memory)
    assert (found.path, found.position) == (SEALED + ".timeindex", 12)
    assert "is the largest timestamp up to offset" in found.problem


def test_a_time_index_without_its_last_entry() -> None:
    memory = make_store()
    path = f"{ROOT}/{SEALED}.timeindex"
    truncate(memory, SEALED + ".timeindex", len(content(memory, path)) - TIME_ENTRY.size)
    assert "the segment's largest is" in only(memory).problem


def test_wrong_offset_index_entries() -> None:
    memory = make_store()
    flip(memory, SEALED + ".index", 3)
    flip(memory, SEALED + ".index", 15)
    offset, position = findings(memory)
    assert (offset.position, position.position) == (0, 8)
    assert "it says offset" in offset.problem
    assert "no batch begins at position" in position.problem


def test_an_index_that_ends_inside_an_entry() -> None:
    memory = make_store()
    truncate(memory, SEALED + ".index", 20)
    assert "ends with 4 bytes of an entry" in only(memory).problem


# --- small files ------------------------------------------------------------------------------


def test_a_damaged_snapshot() -> None:
    memory = make_store()
    flip(memory, ACTIVE + ".snapshot", 20)
    found = only(memory)
    assert found.path == ACTIVE + ".snapshot"
    assert "damaged" in found.problem


def test_a_snapshot_of_another_log() -> None:
    memory = make_store()
    snapshot = content(memory, f"{ROOT}/{ACTIVE}.snapshot")
    damage(memory, f"{ROOT}/orders-0/00000000000000000060.snapshot", 0, snapshot)
    found = only(memory)
    assert found.path == "orders-0/00000000000000000060.snapshot"
    assert "producer 0: the snapshot says" in found.problem


def test_leader_epochs_that_the_batches_do_not_have() -> None:
    memory = make_store()
    damage(memory, f"{ROOT}/orders-0/leader-epoch-checkpoint", 0, b"0\n1\n5 0\n")
    found = findings(memory)
    assert [item.path for item in found] == [SEALED + ".log", ACTIVE + ".log"]
    assert "has leader epoch 0; the checkpoint says 5" in found[0].problem


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("orders-0/leader-epoch-checkpoint", "missing or damaged"),
        ("audit-0/log-start-offset-checkpoint", "damaged"),
        ("orders-0/partition.metadata", "damaged"),
        ("state", "header is damaged"),
    ],
)
def test_damaged_small_files(name: str, problem: str) -> None:
    memory = make_store()
    damage(memory, f"{ROOT}/{name}", 0, b"\xff" * 20)
    found = findings(memory)
    assert found[0].path == name
    assert problem in found[0].problem


def test_a_damaged_slot_of_the_state_file() -> None:
    memory = make_store()
    flip(memory, "state", 128 + 30)
    found = findings(memory)
    assert (found[0].path, found[0].position) == ("state", 128)


def test_what_belongs_to_nobody_is_remarked() -> None:
    memory = make_store()
    for name in ("gone-0.1-delete", "old-1.2-stray", "unknown-0"):
        memory.make_directory(f"{ROOT}/{name}")
    for name in ("notes.txt", "orders-0/00000000000000000007.quarantine", "orders-0/x.deleted"):
        memory.open(f"{ROOT}/{name}", create=True).close()
    report = verify_store(memory, ROOT)
    assert report.damages == []
    assert [item.path for item in report.findings] == [
        "orders-0/00000000000000000007.quarantine",
        "orders-0/x.deleted",
        "gone-0.1-delete",
        "notes.txt",
        "old-1.2-stray",
        "unknown-0",
    ]


def test_a_catalog_record_that_cannot_be_read() -> None:
    memory = make_store()
    name = f"__cluster_metadata-0/{0:020d}"
    flip(memory, name + ".log", position(memory, name, 1) + 100)  # the record of `orders`
    found = findings(memory)
    assert found[0].path == name + ".log"
    assert {item.path for item in found} >= {"orders-0"}


@pytest.mark.parametrize("topic", ["__consumer_offsets", "__transaction_state"])
def test_records_of_internal_topics_that_nobody_could_read(topic: str) -> None:
    memory = make_store()
    store = open_store(memory)
    store._table.create_internal(topic, 1)
    log = store._table.log(topic, 0)
    first = log.append(encode_batch([b"?"], [b"\0\0\0\1?"])).base_offset
    store.close()
    found = only(memory)
    assert found.path == f"{topic}-0/{0:020d}.log"
    assert (found.first_offset, found.last_offset) == (first, first)
    assert f"record {first}: " in found.problem


def test_a_disk_that_cannot_be_read_is_a_finding() -> None:
    memory = make_store()
    memory.inject("read", errno.EIO, path_contains=SEALED + ".log", times=None)
    found = findings(memory)
    assert found[0].path == SEALED + ".log"
    assert "cannot be read" in found[0].problem


def test_a_compacted_partition_is_sound_and_its_gaps_are_none() -> None:
    fs = MemoryFileSystem()
    store = LocalLogStore.open(ROOT, fs=fs)
    configs = {"cleanup_policy": "compact", "segment_bytes": str(16 << 10)}
    store.create_topic(TopicSpec("t", 1, configs))
    log = store._table.log("t", 0)
    for sequence in range(60):
        fields = {"producer_id": 7 + sequence % 2, "producer_epoch": 0}
        batch = encode_batch(
            [bytes(1000), bytes(1000) if sequence % 3 else None],
            [b"%d" % (sequence % 5), b"%d" % sequence],
            base_sequence=sequence // 2 * 2,
            **fields,  # type: ignore[arg-type]
        )
        log.append(batch)
        log.flush()
        if sequence % 25 == 24:
            for _ in log.cleaner.clean(secret=b"secret"):
                pass
    store.alter_topic("t", set_configs={"cleanup_policy": "delete"})
    assert findings(fs) == []
    store.close()
    assert findings(fs) == []


# --- dump -------------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [True, False], ids=["closed", "killed"])
def test_a_dump_shows_every_batch_and_record_and_changes_nothing(clean: bool) -> None:
    memory = make_store(clean=clean)
    before = {path: content(memory, path) for path in files(memory)}
    report = verify_store(memory, ROOT)
    items = list(dump(memory, ROOT, records=True))
    assert sum(item.kind == "batch" for item in items) == report.batches
    assert sum(item.kind == "record" for item in items) == report.records
    assert not [item for item in items if item.kind == "damage"]
    assert {path: content(memory, path) for path in files(memory)} == before


def test_a_dump_of_indexes_and_snapshots() -> None:
    memory = make_store()
    entries = [item.fields for item in dump(memory, f"{ROOT}/{SEALED}.index")][1:]
    log = f"{ROOT}/{SEALED}.log"
    batches = [item.fields for item in dump(memory, log)][1:]
    ends = {batch["position"]: batch["last_offset"] for batch in batches}
    assert entries
    assert all(ends[entry["position"]] == entry["offset"] for entry in entries)
    *_, last = dump(memory, f"{ROOT}/{SEALED}.timeindex")
    assert last.fields == {"entry": 9, "timestamp": 1195, "offset": 39}
    _, producer = dump(memory, f"{ROOT}/{ACTIVE}.snapshot")
    assert (producer.kind, producer.fields["producer"]) == ("producer", 0)
    assert producer.fields["batches"][-1] == "sequence 38 to 39 at 38"  # type: ignore[index]
