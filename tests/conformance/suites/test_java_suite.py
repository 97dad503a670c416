"""Tests of what is read from the Java program's output."""

from __future__ import annotations

from tests.conformance.suites.java_suite import parse
from tests.conformance.suites.outcome import Outcome, Result


def test_outcomes_are_told_from_what_the_clients_log() -> None:
    output = (
        "[main] INFO ProducerConfig values:\nPASS a\nFAIL b: java.lang.Error: why\n\tat FAIL c\n"
    )
    assert parse(output) == {
        "a": Outcome("a", Result.PASSED),
        "b": Outcome("b", Result.FAILED, "java.lang.Error: why"),
    }
