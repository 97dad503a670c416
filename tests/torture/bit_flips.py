"""Every bit of every byte of every file of a small store flipped, and every file cut at every byte.

Of each damage one of these must come, and nothing else:

    reported    something is refused, or missing, and is told of: by an error, a recovery note, or
                a finding of verify
    rebuilt     everything is served as it was written, and the damage is told of
    harmless    everything is served as it was written, and nobody noticed
    unflushed   a cut took what no flush had reached and left nothing but zeros of it, as a power
                loss may: above the last flush nothing can be protected, and nothing was promised

A violation is whatever else: a record, an offset, a look-up by time or a committed offset that is
not the truth, something missing that nobody told of, an escaping exception.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from logstore.api import OffsetQuery, TopicPartition
from logstore.errors import LogStoreError
from logstore.store import LocalLogStore
from logstore.testing import MemoryFileSystem
from logstore.verify import verify_store
from tests.verify.sample_store import (
    ROOT,
    content,
    files,
    make_store,
    open_store,
    producer_batch,
    read_records,
)

TOPICS = ("orders", "audit")
BATCHES = 22  # of `orders`: a sealed segment and the begin of another, 24 KB in all
UNFLUSHED = ("orders", 2 * BATCHES)  # the last record of the store that is not closed
LOOK_UPS = (0, 1000, 1003, 1055, 1105, 1200, 1210, 9999)
ZEROS_KEPT = 64  # of free space, at each end; between them every FREE_STRIDE-th byte
FREE_STRIDE = 4099

NOT_COMMITTED = -1

Record = tuple[bytes | None, bytes | None, int]


@dataclass(slots=True)
class Answers:
    """What a store says when it is asked everything. `told`: that something is wrong."""

    records: dict[tuple[str, int], Record] = field(default_factory=dict)
    decided: dict[tuple[str, int], Record] = field(default_factory=dict)  # committed ones only
    ends: dict[str, tuple[int, int]] = field(default_factory=dict)  # log start, high watermark
    by_time: dict[tuple[str, int], int | None] = field(default_factory=dict)  # None: refused
    committed: int = NOT_COMMITTED
    repeated: int | None = None  # the offset that a repeated batch of the producer is given
    told: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Damage:
    path: str
    position: int
    bit: int  # -1: the file is cut at `position`

    def __str__(self) -> str:
        what = "cut" if self.bit < 0 else f"bit {self.bit}"
        return f"{self.path}:{self.position} {what}"


@dataclass(slots=True)
class Table:
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def add(self, damage: Damage, outcome: str) -> None:
        name, _, problem = outcome.partition(": ")
        self.outcomes[kind_of(damage.path), name] += 1
        if name == "violation":
            self.violations.append(f"{damage}: {problem}")

    def __str__(self) -> str:
        columns = ("reported", "rebuilt", "harmless", "unflushed", "violation")
        lines = [f"{'file':<28}" + "".join(f"{name:>10}" for name in columns)]
        for kind in sorted({kind for kind, _ in self.outcomes}):
            counts = "".join(f"{self.outcomes[kind, name]:>10}" for name in columns)
            lines.append(f"{kind:<28}{counts}")
        return "\n".join(lines)


def kind_of(path: str) -> str:
    name = path.rpartition("/")[2]
    kind = "." + name.partition(".")[2] if name[:1].isdigit() else name
    is_internal = path.startswith(f"{ROOT}/__")
    return f"{kind} (internal topic)" if is_internal and kind.startswith(".") else kind


@functools.cache
def sample(*, clean: bool) -> dict[str, bytes]:
    """All files of the store before it is damaged."""
    memory = make_store(clean=clean, batches=BATCHES, transactions=True)
    return {path: content(memory, path) for path in files(memory)}


def restore(state: dict[str, bytes]) -> MemoryFileSystem:
    memory = MemoryFileSystem()
    for path, data in state.items():
        memory.make_directory(path.rpartition("/")[0])
        file = memory.open(path, create=True)
        if data:
            file.write([data], 0)
        file.close()
    return memory


def damaged(state: dict[str, bytes], damage: Damage) -> MemoryFileSystem:
    data = state[damage.path]
    if damage.bit < 0:
        data = data[: damage.position]
    else:
        flipped = bytearray(data)
        flipped[damage.position] ^= 1 << damage.bit
        data = bytes(flipped)
    return restore({**state, damage.path: data})


def positions(data: bytes) -> Iterator[int]:
    """All of them, but of the free space at the end of a file only some."""
    used = len(data.rstrip(b"\0"))
    for position in range(len(data)):
        is_edge = position < used + ZEROS_KEPT or position >= len(data) - ZEROS_KEPT
        if is_edge or position % FREE_STRIDE == 0:
            yield position


def all_damages(state: dict[str, bytes]) -> Iterator[Damage]:
    for path, data in state.items():
        for position in positions(data):
            for bit in range(8):
                yield Damage(path, position, bit)
            yield Damage(path, position, -1)


# --- ask ---------------------------------------------------------------------------------------


def ask(memory: MemoryFileSystem) -> Answers:
    """Verify, open, read everything. Raises what may not escape."""
    answers = Answers()
    try:
        report = verify_store(memory, ROOT)
        answers.told += [f"{found.path}: {found.problem}" for found in report.findings]
    except LogStoreError as error:
        answers.told.append(str(error))
    try:
        store = open_store(memory)
    except LogStoreError as error:
        answers.told.append(f"not opened: {error}")
        return answers
    try:
        answers.told += store.recovery_notes
        for topic in TOPICS:
            _ask_topic(store, topic, answers)
        committed = store.committed_offsets("g", [TopicPartition("orders", 0)])
        answers.committed = committed[0].offset if committed else NOT_COMMITTED
        pending = store.append("orders", 0, producer_batch(BATCHES - 1, 0))
        try:
            answered = pending.result()
            answers.repeated = answered.base_offset if answered.duplicate else -1
        except LogStoreError as error:
            answers.told.append(str(error))
    finally:
        store.close()
    return answers


def _ask_topic(store: LocalLogStore, topic: str, answers: Answers) -> None:
    try:
        (info,) = store.describe_topics([topic])
    except LogStoreError as error:
        answers.told.append(str(error))
        return
    (part,) = info.partitions
    answers.ends[topic] = part.log_start_offset, part.high_watermark
    for committed, records in ((False, answers.records), (True, answers.decided)):
        position = part.log_start_offset
        while position < part.high_watermark:
            found, refusal = read_records(store, topic, position, committed=committed)
            for record in found:
                records[topic, record.offset] = record.key, record.value, record.timestamp
            if refusal is None:
                break
            answers.told.append(str(refusal))
            if "next_offset" not in refusal.details:
                break
            position = int(str(refusal.details["next_offset"]))
    for time in LOOK_UPS:
        (answer,) = store.list_offsets([OffsetQuery(topic, 0, time)])
        answers.by_time[topic, time] = answer.offset if answer.error is None else None
        if answer.error is not None:
            answers.told.append(str(answer.error))


@functools.cache
def truth(*, clean: bool) -> Answers:
    answers = ask(restore(sample(clean=clean)))
    assert not answers.told
    assert answers.repeated == 2 * (BATCHES - 1)
    return answers


# --- judge -------------------------------------------------------------------------------------


def outcome_of(state: dict[str, bytes], damage: Damage, expected: Answers) -> str:
    try:
        answers = ask(damaged(state, damage))
    except Exception as escaped:
        return f"violation: {type(escaped).__name__} escapes: {escaped}"
    problem = _wrong(answers, expected)
    if problem:
        return f"violation: {problem}"
    is_complete = (
        answers.records == expected.records
        and answers.decided == expected.decided
        and answers.ends == expected.ends
        and answers.by_time == expected.by_time
        and answers.committed == expected.committed
        and answers.repeated == expected.repeated
    )
    if not answers.told:
        if is_complete:
            return "harmless"
        if damage.bit < 0 and _is_as_of_the_last_flush(answers, expected):
            return "unflushed"
        return "violation: something is missing and nobody told"
    return "rebuilt" if is_complete else "reported"


def _is_as_of_the_last_flush(answers: Answers, expected: Answers) -> bool:
    """Whether all is missing that no flush had reached, and nothing else."""
    flushed = replace(
        expected,
        records={place: item for place, item in expected.records.items() if place != UNFLUSHED},
        decided={place: item for place, item in expected.decided.items() if place != UNFLUSHED},
        ends={**expected.ends, UNFLUSHED[0]: (expected.ends[UNFLUSHED[0]][0], UNFLUSHED[1])},
    )
    return answers == flushed


def _wrong(answers: Answers, expected: Answers) -> str:
    """What was served and is not the truth, told of or not."""
    for place, record in answers.records.items():
        if expected.records.get(place) != record:
            return f"{place} is served as {record!r:.80}"
    for place, record in answers.decided.items():
        if expected.decided.get(place) != record:
            return f"{place} is served as committed: {record!r:.80}"
    if answers.committed not in (expected.committed, NOT_COMMITTED):
        return f"the committed offset is {answers.committed}"
    for place, offset in answers.by_time.items():
        if offset is None or offset == expected.by_time[place]:
            continue
        first = expected.by_time[place]
        is_gone = first is not None and (place[0], first) not in answers.records
        if not is_gone:  # else the next record that is served is the right answer
            return f"the look-up {place} answers {offset}, not {first}"
    if answers.repeated == -1 and not answers.told:
        return "a repeated batch was stored again"
    return ""


def sweep(*, clean: bool, first: int = 0, stride: int = 1) -> Table:
    """Every `stride`-th damage from the one of number `first` on."""
    state, expected = sample(clean=clean), truth(clean=clean)
    table = Table()
    for number, damage in enumerate(all_damages(state)):
        if number % stride == first:
            table.add(damage, outcome_of(state, damage, expected))
    return table


def merge(tables: list[Table]) -> Table:
    merged = Table()
    for table in tables:
        merged.outcomes += table.outcomes
        merged.violations += table.violations
    return merged
