"""What happened, in order: the ledger that the checker reads and that a failing seed prints.

An event says what somebody outside the store knows: what was sent, what was answered, what was
read, what the store said of itself, how it ended. Every record sent has a value of its own, so a
record that is read tells which one it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

RECORD_ID_BYTES = 10  # of each value: b"r000000123", then filler
TOMBSTONE = b"-"  # behind the id: the record has no value, and tells this in a header
KEYS = 7


def key_of(value: bytes) -> bytes:
    """Of the record whose value, or id, this is."""
    return b"k%d" % (int(value[1:RECORD_ID_BYTES]) % KEYS)


def is_tombstone(value: bytes) -> bool:
    return value[RECORD_ID_BYTES:] == TOMBSTONE


class Place(NamedTuple):
    """A partition of one incarnation of a topic: a successor of the same name is another."""

    topic: str
    topic_id: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}.{self.topic_id[:4]}-{self.partition}"


class RecordSeen(NamedTuple):
    offset: int
    value: bytes
    timestamp: int


# --- topics -----------------------------------------------------------------------------------


class PartitionMade(NamedTuple):
    """It is there; `durability` as the topic's config. `compacted`: of each key the last record
    stays; `tombstones_stay`: for longer than the history lasts."""

    place: Place
    durability: str
    compacted: bool = False
    tombstones_stay: bool = True


class PartitionGone(NamedTuple):
    """Its topic was deleted, or never came to be."""

    place: Place


# --- producers --------------------------------------------------------------------------------


class Sent(NamedTuple):
    """An attempt to append the batch; the same number again is a retry of the same bytes.
    `transaction`: its number, 0 for none."""

    batch: int
    place: Place
    producer: str
    values: tuple[bytes, ...]
    timestamp: int
    transaction: int = 0


class Acknowledged(NamedTuple):
    """`durable`: with acks=all. Otherwise it was only written."""

    batch: int
    base_offset: int
    durable: bool
    duplicate: bool


class Refused(NamedTuple):
    """`certain`: the store said that nothing was stored by this attempt."""

    batch: int
    reason: str
    certain: bool


class StoredBefore(NamedTuple):
    """A retry was refused: the batch had been stored, where is not known any more."""

    batch: int
    place: Place
    producer: str


class SequenceGap(NamedTuple):
    """The store remembers other batches of this producer than it had acknowledged."""

    place: Place
    producer: str


class TransactionEnding(NamedTuple):
    """A producer asks for it; from a commit on, it may be committed."""

    transaction: int
    commit: bool


class TransactionEnded(NamedTuple):
    """This is how it ended: the store has said so, or nobody ever asked for anything else."""

    transaction: int
    committed: bool


# --- readers ----------------------------------------------------------------------------------


class Read(NamedTuple):
    """All that is visible in [start, stop). `whole`: of the log, from its start to its end.
    `markers`: offsets of ends of transactions. `committed`: by a reader of committed records."""

    reader: str
    place: Place
    start: int
    stop: int
    records: tuple[RecordSeen, ...]
    whole: bool = False
    markers: tuple[int, ...] = ()
    committed: bool = False


class Settled(NamedTuple):
    """No transaction is open: all that is visible is stable."""

    place: Place
    last_stable: int
    high_watermark: int


class Bounds(NamedTuple):
    """What the store says of a partition. `flushed`: below it everything is on disk. `kept`: where
    the records end of the leader epochs up to the one that was current at the last look (KIP-101);
    from there on it is another log."""

    place: Place
    log_start: int
    high_watermark: int
    log_end: int
    leader_epoch: int
    flushed: int
    kept: int


# --- forgetting -------------------------------------------------------------------------------


class MayForget(NamedTuple):
    """From here on records below the offset may go: retention, or a request whose answer is not
    known yet."""

    place: Place
    before_offset: int


class Forgotten(NamedTuple):
    """delete_records answered with this log start."""

    place: Place
    log_start: int


# --- groups -----------------------------------------------------------------------------------


class Committing(NamedTuple):
    """`transaction`: it counts when that one is committed."""

    group: str
    place: Place
    offset: int
    transaction: int = 0


class Committed(NamedTuple):
    """A commit was answered: it is durable."""

    group: str
    place: Place
    offset: int


class CommitRead(NamedTuple):
    """What the store says is committed; -1: nothing."""

    group: str
    place: Place
    offset: int


class Owners(NamedTuple):
    """What each live member of the group works on now."""

    group: str
    owned: tuple[tuple[str, tuple[Place, ...]], ...]


# --- the machine ------------------------------------------------------------------------------


class Trouble(NamedTuple):
    """A fault was injected. `is_full`: there may be no room on the disk."""

    what: str
    is_full: bool = False


class TroubleOver(NamedTuple):
    """Faults that were injected do not come any more."""


class CacheLost(NamedTuple):
    """Bytes that a failed sync had left in memory may be gone from there as well."""


class Ended(NamedTuple):
    """`kind`: close | kill | power_loss. `open`: whether the store had been opened by then, and was
    not being closed."""

    kind: str
    open: bool


class Opened(NamedTuple):
    notes: tuple[str, ...]


class Surprise(NamedTuple):
    """An answer that nothing explains: an exception that is no logstore error, a refusal without a
    cause, bytes that cannot be read."""

    what: str


Event = (
    PartitionMade
    | PartitionGone
    | Sent
    | Acknowledged
    | Refused
    | StoredBefore
    | SequenceGap
    | TransactionEnding
    | TransactionEnded
    | Read
    | Settled
    | Bounds
    | MayForget
    | Forgotten
    | Committing
    | Committed
    | CommitRead
    | Owners
    | Trouble
    | TroubleOver
    | CacheLost
    | Ended
    | Opened
    | Surprise
)


class History:
    """`operations` counts what clients and the machine did, `events` is what came of it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.events: list[Event] = []
        self.operations = 0
        self.crashes = 0

    def add(self, event: Event) -> None:
        self.events.append(event)

    def text(self, about: Iterable[Place] = ()) -> str:
        """One line an event; only of these partitions, the groups and the machine, if any."""
        places = set(about)
        lines = [f"seed {self.seed}"]
        batches: set[int] = set()
        for number, event in enumerate(self.events):
            place = getattr(event, "place", None)
            batch = getattr(event, "batch", None)
            if places and place is not None and place not in places:
                continue
            if isinstance(event, Sent):
                batches.add(event.batch)
            elif places and batch is not None and batch not in batches:
                continue
            lines.append(f"{number:5d} {_line(event)}")
        return "\n".join(lines)


def _line(event: Event) -> str:
    fields = []
    for name, value in event._asdict().items():
        if name == "values":
            value = [f"{item[:RECORD_ID_BYTES].decode()}+{len(item)}" for item in value]
        elif name == "records":
            value = [f"{item.offset}:{item.value[:RECORD_ID_BYTES]!r}" for item in value]
        fields.append(f"{name}={value}")
    return f"{type(event).__name__} " + " ".join(fields)
