"""`python -m tests.conformance.suites.dump_log`: Kafka's dump tool reads the files of a store.

A store is filled: every compression, null keys and values, headers, transactions kept and dropped,
a compacted topic, both kinds of timestamps. DumpLogSegments then reads each log and index file,
once the closed segments while the store is open, and once all files after a clean stop, and what
it prints is compared with what was sent, record by record. The store must open after it again.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import logstore
from tests.conformance.suites import sources

COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
COMPACTED = "compacted"
DUMP_SECONDS_MAX = 240
SEGMENT = {"segment_bytes": "16384", "index_interval_bytes": "1024"}

_RECORD = re.compile(
    r"\| offset: (?P<offset>\d+) \w+: (?P<time>-?\d+) keySize: (?P<key>-?\d+) "
    r"valueSize: (?P<value>-?\d+) sequence: -?\d+ headerKeys: \[(?P<headers>[^\]]*)\](?P<rest>.*)"
)
_COMPLAINT = re.compile(r"isvalid: false|[Mm]ismatch|out of order|Non-consecutive|[Ee]xception")


@dataclass(frozen=True, slots=True)
class Dumped:
    """One record as sent, or as the tool prints it: of headers it shows the keys."""

    timestamp_ms: int
    key: str | None
    value: str | None
    headers: tuple[str, ...]


Place = tuple[str, int]  # partition directory, offset


@dataclass(frozen=True, slots=True)
class Dump:
    """What the tool said of some files."""

    records: Mapping[Place, Dumped]
    complaints: tuple[str, ...]
    files: int


def parse(output: str) -> Dump:
    """What is printed of several files, each introduced by "Dumping <path>"."""
    records: dict[Place, Dumped] = {}
    complaints = []
    directory, files = "", 0
    for line in output.splitlines():
        if line.startswith("Dumping "):
            directory, files = Path(line.removeprefix("Dumping ")).parent.name, files + 1
            continue
        found = _RECORD.match(line)
        if found is None:
            # A compacted log has gaps: the tool names them on Kafka's own files too.
            if _COMPLAINT.search(line) and not (
                "Non-consecutive" in line and f"/{COMPACTED}-" in line
            ):
                complaints.append(f"{directory}: {line}")
        elif "endTxnMarker" not in found["rest"]:
            records[directory, int(found["offset"])] = _dumped(found)
    return Dump(records, tuple(complaints), files)


def _dumped(found: re.Match[str]) -> Dumped:
    """Key and value are told apart by their sizes: either may hold the words between them."""
    rest = found["rest"]
    key = value = None
    if int(found["key"]) >= 0:
        begin = len(" key: ")
        key, rest = rest[begin : begin + int(found["key"])], rest[begin + int(found["key"]) :]
    if int(found["value"]) >= 0:
        value = rest.removeprefix(" payload: ")
    headers = tuple(filter(None, found["headers"].split(",")))
    return Dumped(int(found["time"]), key, value, headers)


def compare(
    sent: Mapping[Place, Dumped], dump: Dump, *, last_of_key_only: str = ""
) -> Iterator[str]:
    """All differences. Of the topic `last_of_key_only` the last record of each key must be there,
    and others may."""
    yield from dump.complaints
    needed = set(sent)
    if last_of_key_only:
        last = {
            (place[0], sent[place].key): place
            for place in sorted(sent)
            if _topic(place) == last_of_key_only
        }
        needed -= {place for place in sent if _topic(place) == last_of_key_only}
        needed |= set(last.values())
    for place in sorted(needed - set(dump.records)):
        yield f"{place[0]} offset {place[1]} is not dumped"
    for place, record in sorted(dump.records.items(), key=lambda item: item[0]):
        if place not in sent:
            yield f"{place[0]} offset {place[1]} was never sent: {record}"
        elif record != sent[place]:
            yield f"{place[0]} offset {place[1]}: sent {sent[place]}, dumped {record}"


def _topic(place: Place) -> str:
    return place[0].rpartition("-")[0]


class Filled:
    """An open store and what was sent to it."""

    def __init__(self, store: Any, seed: int) -> None:
        self._store = store
        self._random = random.Random(seed)
        self.sent: dict[Place, Dumped] = {}

    def fill(self) -> None:
        for compression in COMPRESSIONS:
            self._topic(f"plain-{compression}", partitions=2)
            with self._store.producer(compression=compression, batch_bytes=2048) as producer:
                self._send(producer, f"plain-{compression}", 1500)
        self._topic("stamped", configs={"message_timestamp_type": "LogAppendTime"})
        with self._store.producer(idempotent=False, batch_bytes=2048) as producer:
            self._send(producer, "stamped", 1000)
        self._topic(COMPACTED, configs={"cleanup_policy": "compact"})
        with self._store.producer(batch_bytes=1024) as producer:
            self._send(producer, COMPACTED, 1500, keys=40)
        self._topic("transactions", partitions=2)
        with self._store.transactional_producer("dumped", batch_bytes=2048) as producer:
            for number in range(30):
                producer.begin_transaction()
                self._send(producer, "transactions", 40)
                if number % 3:
                    producer.commit_transaction()
                else:
                    producer.abort_transaction()
        with self._store.consumer(
            "plain-none", group="dumped", auto_offset_reset="earliest"
        ) as one:
            one.poll(10)
            one.commit()

    def _topic(
        self, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None
    ) -> None:
        self._store.create_topic(
            name, partitions=partitions, configs={**SEGMENT, **(configs or {})}
        )

    def _send(self, producer: Any, topic: str, count: int, keys: int = 0) -> None:
        deliveries = []
        for number in range(count):
            key = self._key(number, keys)
            value = None if number % 7 == 3 else f"{number} payload: " * self._random.randrange(12)
            headers = ("trace", "empty")[: number % 3]
            delivery = producer.send(
                topic,
                None if value is None else value.encode(),
                None if key is None else key.encode(),
                headers=[(name, b"1" if name == "trace" else None) for name in headers],
                timestamp_ms=1_700_000_000_000 + self._random.randrange(10**9),
            )
            deliveries.append((delivery, key, value, headers))
        producer.flush()
        for delivery, key, value, headers in deliveries:
            at = delivery.result(60)
            record = Dumped(at.timestamp, key, value, headers)
            self.sent[f"{topic}-{at.partition}", at.offset] = record

    def _key(self, number: int, keys: int) -> str | None:
        if keys:
            return f"key {self._random.randrange(keys)}"
        return None if number % 5 == 2 else f"key: {number}"


def dump(libs: Path, files: Iterable[Path]) -> Dump:
    ended = subprocess.run(
        [
            *("java", "-Xmx512m", "-cp", f"{libs}:{libs}/*", "kafka.tools.DumpLogSegments"),
            *("--deep-iteration", "--print-data-log", "--files", ",".join(map(str, files))),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=DUMP_SECONDS_MAX,
    )
    return parse(ended.stdout + ended.stderr)


def files_of(data: Path, *, only_closed: bool) -> list[Path]:
    """All logs and indexes of topics; or but those of each partition's last segment."""
    found = []
    for directory in sorted(data.iterdir()):
        logs = sorted(directory.glob("*.log")) if directory.is_dir() else []
        for log in logs[:-1] if only_closed else logs:
            found += [log, log.with_suffix(".index"), log.with_suffix(".timeindex")]
    return found


def check(libs: Path, data: Path, seed: int) -> list[str]:
    """All that was wrong."""
    with logstore.open(data) as store:
        filled = Filled(store, seed)
        filled.fill()
        closed = files_of(data, only_closed=True)
        early = dump(libs, closed)
    whole = dump(libs, files_of(data, only_closed=False))
    users = {place: one for place, one in whole.records.items() if not place[0].startswith("__")}
    print(
        f"dump-log: {early.files} files of closed segments, {len(early.records)} records; "
        f"{whole.files} files after a clean stop, {len(whole.records)} records"
    )
    wrong = [*early.complaints]
    wrong += [
        f"before the stop, {place[0]} offset {place[1]}: {record}"
        for place, record in early.records.items()
        if not place[0].startswith("__") and filled.sent.get(place) != record
    ]
    if not early.records:
        wrong.append("no segment was closed while the store was open")
    wrong += compare(
        filled.sent, Dump(users, whole.complaints, whole.files), last_of_key_only=COMPACTED
    )
    with logstore.open(data) as store:
        for topic in ("plain-none", COMPACTED):
            if not store.describe_topic(topic).partitions:
                wrong.append(f"{topic} is gone after the dump")
    return wrong


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.suites.dump_log")
    parser.add_argument("--build", type=Path, default=Path("build/conformance"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    libs = sources.kafka(options.build.resolve()) / "libs"
    folder = Path(tempfile.mkdtemp(prefix="dump-log-"))
    try:
        wrong = check(libs, folder / "data", options.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for line in wrong[:50]:
        print(f"dump-log: {line}")
    print(f"dump-log: {len(wrong)} differences", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
