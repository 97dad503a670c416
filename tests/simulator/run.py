"""Many histories, one after the other or in several processes, and what they came to."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.simulator import coverage
from tests.simulator.checker import Checker, Violation
from tests.simulator.simulation import CRASHES_MIN, OPERATIONS_MIN, PARTITIONS_MIN, simulate

CHUNK = 25  # seeds that a process takes at a time
FAILURES_KEPT = 20


@dataclass(slots=True)
class Failure:
    seed: int
    violations: list[Violation]
    history: str


@dataclass(slots=True)
class Figures:
    histories: int = 0
    operations: int = 0
    crashes: int = 0
    records: int = 0
    too_small: list[int] = field(default_factory=list)  # seeds of histories below the minimum
    counted: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        self.histories += other.histories
        self.operations += other.operations
        self.crashes += other.crashes
        self.records += other.records
        self.too_small += other.too_small
        self.counted += other.counted
        self.violations += other.violations
        self.failures += other.failures[: FAILURES_KEPT - len(self.failures)]


def check_seed(seed: int) -> tuple[Figures, list[Violation]]:
    """One history: run and checked."""
    world = simulate(seed)
    history = world.history
    violations = Checker().check(history)
    figures = Figures(1, history.operations, history.crashes, world.records)
    is_small = (
        history.operations < OPERATIONS_MIN
        or history.crashes < CRASHES_MIN
        or world.partitions_most < PARTITIONS_MIN
    )
    if is_small and not violations:
        figures.too_small.append(seed)
    figures.counted = world.coverage + world.fs.statistics
    if violations:
        about = [violation.place for violation in violations[:1] if violation.place is not None]
        figures.violations.update(violation.kind for violation in violations)
        figures.failures.append(Failure(seed, violations, history.text(about)))
    return figures, violations


def run_seeds(seeds: Sequence[int]) -> Figures:
    total = Figures()
    with coverage.counting(total.counted):
        for seed in seeds:
            total.add(check_seed(seed)[0])
    return total


def run_many(
    first_seed: int,
    histories: int,
    jobs: int,
    *,
    seconds_max: float | None = None,
    progress: Callable[[Figures, float], None] = lambda _figures, _seconds: None,
) -> Figures:
    """Of seeds from `first_seed` on, until there are enough or the time is over."""
    total = Figures()
    began = time.monotonic()
    chunks = [
        range(start, min(start + CHUNK, first_seed + histories))
        for start in range(first_seed, first_seed + histories, CHUNK)
    ]
    with _Pool(jobs) as results:
        for figures in results(chunks):
            total.add(figures)
            took = time.monotonic() - began
            progress(total, took)
            if seconds_max is not None and took > seconds_max:
                break
    return total


class _Pool:
    """Results as they come; with one job in this process."""

    def __init__(self, jobs: int) -> None:
        self._pool = multiprocessing.get_context("fork").Pool(jobs) if jobs > 1 else None

    def __enter__(self) -> Callable[[Sequence[range]], Iterator[Figures]]:
        if self._pool is None:
            return lambda chunks: map(run_seeds, chunks)
        pool = self._pool
        return lambda chunks: pool.imap_unordered(run_seeds, chunks)

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()


def report(total: Figures, took: float) -> str:
    """What a run came to, with how often everything was met."""
    summary = (
        f"{total.histories} histories in {took:.0f} s: {total.operations} operations, "
        f"{total.crashes} crashes, {total.records} records; "
        f"violations: {sum(total.violations.values())} {dict(total.violations) or ''}"
    )
    lines = [summary]
    lines += [f"{total.counted[name]:>10}  {name}" for name in coverage.expected()]
    return "\n".join(lines)
