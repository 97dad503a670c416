"""Every error a user of logstore can meet, in one tree.

An error knows nothing of wires: each listener maps the class to its own code in one table.
`reason` is the stable name that travels (google.rpc.ErrorInfo.reason over gRPC); it is a promise.
`retriable` says whether the same call may succeed later without being changed.
`details` carries the facts of the message as strings, for programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class LogStoreError(Exception):
    """Base of all errors raised by logstore on purpose."""

    reason: ClassVar[str] = "INTERNAL"
    retriable: ClassVar[bool] = False

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.details: dict[str, str] = {name: str(value) for name, value in details.items()}

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else ""


# --- the request is wrong -------------------------------------------------------------------


class InvalidRequestError(LogStoreError):
    """An argument is missing, malformed or outside its range."""

    reason = "INVALID_REQUEST"


class InvalidTopicNameError(InvalidRequestError):
    reason = "INVALID_TOPIC_NAME"


class InvalidConfigError(InvalidRequestError):
    """Unknown config key, or a value outside the range that the message names."""

    reason = "INVALID_CONFIG"


class InvalidPartitionCountError(InvalidRequestError):
    reason = "INVALID_PARTITION_COUNT"


class InvalidPatternError(InvalidRequestError):
    """A subscription pattern is not a valid RE2 expression."""

    reason = "INVALID_PATTERN"


class InvalidSessionTimeoutError(InvalidRequestError):
    """Outside what the store's GroupConfig allows."""

    reason = "INVALID_SESSION_TIMEOUT"


class InvalidAclError(InvalidRequestError):
    """An access rule names what there is not, or what does not go together."""

    reason = "INVALID_ACL"


class InvalidCredentialError(InvalidRequestError):
    """A user name, password or its derived keys are outside their ranges."""

    reason = "INVALID_CREDENTIAL"


class InvalidQuotaError(InvalidRequestError):
    reason = "INVALID_QUOTA"


class UnknownUserError(LogStoreError):
    """There is no such user, or it has no credential of that mechanism."""

    reason = "UNKNOWN_USER"


class UnknownTopicError(LogStoreError):
    reason = "UNKNOWN_TOPIC"


class UnknownPartitionError(LogStoreError):
    reason = "UNKNOWN_PARTITION"


class TopicExistsError(LogStoreError):
    reason = "TOPIC_EXISTS"


class OffsetOutOfRangeError(LogStoreError):
    """The offset is below the log start offset or above the high watermark."""

    reason = "OFFSET_OUT_OF_RANGE"


# --- the batch is wrong ---------------------------------------------------------------------


class InvalidBatchError(InvalidRequestError):
    """A record batch cannot be stored or read. Nothing of it was stored."""

    reason = "INVALID_BATCH"


class BatchLengthError(InvalidBatchError):
    """The batch is cut short, or its length field disagrees with the bytes given."""

    reason = "BATCH_LENGTH"


class BatchMagicError(InvalidBatchError):
    """The batch is not of format version 2."""

    reason = "BATCH_MAGIC"


class BatchChecksumError(InvalidBatchError):
    """CRC-32C of the batch does not match its content."""

    reason = "BATCH_CHECKSUM"


class BatchCountError(InvalidBatchError):
    """Record count, last offset delta and the records found inside disagree."""

    reason = "BATCH_COUNT"


class BatchRecordError(InvalidBatchError):
    """A record inside the batch is malformed (length, delta, varint, header, timestamp bounds)."""

    reason = "BATCH_RECORD"


class BatchCompressionError(InvalidBatchError):
    """Unknown compression code, undecodable data, or more data than the decompression limit."""

    reason = "BATCH_COMPRESSION"


class BatchTooLargeError(InvalidBatchError):
    """The batch is larger than the topic's max_message_bytes."""

    reason = "BATCH_TOO_LARGE"


# --- producers ------------------------------------------------------------------------------


class OutOfOrderSequenceError(LogStoreError):
    """A producer's sequence number leaves a gap against what the partition has seen."""

    reason = "OUT_OF_ORDER_SEQUENCE"


class DuplicateSequenceError(LogStoreError):
    """The sequence was stored before, but so long ago that its offset is no longer known."""

    reason = "DUPLICATE_SEQUENCE"


class ProducerFencedError(LogStoreError):
    """A newer epoch of this producer id is in use."""

    reason = "PRODUCER_FENCED"


# --- transactions ---------------------------------------------------------------------------


class TransactionError(LogStoreError):
    reason = "TRANSACTION_ERROR"


class InvalidTransactionStateError(TransactionError):
    """What is asked does not fit the state of the producer's transaction."""

    reason = "INVALID_TRANSACTION_STATE"


class UnknownTransactionalIdError(TransactionError):
    """No producer was initialized for the transactional id, or it has another producer id."""

    reason = "UNKNOWN_TRANSACTIONAL_ID"


class ConcurrentTransactionsError(TransactionError):
    """The producer's last transaction is still being ended."""

    reason = "CONCURRENT_TRANSACTIONS"
    retriable = True


class UnstableOffsetCommitError(TransactionError):
    """An open transaction is about to move the committed offset: who started there now would read
    again what the transaction has done."""

    reason = "UNSTABLE_OFFSET_COMMIT"
    retriable = True


class InvalidTransactionTimeoutError(InvalidRequestError):
    reason = "INVALID_TRANSACTION_TIMEOUT"


# --- groups ---------------------------------------------------------------------------------


class GroupError(LogStoreError):
    reason = "GROUP_ERROR"


class InvalidGroupIdError(GroupError):
    reason = "INVALID_GROUP_ID"


class GroupNotFoundError(GroupError):
    reason = "GROUP_NOT_FOUND"


class GroupNotEmptyError(GroupError):
    """The operation needs a group without members."""

    reason = "GROUP_NOT_EMPTY"


class GroupReadsTopicError(GroupNotEmptyError):
    """Members of the group read the topic."""

    reason = "GROUP_READS_TOPIC"


class GroupKindError(GroupError):
    """The group exists with another kind or protocol than the request's."""

    reason = "GROUP_KIND"


class GroupFullError(GroupError):
    reason = "GROUP_FULL"


class UnknownAssignorError(GroupError):
    reason = "UNKNOWN_ASSIGNOR"


class UnknownMemberError(GroupError):
    """The group does not know this member; it must join again."""

    reason = "UNKNOWN_MEMBER"


class FencedMemberError(GroupError):
    """The member's epoch is not the group's; it must give up its partitions and join again."""

    reason = "FENCED_MEMBER"


class StaleMemberEpochError(GroupError):
    """A commit carries an old member epoch; heartbeat to learn the new one, then commit again."""

    reason = "STALE_MEMBER_EPOCH"


class FencedInstanceError(GroupError):
    """Another member has taken over this static instance id."""

    reason = "FENCED_INSTANCE"


class UnreleasedInstanceError(GroupError):
    """The static instance id is still held by a live member."""

    reason = "UNRELEASED_INSTANCE"


class MemberIdRequiredError(GroupError):
    """Classic protocol: join again with the member id given in `details['member_id']`."""

    reason = "MEMBER_ID_REQUIRED"


class IllegalGenerationError(GroupError):
    """Classic protocol: the generation is not the group's current one."""

    reason = "ILLEGAL_GENERATION"


class RebalanceInProgressError(GroupError):
    """Classic protocol: the group is rebalancing; join again."""

    reason = "REBALANCE_IN_PROGRESS"
    retriable = True


class OffsetMetadataTooLargeError(GroupError):
    reason = "OFFSET_METADATA_TOO_LARGE"


# --- the store ------------------------------------------------------------------------------


class StoreError(LogStoreError):
    reason = "STORE_ERROR"


class StoreLockedError(StoreError):
    """Another process has the directory open for writing."""

    reason = "STORE_LOCKED"


class StoreFormatError(StoreError):
    """The directory is not a store, or one of a format this version must not touch."""

    reason = "STORE_FORMAT"


class StoreClosedError(StoreError):
    reason = "STORE_CLOSED"


class ReadOnlyStoreError(StoreError):
    """The store was opened read-only."""

    reason = "READ_ONLY_STORE"


class DiskFullError(StoreError):
    """No space is left; nothing was torn, reads go on, writes resume when space returns."""

    reason = "DISK_FULL"
    retriable = True


class StorageFailedError(StoreError):
    """A write or sync failed; the partition takes no writes until it is reopened and recovered."""

    reason = "STORAGE_FAILED"


class CorruptDataError(StoreError):
    """Stored bytes fail their checks. The message names file and position."""

    reason = "CORRUPT_DATA"


# --- getting there --------------------------------------------------------------------------


class UnavailableError(LogStoreError):
    """The server cannot be reached, or is shutting down."""

    reason = "UNAVAILABLE"
    retriable = True


class WrongEndpointError(LogStoreError):
    """Another endpoint serves this partition or group: `details['endpoint']`, if known."""

    reason = "WRONG_ENDPOINT"
    retriable = True


class RequestTimeoutError(LogStoreError):
    """No answer in time; the request may or may not have taken effect."""

    reason = "REQUEST_TIMEOUT"
    retriable = True


class RequestTooLargeError(InvalidRequestError):
    """The request or its answer is over the message limit."""

    reason = "REQUEST_TOO_LARGE"


class TooManyRequestsError(LogStoreError):
    """A named limit of the server or store (streams, leases, waiters) is reached."""

    reason = "TOO_MANY_REQUESTS"
    retriable = True


class BufferFullError(LogStoreError):
    """The producer's buffer is full and did not drain in time."""

    reason = "BUFFER_FULL"
    retriable = True


class ClientClosedError(LogStoreError):
    """The producer, consumer or store object was closed."""

    reason = "CLIENT_CLOSED"


def error_classes() -> Iterator[type[LogStoreError]]:
    """All classes of the tree, the base first; what the listeners' tables must cover."""
    pending: list[type[LogStoreError]] = [LogStoreError]
    while pending:
        cls = pending.pop()
        yield cls
        pending.extend(cls.__subclasses__())


def error_for_reason(reason: str) -> type[LogStoreError]:
    """The class whose `reason` this is; LogStoreError for one that is not known here."""
    return next((cls for cls in error_classes() if cls.reason == reason), LogStoreError)
