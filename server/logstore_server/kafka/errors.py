"""Errors as Kafka tells them: its codes, and the table from our classes to them.

Source: https://kafka.apache.org/protocol (error codes). A code is all that most answers carry;
whether a client tries again is decided by the client, from the code.
"""

from __future__ import annotations

import enum

from logstore import errors
from logstore.errors import LogStoreError

MESSAGE_CHARACTERS_MAX = 1_000


class ErrorCode(enum.IntEnum):
    UNKNOWN_SERVER_ERROR = -1
    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    INVALID_FETCH_SIZE = 4
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    BROKER_NOT_AVAILABLE = 8
    REPLICA_NOT_AVAILABLE = 9
    MESSAGE_TOO_LARGE = 10
    STALE_CONTROLLER_EPOCH = 11
    OFFSET_METADATA_TOO_LARGE = 12
    NETWORK_EXCEPTION = 13
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC_EXCEPTION = 17
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    INVALID_REQUIRED_ACKS = 21
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    INVALID_COMMIT_OFFSET_SIZE = 28
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    CLUSTER_AUTHORIZATION_FAILED = 31
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_SASL_MECHANISM = 33
    ILLEGAL_SASL_STATE = 34
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_REPLICA_ASSIGNMENT = 39
    INVALID_CONFIG = 40
    NOT_CONTROLLER = 41
    INVALID_REQUEST = 42
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    DUPLICATE_SEQUENCE_NUMBER = 46
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    INVALID_PRODUCER_ID_MAPPING = 49
    INVALID_TRANSACTION_TIMEOUT = 50
    CONCURRENT_TRANSACTIONS = 51
    TRANSACTION_COORDINATOR_FENCED = 52
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    SECURITY_DISABLED = 54
    OPERATION_NOT_ATTEMPTED = 55
    KAFKA_STORAGE_ERROR = 56
    LOG_DIR_NOT_FOUND = 57
    SASL_AUTHENTICATION_FAILED = 58
    UNKNOWN_PRODUCER_ID = 59
    REASSIGNMENT_IN_PROGRESS = 60
    DELEGATION_TOKEN_AUTH_DISABLED = 61
    DELEGATION_TOKEN_NOT_FOUND = 62
    DELEGATION_TOKEN_OWNER_MISMATCH = 63
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65
    DELEGATION_TOKEN_EXPIRED = 66
    INVALID_PRINCIPAL_TYPE = 67
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    FETCH_SESSION_ID_NOT_FOUND = 70
    INVALID_FETCH_SESSION_EPOCH = 71
    LISTENER_NOT_FOUND = 72
    TOPIC_DELETION_DISABLED = 73
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    UNSUPPORTED_COMPRESSION_TYPE = 76
    STALE_BROKER_EPOCH = 77
    OFFSET_NOT_AVAILABLE = 78
    MEMBER_ID_REQUIRED = 79
    PREFERRED_LEADER_NOT_AVAILABLE = 80
    GROUP_MAX_SIZE_REACHED = 81
    FENCED_INSTANCE_ID = 82
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83
    ELECTION_NOT_NEEDED = 84
    NO_REASSIGNMENT_IN_PROGRESS = 85
    GROUP_SUBSCRIBED_TO_TOPIC = 86
    INVALID_RECORD = 87
    UNSTABLE_OFFSET_COMMIT = 88
    THROTTLING_QUOTA_EXCEEDED = 89
    PRODUCER_FENCED = 90
    RESOURCE_NOT_FOUND = 91
    DUPLICATE_RESOURCE = 92
    UNACCEPTABLE_CREDENTIAL = 93
    INCONSISTENT_VOTER_SET = 94
    INVALID_UPDATE_VERSION = 95
    FEATURE_UPDATE_FAILED = 96
    PRINCIPAL_DESERIALIZATION_FAILURE = 97
    SNAPSHOT_NOT_FOUND = 98
    POSITION_OUT_OF_RANGE = 99
    UNKNOWN_TOPIC_ID = 100
    DUPLICATE_BROKER_REGISTRATION = 101
    BROKER_ID_NOT_REGISTERED = 102
    INCONSISTENT_TOPIC_ID = 103
    INCONSISTENT_CLUSTER_ID = 104
    TRANSACTIONAL_ID_NOT_FOUND = 105
    FETCH_SESSION_TOPIC_ID_ERROR = 106
    INELIGIBLE_REPLICA = 107
    NEW_LEADER_ELECTED = 108
    OFFSET_MOVED_TO_TIERED_STORAGE = 109
    FENCED_MEMBER_EPOCH = 110
    UNRELEASED_INSTANCE_ID = 111
    UNSUPPORTED_ASSIGNOR = 112
    STALE_MEMBER_EPOCH = 113
    MISMATCHED_ENDPOINT_TYPE = 114
    UNSUPPORTED_ENDPOINT_TYPE = 115
    UNKNOWN_CONTROLLER_ID = 116
    UNKNOWN_SUBSCRIPTION_ID = 117
    TELEMETRY_TOO_LARGE = 118
    INVALID_REGISTRATION = 119
    TRANSACTION_ABORTABLE = 120
    INVALID_RECORD_STATE = 121
    SHARE_SESSION_NOT_FOUND = 122
    INVALID_SHARE_SESSION_EPOCH = 123
    FENCED_STATE_EPOCH = 124
    INVALID_VOTER_KEY = 125
    DUPLICATE_VOTER = 126
    VOTER_NOT_FOUND = 127
    INVALID_REGULAR_EXPRESSION = 128
    REBOOTSTRAP_REQUIRED = 129
    STREAMS_INVALID_TOPOLOGY = 130
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131
    STREAMS_TOPOLOGY_FENCED = 132
    SHARE_SESSION_LIMIT_REACHED = 133


_Code = ErrorCode

# A subclass that has no row has its parent's; the test of completeness asks for a row each.
ERROR_CODES: dict[type[LogStoreError], ErrorCode] = {
    errors.LogStoreError: _Code.UNKNOWN_SERVER_ERROR,
    # the request is wrong
    errors.InvalidRequestError: _Code.INVALID_REQUEST,
    errors.InvalidTopicNameError: _Code.INVALID_TOPIC_EXCEPTION,
    errors.InvalidConfigError: _Code.INVALID_CONFIG,
    errors.InvalidPartitionCountError: _Code.INVALID_PARTITIONS,
    errors.InvalidPatternError: _Code.INVALID_REGULAR_EXPRESSION,
    errors.InvalidAclError: _Code.INVALID_REQUEST,
    errors.InvalidCredentialError: _Code.UNACCEPTABLE_CREDENTIAL,
    errors.InvalidQuotaError: _Code.INVALID_REQUEST,
    errors.UnknownUserError: _Code.RESOURCE_NOT_FOUND,
    errors.UnknownTopicError: _Code.UNKNOWN_TOPIC_OR_PARTITION,
    errors.UnknownPartitionError: _Code.UNKNOWN_TOPIC_OR_PARTITION,
    errors.TopicExistsError: _Code.TOPIC_ALREADY_EXISTS,
    errors.OffsetOutOfRangeError: _Code.OFFSET_OUT_OF_RANGE,
    # the batch is wrong
    errors.InvalidBatchError: _Code.INVALID_RECORD,
    errors.BatchLengthError: _Code.CORRUPT_MESSAGE,
    errors.BatchMagicError: _Code.INVALID_RECORD,
    errors.BatchChecksumError: _Code.CORRUPT_MESSAGE,
    errors.BatchCountError: _Code.INVALID_RECORD,
    errors.BatchRecordError: _Code.INVALID_RECORD,
    errors.BatchCompressionError: _Code.CORRUPT_MESSAGE,
    errors.BatchTooLargeError: _Code.MESSAGE_TOO_LARGE,
    # producers
    errors.OutOfOrderSequenceError: _Code.OUT_OF_ORDER_SEQUENCE_NUMBER,
    errors.DuplicateSequenceError: _Code.DUPLICATE_SEQUENCE_NUMBER,
    errors.ProducerFencedError: _Code.PRODUCER_FENCED,
    # transactions
    errors.TransactionError: _Code.INVALID_TXN_STATE,
    errors.InvalidTransactionStateError: _Code.INVALID_TXN_STATE,
    errors.UnknownTransactionalIdError: _Code.INVALID_PRODUCER_ID_MAPPING,
    errors.ConcurrentTransactionsError: _Code.CONCURRENT_TRANSACTIONS,
    errors.UnstableOffsetCommitError: _Code.UNSTABLE_OFFSET_COMMIT,
    errors.InvalidTransactionTimeoutError: _Code.INVALID_TRANSACTION_TIMEOUT,
    # groups
    errors.GroupError: _Code.INVALID_REQUEST,
    errors.InvalidGroupIdError: _Code.INVALID_GROUP_ID,
    errors.GroupNotFoundError: _Code.GROUP_ID_NOT_FOUND,
    errors.GroupNotEmptyError: _Code.NON_EMPTY_GROUP,
    errors.GroupReadsTopicError: _Code.GROUP_SUBSCRIBED_TO_TOPIC,
    errors.InvalidSessionTimeoutError: _Code.INVALID_SESSION_TIMEOUT,
    errors.GroupKindError: _Code.INCONSISTENT_GROUP_PROTOCOL,
    errors.GroupFullError: _Code.GROUP_MAX_SIZE_REACHED,
    errors.UnknownAssignorError: _Code.UNSUPPORTED_ASSIGNOR,
    errors.UnknownMemberError: _Code.UNKNOWN_MEMBER_ID,
    errors.FencedMemberError: _Code.FENCED_MEMBER_EPOCH,
    errors.StaleMemberEpochError: _Code.STALE_MEMBER_EPOCH,
    errors.FencedInstanceError: _Code.FENCED_INSTANCE_ID,
    errors.UnreleasedInstanceError: _Code.UNRELEASED_INSTANCE_ID,
    errors.MemberIdRequiredError: _Code.MEMBER_ID_REQUIRED,
    errors.IllegalGenerationError: _Code.ILLEGAL_GENERATION,
    errors.RebalanceInProgressError: _Code.REBALANCE_IN_PROGRESS,
    errors.OffsetMetadataTooLargeError: _Code.OFFSET_METADATA_TOO_LARGE,
    # the store
    errors.StoreError: _Code.KAFKA_STORAGE_ERROR,
    errors.StoreLockedError: _Code.KAFKA_STORAGE_ERROR,
    errors.StoreFormatError: _Code.KAFKA_STORAGE_ERROR,
    errors.StoreClosedError: _Code.NOT_LEADER_OR_FOLLOWER,  # asks the client to look again
    errors.ReadOnlyStoreError: _Code.KAFKA_STORAGE_ERROR,
    errors.DiskFullError: _Code.KAFKA_STORAGE_ERROR,
    errors.StorageFailedError: _Code.KAFKA_STORAGE_ERROR,
    errors.CorruptDataError: _Code.KAFKA_STORAGE_ERROR,
    # users, rules and quotas
    errors.InvalidAclError: _Code.INVALID_REQUEST,
    errors.InvalidCredentialError: _Code.UNACCEPTABLE_CREDENTIAL,
    errors.InvalidQuotaError: _Code.INVALID_REQUEST,
    errors.UnknownUserError: _Code.RESOURCE_NOT_FOUND,
    # getting there
    errors.UnavailableError: _Code.NOT_LEADER_OR_FOLLOWER,
    errors.WrongEndpointError: _Code.NOT_LEADER_OR_FOLLOWER,
    errors.RequestTimeoutError: _Code.REQUEST_TIMED_OUT,
    errors.RequestTooLargeError: _Code.RECORD_LIST_TOO_LARGE,
    errors.TooManyRequestsError: _Code.THROTTLING_QUOTA_EXCEEDED,
    errors.BufferFullError: _Code.REQUEST_TIMED_OUT,
    errors.ClientClosedError: _Code.NOT_LEADER_OR_FOLLOWER,
}


def error_code(error: LogStoreError) -> ErrorCode:
    return next(ERROR_CODES[cls] for cls in type(error).__mro__ if cls in ERROR_CODES)


def error_message(error: LogStoreError) -> str:
    """Its sentence, short enough, and without the lone surrogates that UTF-8 cannot carry."""
    text = error.message
    if len(text) > MESSAGE_CHARACTERS_MAX:
        text = text[: MESSAGE_CHARACTERS_MAX - 3] + "..."
    return text.encode("utf-8", "replace").decode("utf-8")


def epoch_error(asked: int, current: int) -> ErrorCode:
    """For the leader epoch that a client believes is the current one; -1: it does not say."""
    if asked < 0 or asked == current:
        return ErrorCode.NONE
    return ErrorCode.FENCED_LEADER_EPOCH if asked < current else ErrorCode.UNKNOWN_LEADER_EPOCH
