"""Errors as gRPC tells them: the table from class to status, and the details that go with it."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from logstore import errors
from logstore.errors import LogStoreError
from logstore.v1 import common_pb2

DOMAIN = "logstore"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
# Errors travel in trailing metadata, of which a client takes 8 KiB by default.
MESSAGE_CHARACTERS_MAX = 1_000
DETAIL_CHARACTERS_MAX = 200
DETAILS_MAX = 16

_Code = grpc.StatusCode

# A subclass that has no row has its parent's; the test of completeness asks for a row each.
STATUS_CODES: dict[type[LogStoreError], grpc.StatusCode] = {
    errors.LogStoreError: _Code.INTERNAL,
    # the request is wrong
    errors.InvalidRequestError: _Code.INVALID_ARGUMENT,
    errors.InvalidTopicNameError: _Code.INVALID_ARGUMENT,
    errors.InvalidConfigError: _Code.INVALID_ARGUMENT,
    errors.InvalidPartitionCountError: _Code.INVALID_ARGUMENT,
    errors.InvalidPatternError: _Code.INVALID_ARGUMENT,
    errors.InvalidSessionTimeoutError: _Code.INVALID_ARGUMENT,
    errors.InvalidAclError: _Code.INVALID_ARGUMENT,
    errors.InvalidCredentialError: _Code.INVALID_ARGUMENT,
    errors.InvalidQuotaError: _Code.INVALID_ARGUMENT,
    errors.UnknownUserError: _Code.NOT_FOUND,
    errors.UnknownTopicError: _Code.NOT_FOUND,
    errors.UnknownPartitionError: _Code.NOT_FOUND,
    errors.TopicExistsError: _Code.ALREADY_EXISTS,
    errors.OffsetOutOfRangeError: _Code.OUT_OF_RANGE,
    # the batch is wrong
    errors.InvalidBatchError: _Code.INVALID_ARGUMENT,
    errors.BatchLengthError: _Code.INVALID_ARGUMENT,
    errors.BatchMagicError: _Code.INVALID_ARGUMENT,
    errors.BatchChecksumError: _Code.INVALID_ARGUMENT,
    errors.BatchCountError: _Code.INVALID_ARGUMENT,
    errors.BatchRecordError: _Code.INVALID_ARGUMENT,
    errors.BatchCompressionError: _Code.INVALID_ARGUMENT,
    errors.BatchTooLargeError: _Code.INVALID_ARGUMENT,
    # producers
    errors.OutOfOrderSequenceError: _Code.FAILED_PRECONDITION,
    errors.DuplicateSequenceError: _Code.ALREADY_EXISTS,
    errors.ProducerFencedError: _Code.ABORTED,
    # groups
    errors.TransactionError: _Code.FAILED_PRECONDITION,
    errors.InvalidTransactionStateError: _Code.FAILED_PRECONDITION,
    errors.UnknownTransactionalIdError: _Code.FAILED_PRECONDITION,
    errors.ConcurrentTransactionsError: _Code.ABORTED,
    errors.UnstableOffsetCommitError: _Code.ABORTED,
    errors.InvalidTransactionTimeoutError: _Code.INVALID_ARGUMENT,
    errors.GroupError: _Code.FAILED_PRECONDITION,
    errors.InvalidGroupIdError: _Code.INVALID_ARGUMENT,
    errors.GroupNotFoundError: _Code.NOT_FOUND,
    errors.GroupNotEmptyError: _Code.FAILED_PRECONDITION,
    errors.GroupReadsTopicError: _Code.FAILED_PRECONDITION,
    errors.GroupKindError: _Code.FAILED_PRECONDITION,
    errors.GroupFullError: _Code.RESOURCE_EXHAUSTED,
    errors.UnknownAssignorError: _Code.INVALID_ARGUMENT,
    errors.UnknownMemberError: _Code.NOT_FOUND,
    errors.FencedMemberError: _Code.ABORTED,
    errors.StaleMemberEpochError: _Code.ABORTED,
    errors.FencedInstanceError: _Code.ABORTED,
    errors.UnreleasedInstanceError: _Code.FAILED_PRECONDITION,
    errors.MemberIdRequiredError: _Code.FAILED_PRECONDITION,
    errors.IllegalGenerationError: _Code.ABORTED,
    errors.RebalanceInProgressError: _Code.ABORTED,
    errors.OffsetMetadataTooLargeError: _Code.INVALID_ARGUMENT,
    # the store
    errors.StoreError: _Code.INTERNAL,
    errors.StoreLockedError: _Code.FAILED_PRECONDITION,
    errors.StoreFormatError: _Code.FAILED_PRECONDITION,
    errors.StoreClosedError: _Code.UNAVAILABLE,
    errors.ReadOnlyStoreError: _Code.FAILED_PRECONDITION,
    errors.DiskFullError: _Code.RESOURCE_EXHAUSTED,
    errors.StorageFailedError: _Code.INTERNAL,
    errors.CorruptDataError: _Code.DATA_LOSS,
    # getting there
    errors.UnavailableError: _Code.UNAVAILABLE,
    # Not UNAVAILABLE: a client library that retries by code would go to the same place again.
    errors.WrongEndpointError: _Code.FAILED_PRECONDITION,
    errors.RequestTimeoutError: _Code.DEADLINE_EXCEEDED,
    errors.RequestTooLargeError: _Code.RESOURCE_EXHAUSTED,  # as gRPC itself answers
    errors.TooManyRequestsError: _Code.RESOURCE_EXHAUSTED,
    errors.BufferFullError: _Code.RESOURCE_EXHAUSTED,
    errors.ClientClosedError: _Code.CANCELLED,
}


def status_code(error: LogStoreError) -> grpc.StatusCode:
    return next(STATUS_CODES[cls] for cls in type(error).__mro__ if cls in STATUS_CODES)


def error_message(error: LogStoreError) -> common_pb2.Error:
    """For an error of a part of a request."""
    return common_pb2.Error(
        code=status_code(error).value[0],
        reason=error.reason,
        message=_cut(error.message, MESSAGE_CHARACTERS_MAX),
        retriable=error.retriable,
        metadata=_metadata(error),
    )


def status_details(error: LogStoreError) -> bytes:
    """google.rpc.Status with ErrorInfo: the value of the grpc-status-details-bin trailer."""
    # Imported at the first error, as a server that has none need not hold them.
    from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

    info = error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=DOMAIN,
        metadata=_metadata(error) | {"retriable": "true" if error.retriable else "false"},
    )
    status = status_pb2.Status(
        code=status_code(error).value[0], message=_cut(error.message, MESSAGE_CHARACTERS_MAX)
    )
    status.details.add().Pack(info)
    return bytes(status.SerializeToString())


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: LogStoreError) -> NoReturn:
    """End the call with `error`."""
    await context.abort(
        status_code(error),
        _cut(error.message, MESSAGE_CHARACTERS_MAX),
        ((STATUS_DETAILS_KEY, status_details(error)),),
    )
    raise AssertionError("abort returned")


def _metadata(error: LogStoreError) -> dict[str, str]:
    details = list(error.details.items())[:DETAILS_MAX]
    return {name: _cut(value, DETAIL_CHARACTERS_MAX) for name, value in details}


def _cut(text: str, characters_max: int) -> str:
    """`text` short enough, and without the lone surrogates that UTF-8 cannot carry."""
    if len(text) > characters_max:
        text = text[: characters_max - 3] + "..."
    return text.encode("utf-8", "replace").decode("utf-8")
