"""Large buffers of this process come from the heap and stay in it.

A message of a hot stream is about 1 MiB. By default glibc takes a buffer of that size from the
kernel and gives it back, page by page, each time, or trims the heap under it; a tenth of the
processor time of a busy server went there. Streams were 15 to 25 % faster with these limits
(benchmarks/macro/grpc_stream.py, median of 15). The price: up to HEAP_KEPT_BYTES of freed memory
stays with the process.
"""

from __future__ import annotations

import ctypes

LARGE_BUFFER_BYTES = 32 << 20  # up to here from the heap; the most that glibc takes everywhere
HEAP_KEPT_BYTES = 64 << 20

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


def keep_large_buffers() -> bool:
    """For the whole process; False where the C library has no such setting (not glibc)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    is_from_heap: bool = mallopt(_M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES) == 1
    is_kept: bool = mallopt(_M_TRIM_THRESHOLD, HEAP_KEPT_BYTES) == 1
    return is_from_heap and is_kept
