"""A bar on stderr that tells how far a look at a store's files is, where a person watches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logstore.verify.findings import Progress

INTERVAL_S = 0.1  # between two updates


class Bar:
    """A bar on stderr, where a person watches."""

    def __init__(self, *, enabled: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not enabled,
        )
        self._task = self._bar.add_task("", total=None)
        self._next = 0.0
        self.position = (0, 0)  # shown last: bytes done, of how many

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + INTERVAL_S
            self.position = (progress.bytes_done, progress.bytes_total)
            self._bar.update(
                self._task,
                description=progress.path,
                completed=progress.bytes_done,
                total=progress.bytes_total,
            )

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
