"""What an OSError means for a partition."""

from __future__ import annotations

import errno
from contextlib import suppress

from logstore.errors import DiskFullError, LogStoreError, StorageFailedError, StoreError
from logstore.fs import File

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_no_space(error: OSError) -> bool:
    return error.errno in NO_SPACE


def storage_error(error: OSError, what: str, path: str) -> StoreError:
    """DiskFullError for a full disk or quota, StorageFailedError for everything else."""
    if is_no_space(error):
        return DiskFullError(
            f"no space is left to {what} {path} ({error.strerror}); nothing was stored, free some "
            "space and send again",
            path=path,
            errno=error.errno,
        )
    return StorageFailedError(
        f"could not {what} {path}: {error}; the partition takes no writes until the store is "
        "reopened and the partition recovered",
        path=path,
        errno=error.errno,
    )


def sync_error(error: OSError, partition: str) -> StorageFailedError:
    return StorageFailedError(
        f"{partition}: a sync failed ({error}); what was not yet acknowledged may be lost. "
        "The partition takes no writes until the store is reopened",
        partition=partition,
        errno=error.errno,
    )


def drain_failures(file: File) -> None:
    """Hear of write-backs of the file that failed before it was opened here: Linux tells the first
    who syncs, however long ago it was. Only for who trusts nothing unsynced in it anyway, and
    writes again and syncs what is to count."""
    with suppress(OSError):
        file.sync()


def fresh(error: LogStoreError) -> LogStoreError:
    """A copy to raise: one object raised again and again would collect every traceback."""
    copy = type(error)(error.message)
    copy.details = dict(error.details)
    return copy
