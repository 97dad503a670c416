"""What a look at a store found, as values, and the notebook they are written into."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from logstore.fs import FileSystem

FINDINGS_PER_FILE_MAX = 100  # of a file that is nothing but damage the first hundred will do


class Severity(enum.Enum):
    DAMAGE = "damage"  # something that was promised is not there, or not what was written
    REMARK = "remark"  # what a running writer leaves for a moment, or the next opening clears up


@dataclass(frozen=True, slots=True)
class Finding:
    """`path` is relative to the store. Offsets are those that are damaged or missing, both ends
    included; -1 where a finding is not about offsets."""

    path: str
    problem: str
    severity: Severity = Severity.DAMAGE
    position: int = -1
    first_offset: int = -1
    last_offset: int = -1
    readable: str = ""  # what can still be read


@dataclass(slots=True)
class Report:
    findings: list[Finding] = field(default_factory=list)
    partitions: int = 0
    files: int = 0
    batches: int = 0
    records: int = 0
    bytes_read: int = 0
    is_closed_cleanly: bool = False

    @property
    def damages(self) -> list[Finding]:
        return [found for found in self.findings if found.severity is Severity.DAMAGE]


@dataclass(frozen=True, slots=True)
class Progress:
    path: str  # of the file that is being read, relative to the store
    bytes_done: int
    bytes_total: int


OnProgress = Callable[[Progress], None]


class Scan:
    """One verification under way: the files, and what was found so far."""

    def __init__(self, fs: FileSystem, root: str, on_progress: OnProgress) -> None:
        self.fs = fs
        self.root = root
        self.report = Report()
        self.bytes_total = 0
        self._on_progress = on_progress
        self._per_file: dict[str, int] = {}

    def add(
        self,
        path: str,
        problem: str,
        *,
        severity: Severity = Severity.DAMAGE,
        position: int = -1,
        offsets: tuple[int, int] = (-1, -1),
        readable: str = "",
    ) -> None:
        """Note a finding about the file with the full path `path`."""
        count = self._per_file[path] = self._per_file.get(path, 0) + 1
        if count > FINDINGS_PER_FILE_MAX:
            return
        if count == FINDINGS_PER_FILE_MAX:
            problem += "; further findings in this file are not listed"
        name = path.removeprefix(self.root + "/")
        self.report.findings.append(
            Finding(name, problem, severity, position, offsets[0], offsets[1], readable)
        )

    def advance(self, path: str, count: int) -> None:
        """So many bytes more were read."""
        self.report.bytes_read += count
        done = min(self.report.bytes_read, self.bytes_total)
        self._on_progress(Progress(path.removeprefix(self.root + "/"), done, self.bytes_total))

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """A file that cannot be read is a finding, and the end of looking at it."""
        self.report.files += 1
        try:
            yield
        except FileNotFoundError:
            if self.fs.exists(path):  # else it was removed by its writer meanwhile
                raise
        except OSError as error:
            self.add(path, f"cannot be read: {error.strerror or error}")

    def mark(self) -> Mark:
        """Where the notebook stands, for `rewind`."""
        report = self.report
        counts = report.partitions, report.files, report.batches, report.records
        return Mark(len(report.findings), counts, dict(self._per_file))

    def has_news(self, mark: Mark) -> bool:
        """Whether anything was found since."""
        return len(self.report.findings) > mark.findings

    def rewind(self, mark: Mark) -> None:
        """Forget what was found since: the files changed while they were read."""
        report = self.report
        del report.findings[mark.findings :]
        report.partitions, report.files, report.batches, report.records = mark.counts
        self._per_file = mark.per_file


class Mark(NamedTuple):
    findings: int
    counts: tuple[int, int, int, int]
    per_file: dict[str, int]
