"""LogStore: the verbs and plain values that every client class and every listener sees.

Two protocols. `LogStore` is what a client needs; LocalLogStore (embedded) and RemoteLogStore
(over gRPC) implement it, so Producer, Consumer and Admin are written once. `ServedLogStore`
adds what a listener needs to serve without ever blocking its event loop; only the local store
implements it. Its `coordination` are the group verbs of Kafka's clients (GroupCoordination).

Offsets count records, timestamps are milliseconds since the epoch (UTC), batches are Kafka
record batches v2 as bytes. All methods are thread-safe. Errors are those of logstore.errors.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from logstore.api.access import AccessStore
from logstore.api.classic_groups import (
    NO_GENERATION,
    ClassicGroupInfo,
    ClassicHeartbeat,
    ClassicJoin,
    ClassicJoined,
    ClassicLeave,
    ClassicMemberInfo,
    ClassicProtocol,
    ClassicSync,
    ClassicSynced,
    JoinedMember,
    LeavingMember,
)
from logstore.api.coordination import (
    GroupCoordination,
    ListedGroup,
    MemberCommit,
    OffsetsQuery,
)
from logstore.api.groups import (
    EPOCH_JOIN,
    EPOCH_LEAVE,
    EPOCH_LEAVE_STATIC,
    LEADER_EPOCH_UNKNOWN,
    CommittedOffset,
    GroupAssignment,
    GroupHeartbeat,
    GroupInfo,
    GroupKind,
    GroupSummary,
    MemberInfo,
    OffsetReset,
    OffsetToCommit,
    PartitionLag,
    ResetTo,
    is_news,
)
from logstore.api.topics import (
    PartitionInfo,
    StoreInfo,
    TopicInfo,
    TopicPartition,
    TopicSpec,
)
from logstore.api.transactions import (
    ProducerIdentity,
    ProducerInfo,
    TransactionCoordination,
    TransactionInfo,
    TransactionStatus,
    TransactionVersion,
)
from logstore.errors import LogStoreError
from logstore.pending import Pending

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import ReadableBuffer

OFFSET_UNKNOWN = -1
TIMESTAMP_UNKNOWN = -1
TRANSACTION_TIMEOUT_MS = 60_000  # unless the producer says otherwise; Kafka's default


# --- producing ------------------------------------------------------------------------------


class Acks(enum.IntEnum):
    """When an append is answered. Kafka's numbers."""

    ALL = -1  # durable as the topic's `durability` says
    NONE = 0  # at once, whatever becomes of it
    LEADER = 1  # written, not yet synced


class Appended(NamedTuple):
    """Where a batch was stored. `log_append_time_ms` is -1 for CreateTime topics;
    `duplicate` tells that this producer's sequence was stored there before."""

    base_offset: int
    last_offset: int
    log_append_time_ms: int
    log_start_offset: int
    duplicate: bool


# --- reading --------------------------------------------------------------------------------


class OffsetSpec(enum.IntEnum):
    """Special timestamps of `list_offsets`. Kafka's numbers."""

    LATEST = -1
    EARLIEST = -2
    MAX_TIMESTAMP = -3


class OffsetQuery(NamedTuple):
    """`timestamp_ms`: the first record at or after it is asked for; or an OffsetSpec."""

    topic: str
    partition: int
    timestamp_ms: int


class OffsetAnswer(NamedTuple):
    """`offset` -1: no such record. Either `error` is set or the rest means something."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    leader_epoch: int
    error: LogStoreError | None = None


class PartitionBounds(NamedTuple):
    """One partition as a reader sees it now. Everybody may read below the high watermark, readers
    of committed records below the last stable offset."""

    log_start_offset: int
    last_stable_offset: int
    high_watermark: int
    leader_epoch: int


class EpochEnd(NamedTuple):
    """`leader_epoch` -1: no epoch as old is known. Its records end before `end_offset`."""

    leader_epoch: int
    end_offset: int


class FetchPosition(NamedTuple):
    topic: str
    partition: int
    offset: int
    bytes_max: int


class AbortedTransaction(NamedTuple):
    """The producer's transactional batches from `first_offset` to `last_offset` are not to be read.
    The last is of the marker, or of where it was: compaction may have taken it."""

    producer_id: int
    first_offset: int
    last_offset: int


class FetchedPartition(NamedTuple):
    """`data`: whole batches, one after the other; the first may begin below the asked offset.

    `cold`: nothing was read because the bytes would have to come from disk (see fetch).
    `aborted`: with read_committed, the aborted transactions that have batches in `data`; a Reader
    has left those out already. Control batches hold no records for users.
    """

    topic: str
    partition: int
    data: memoryview
    high_watermark: int
    log_start_offset: int
    last_stable_offset: int
    error: LogStoreError | None = None
    cold: bool = False
    aborted: tuple[AbortedTransaction, ...] = ()


class FetchResult(Protocol):
    """Leased views of the log; valid until close (or the end of the with block)."""

    @property
    def partitions(self) -> Sequence[FetchedPartition]: ...

    @property
    def size_bytes(self) -> int: ...

    def close(self) -> None: ...

    def __enter__(self) -> FetchResult: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Registration(Protocol):
    def cancel(self) -> None:
        """Forget the callback; harmless when it has already run."""
        ...


class Reader(Protocol):
    """A reading position in many partitions, fed as fast as its buffer allows.

    Used by one thread at a time, but for `wake` and `close`.
    """

    def set_position(self, topic: str, partition: int, offset: int) -> None:
        """Start (or go on) reading the partition from `offset`; drops what was read ahead."""
        ...

    def remove(self, topic: str, partition: int) -> None:
        """Stop reading the partition and drop what was read ahead of it."""
        ...

    def poll(self, timeout: float) -> list[FetchedPartition]:
        """What has arrived, waiting up to `timeout` seconds for the first of it.

        Each item's position moves behind its last batch. The views live as long as they are
        referenced. An item with `error` is not read on before the next set_position.
        """
        ...

    def wake(self) -> None:
        """Make a waiting poll return now. Safe from any thread."""
        ...

    def close(self) -> None: ...


# --- the verbs ------------------------------------------------------------------------------


class LogStore(Protocol):
    """What a client may ask of a store. Methods may block for the time of one request."""

    # the store and its topics
    def describe_store(self) -> StoreInfo: ...

    def create_topic(self, spec: TopicSpec, *, validate_only: bool = False) -> TopicInfo: ...

    def delete_topic(self, name: str) -> None: ...

    def describe_topics(
        self, names: Sequence[str] | None = None, *, include_internal: bool = False
    ) -> list[TopicInfo]:
        """The named topics in that order (UnknownTopicError if one is missing), or all."""
        ...

    def alter_topic(
        self, name: str, *, set_configs: Mapping[str, str], reset_configs: Sequence[str] = ()
    ) -> TopicInfo: ...

    def add_partitions(self, name: str, *, total: int) -> TopicInfo: ...

    # records
    def init_producer(
        self,
        transactional_id: str | None = None,
        *,
        transaction_timeout_ms: int = TRANSACTION_TIMEOUT_MS,
    ) -> ProducerIdentity:
        """A producer id never given before, durable. With a transactional id: the one of that id
        under a raised epoch; its last producer is fenced, and what that left open is aborted.

        Raises ConcurrentTransactionsError (try again), InvalidTransactionTimeoutError.
        """
        ...

    def append(
        self, topic: str, partition: int, batch: ReadableBuffer, *, acks: Acks = Acks.ALL
    ) -> Pending[Appended]:
        """Store one batch. Never blocks for the sync: the Pending ends when `acks` is met.

        The order of calls for one partition is the order of the log. The batch must not be
        changed before the Pending is done. Errors come through the Pending.

        A transactional batch belongs to its producer's open transaction, which begins with the
        first; readers of committed records see it when that is committed.
        """
        ...

    def commit_offsets_in_transaction(
        self,
        transactional_id: str,
        producer: ProducerIdentity,
        group_id: str,
        offsets: Sequence[OffsetToCommit],
        *,
        member_id: str = "",
        member_epoch: int = -1,
    ) -> None:
        """As commit_offsets, but the offsets count when the transaction is committed, or never."""
        ...

    def end_transaction(
        self, transactional_id: str, producer: ProducerIdentity, *, commit: bool
    ) -> ProducerIdentity:
        """Commit or abort all that the producer wrote since the last end; durable, and visible to
        readers, when it returns. The answer is who the producer is from now on (KIP-890).

        Asked again after a lost answer it gives the same one. An abort needs nothing that is open:
        it fences what the producer has still on its way. Raises ProducerFencedError (another
        producer took over, or the transaction outlived its timeout), UnknownTransactionalIdError,
        InvalidTransactionStateError, ConcurrentTransactionsError (try again).
        """
        ...

    def open_reader(
        self, *, bytes_max: int, partition_bytes_max: int, read_committed: bool = False
    ) -> Reader:
        """`bytes_max`: what may be read ahead of the user, in bytes."""
        ...

    def list_offsets(self, queries: Sequence[OffsetQuery]) -> list[OffsetAnswer]: ...

    def delete_records(self, topic: str, partition: int, *, before_offset: int) -> int:
        """Forget all below `before_offset` (-1: the high watermark); returns the log start."""
        ...

    # groups
    def group_heartbeat(self, heartbeat: GroupHeartbeat, *, wait: float = 0.0) -> GroupAssignment:
        """One heartbeat. With `wait` the answer may take that many seconds if there is nothing
        that the member does not know: then it comes at once when something changes."""
        ...

    def commit_offsets(
        self,
        group_id: str,
        offsets: Sequence[OffsetToCommit],
        *,
        member_id: str = "",
        member_epoch: int = -1,
    ) -> Pending[None]:
        """All or none. Without a member (epoch -1) only for a group that has no members."""
        ...

    def committed_offsets(
        self, group_id: str, partitions: Sequence[TopicPartition] | None = None
    ) -> list[CommittedOffset]:
        """For the named partitions (offset -1 where nothing is), or all that have one.

        Named are those that somebody starts to read: raises UnstableOffsetCommitError (try again)
        while an open transaction may move one of them (KIP-447).
        """
        ...

    def list_groups(self) -> list[GroupSummary]: ...

    def describe_group(self, group_id: str) -> GroupInfo: ...

    def delete_group(self, group_id: str) -> None: ...

    def delete_offsets(self, group_id: str, partitions: Sequence[TopicPartition]) -> None: ...

    def reset_offsets(self, reset: OffsetReset) -> list[CommittedOffset]:
        """The new offsets (what they would be, with dry_run)."""
        ...

    def find_group(self, group_id: str) -> str:
        """The endpoint that serves the group; "" means this store."""
        ...

    def close(self) -> None: ...


class ServedLogStore(LogStore, Protocol):
    """What a listener asks of the local store. Nothing here blocks but where it says so.

    Of LogStore's verbs those that change topics, init_producer, delete_records, the offset
    look-ups by timestamp and the changes of groups but commit_offsets may block for a sync or a
    read from disk: call them in a worker thread.

    The driver (an event loop, or the thread of logstore.open) calls `tick` at `next_deadline`,
    and runs `run_flush` and `run_maintenance` in threads when `notify` has said so.
    """

    def fetch(
        self,
        positions: Sequence[FetchPosition],
        *,
        bytes_max: int,
        read_committed: bool = False,
        cold_ok: bool = False,
    ) -> FetchResult:
        """What is there now. With `cold_ok` it may block to read from disk; without, such a
        partition comes back as `cold`: call again with cold_ok in a worker thread."""
        ...

    def topic_name(self, topic_id: uuid.UUID) -> str:
        """Of the topic with that id; raises UnknownTopicError."""
        ...

    def partition_bounds(self, topic: str, partition: int) -> PartitionBounds:
        """Raises UnknownTopicError, UnknownPartitionError, or why the partition is not served."""
        ...

    def epoch_end(self, topic: str, partition: int, leader_epoch: int) -> EpochEnd:
        """The end of the largest known epoch that is not above `leader_epoch` (KIP-101, KIP-320).
        Raises as partition_bounds does."""
        ...

    def wait_for_data(
        self,
        positions: Sequence[FetchPosition],
        on_ready: Callable[[], None],
        *,
        read_committed: bool = False,
    ) -> Registration:
        """Call back once, from any thread, when one of the positions may have something new
        (data or an error); at once if it already has."""
        ...

    @property
    def coordination(self) -> GroupCoordination: ...

    @property
    def transactions(self) -> TransactionCoordination:
        """The verbs of transactions as Kafka's clients need them."""
        ...

    def append(
        self,
        topic: str,
        partition: int,
        batch: ReadableBuffer,
        *,
        acks: Acks = Acks.ALL,
        transaction_version: TransactionVersion = TransactionVersion.TWO,
    ) -> Pending[Appended]:
        """With ONE a transactional batch for a partition that was not added to its transaction is
        refused (InvalidTransactionStateError) instead of enrolling it."""
        ...

    def compresses(self, topic: str) -> bool:
        """Whether what is appended to it may be compressed again first, so that an append takes
        long. False if there is no such topic."""
        ...

    def heartbeat_now(self, heartbeat: GroupHeartbeat) -> GroupAssignment:
        """group_heartbeat without waiting."""
        ...

    def watch_member(
        self, group_id: str, member_id: str, known: GroupAssignment, on_change: Callable[[], None]
    ) -> Registration:
        """Call back once when the member's next heartbeat would be answered with something
        other than `known`, or with an error."""
        ...

    def alter_topic(
        self,
        name: str,
        *,
        set_configs: Mapping[str, str],
        reset_configs: Sequence[str] = (),
        validate_only: bool = False,
    ) -> TopicInfo:
        """With `validate_only`: what the topic would be, or the error."""
        ...

    def add_partitions(self, name: str, *, total: int, validate_only: bool = False) -> TopicInfo:
        """With `validate_only`: the topic as it is, or the error."""
        ...

    @property
    def access(self) -> AccessStore:
        """Users, access rules and quotas; its changes block for a sync."""
        ...

    def attach_driver(
        self, *, on_flush: Callable[[], None], on_deadline: Callable[[], None]
    ) -> None:
        """`on_flush`: run_flush has work now. `on_deadline`: next_deadline has moved forward.
        Both may be called from any thread and must not block."""
        ...

    def next_deadline(self) -> float | None:
        """When tick has to be called next, in Clock.monotonic seconds."""
        ...

    def tick(self) -> None:
        """Time-driven work that does not block: sessions, delayed flushes."""
        ...

    def run_flush(self) -> None:
        """Blocks: one flush round, if there is something to flush."""
        ...

    def run_maintenance(self) -> None:
        """Blocks: retention, expiry of offsets, a bounded part of a compaction; cheap when nothing
        is due. If more is left of the compaction, next_deadline is now."""
        ...
