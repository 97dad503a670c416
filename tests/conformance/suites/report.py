"""The table of a run, and what it means: the ratio, the tests behind it, the exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.conformance.suites.outcome import Column, Result

RATIO_MIN = 0.95


@dataclass(frozen=True, slots=True)
class SuiteReport:
    """`tests`: all that the suite has; `kafka`, `logstore`: what was said of those run."""

    name: str
    tests: Sequence[str]
    excluded: Mapping[str, str]  # test -> reason
    kafka: Column
    logstore: Column

    @property
    def kafka_passed(self) -> list[str]:
        return [name for name in self._run if _is(self.kafka, name, Result.PASSED)]

    @property
    def both_passed(self) -> list[str]:
        return [name for name in self.kafka_passed if _is(self.logstore, name, Result.PASSED)]

    @property
    def missed(self) -> list[str]:
        """What Kafka passes and logstore does not."""
        passed = set(self.both_passed)
        return [name for name in self.kafka_passed if name not in passed]

    @property
    def ratio(self) -> float:
        return len(self.both_passed) / len(self.kafka_passed) if self.kafka_passed else 0.0

    @property
    def _run(self) -> list[str]:
        return [name for name in self.tests if name not in self.excluded]


def _is(column: Column, name: str, result: Result) -> bool:
    return name in column and column[name].result is result


def table(reports: Sequence[SuiteReport]) -> str:
    head = ("suite", "tests", "excluded", "skipped", "Kafka", "logstore", "of Kafka's", "ratio")
    rows = [head, *map(_row, reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(lines)


def _row(report: SuiteReport) -> tuple[str, ...]:
    skipped = [name for name in report.kafka if _is(report.kafka, name, Result.SKIPPED)]
    logstore = [name for name in report.tests if _is(report.logstore, name, Result.PASSED)]
    return (
        report.name,
        str(len(report.tests)),
        str(len(report.excluded)),
        str(len(skipped)),
        str(len(report.kafka_passed)),
        str(len(logstore)),
        str(len(report.both_passed)),
        f"{report.ratio:.1%}",
    )


def details(report: SuiteReport) -> str:
    """The exclusions by reason, Kafka's own failures, what was missed, second tries."""
    lines = [f"--- {report.name}"]
    for reason in dict.fromkeys(report.excluded.values()):
        names = [name for name, why in report.excluded.items() if why == reason]
        lines.append(f"excluded {len(names)}: {reason}")
    for name, outcome in report.kafka.items():
        if outcome.result is Result.FAILED:
            lines.append(f"Kafka fails: {name}: {outcome.said}")
    for name in report.missed if report.logstore else ():
        said = report.logstore[name].said if name in report.logstore else "was not run"
        lines.append(f"MISSED: {name}: {said}")
    for column, outcomes in (("Kafka", report.kafka), ("logstore", report.logstore)):
        again = [name for name, one in outcomes.items() if one.tries > 1 and not one.said]
        if again:
            lines.append(f"passed at the second try on {column}: {', '.join(again)}")
    return "\n".join(lines)


def verdict(reports: Sequence[SuiteReport], troubles: Sequence[str]) -> list[str]:
    """All that makes the run fail; empty when it passed."""
    below = [
        f"{report.name}: {report.ratio:.1%} of what Kafka passes, {RATIO_MIN:.0%} are asked"
        for report in reports
        if report.ratio < RATIO_MIN
    ]
    return [*troubles, *below]
