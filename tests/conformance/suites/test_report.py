"""Tests of the ratio, the table and what fails a run."""

from __future__ import annotations

from tests.conformance.suites.outcome import Outcome, Result, read, write
from tests.conformance.suites.report import SuiteReport, details, table, verdict


def column(**results: str) -> dict[str, Outcome]:
    return {name: Outcome(name, Result(result)) for name, result in results.items()}


REPORT = SuiteReport(
    "suite",
    ["a", "b", "c", "d", "e"],
    {"e": "needs three brokers"},
    column(a="passed", b="passed", c="failed", d="skipped"),
    column(a="passed", b="failed", c="passed", d="skipped"),
)


def test_the_ratio_is_of_what_kafka_passes() -> None:
    assert REPORT.kafka_passed == ["a", "b"]
    assert REPORT.both_passed == ["a"]
    assert REPORT.missed == ["b"]
    assert REPORT.ratio == 0.5


def test_what_was_not_run_is_missed() -> None:
    report = SuiteReport(
        "suite", ["a", "b"], {}, column(a="passed", b="passed"), column(a="passed")
    )
    assert report.missed == ["b"]
    assert "MISSED: b: was not run" in details(report)


def test_a_ratio_below_the_bound_fails_and_so_does_any_crash() -> None:
    assert verdict([REPORT], []) == ["suite: 50.0% of what Kafka passes, 95% are asked"]
    names = {f"t{number}": "passed" for number in range(20)}
    kafka = column(**names)
    enough = SuiteReport("suite", list(names), {}, kafka, column(**{**names, "t0": "failed"}))
    assert verdict([enough], []) == []
    assert verdict([enough], ["it crashed"]) == ["it crashed"]
    empty = SuiteReport("suite", ["a"], {}, {}, {})
    assert verdict([empty], []), "a suite of which Kafka passes nothing shows nothing"


def test_the_table_counts_each_column() -> None:
    row = table([REPORT]).splitlines()[1].split()
    assert row == ["suite", "5", "1", "1", "2", "2", "1", "50.0%"]
    assert "excluded 1: needs three brokers" in details(REPORT)


def test_outcomes_are_kept_between_runs(tmp_path) -> None:
    outcomes = [Outcome("a", Result.FAILED, "why", 1.5, 2), Outcome("b", Result.PASSED)]
    write(tmp_path / "column" / "part.json", outcomes)
    assert read(tmp_path / "column") == {"a": outcomes[0], "b": outcomes[1]}
