"""Which segments retention takes, and how one is removed.

Only whole segments go, oldest first, and only sealed ones: never the active one, nothing that is
not on disk. A removed file is renamed first, so that a half-done removal is seen for what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from logstore.config import TopicConfig
from logstore.fs import FileSystem
from logstore.log.format import DELETED_SUFFIX, SEGMENT_SUFFIXES
from logstore.log.segment import Segment


def expired_segments(
    sealed: Sequence[Segment],
    *,
    size_bytes: int,
    log_start_offset: int,
    config: TopicConfig,
    now_ms: int,
    max_timestamp: Callable[[Segment], int],
) -> list[Segment]:
    """Of the sealed segments the oldest that retention_ms or retention_bytes no longer keeps, and
    those that lie below the log start. `size_bytes`: of the whole partition."""
    expired: list[Segment] = []
    by_age = config.is_deleted and config.retention_ms >= 0
    by_size = config.is_deleted and config.retention_bytes >= 0
    excess = size_bytes - config.retention_bytes
    for segment in sealed:
        is_old = by_age and 0 <= max_timestamp(segment) < now_ms - config.retention_ms
        is_surplus = by_size and excess - segment.size >= 0
        if not (is_old or is_surplus or segment.next_offset <= log_start_offset):
            break
        expired.append(segment)
        excess -= segment.size
    return expired


def remove_segment(fs: FileSystem, segment: Segment) -> None:
    """Raises OSError. Maps of it that readers hold stay valid."""
    remove_files(fs, segment.stem)


def remove_files(fs: FileSystem, stem: str) -> None:
    for suffix in SEGMENT_SUFFIXES:
        path = stem + suffix
        if fs.exists(path):
            fs.rename(path, path + DELETED_SUFFIX)
            fs.unlink(path + DELETED_SUFFIX)
