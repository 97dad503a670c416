"""Commits of offsets: those of one group one after the other, while the caller goes on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from logstore.errors import ClientClosedError, LogStoreError
from logstore.pending import Pending

Commit = tuple[Callable[[], None], "Pending[None]"]


class Commits:
    """Thread-safe. A later commit of a group never overtakes an earlier one."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="logstore-commit")
        self._lock = threading.Lock()
        self._queues: dict[str, deque[Commit]] = {}  # of the groups at work
        self._closed = False

    def submit(self, group_id: str, commit: Callable[[], None]) -> Pending[None]:
        """`commit` makes the call and raises its error."""
        pending: Pending[None] = Pending()
        with self._lock:
            if self._closed:
                return Pending.failed(ClientClosedError("the connection to the store is closed"))
            queue = self._queues.get(group_id)
            if queue is not None:
                queue.append((commit, pending))
                return pending
            self._queues[group_id] = deque([(commit, pending)])
            self._pool.submit(self._work, group_id)
        return pending

    def _work(self, group_id: str) -> None:
        while True:
            with self._lock:
                queue = self._queues[group_id]
                if not queue:
                    del self._queues[group_id]
                    return
                commit, pending = queue.popleft()
            try:
                commit()
            except LogStoreError as error:
                pending.set_error(error)
            except Exception as error:
                pending.set_error(LogStoreError(f"a commit failed: {error!r}"))
            else:
                pending.set_result(None)

    def close(self) -> None:
        """Waits for the commits made; there is a deadline on each."""
        with self._lock:
            self._closed = True
        self._pool.shutdown()
