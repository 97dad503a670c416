"""The other engine, where it is installed; and what its output says, everywhere."""

from __future__ import annotations

import pytest

from tests.fuzz.coverage_guided import GuidedChild, is_there, result_of
from tests.fuzz.targets import meta

OUTPUT = """
#2      INITED cov: 11 ft: 19 corp: 1/1b exec/s: 0 rss: 80Mb
#6179   REDUCE cov: 19 ft: 27 corp: 7/527b lim: 512 exec/s: 366 rss: 80Mb

 === Uncaught Python exception: ===
KeyError: 'planted'
Traceback (most recent call last):
stat::number_of_executed_units: 6179
"""


def test_the_output_gives_executions_and_the_finding() -> None:
    result = result_of("meta", OUTPUT, 2.0, b"\x01\xff")
    assert (result.executions, result.ways) == (6179, 27)
    assert result.finding is not None
    assert result.finding.problem == "KeyError: 'planted'"
    assert result.finding.input_hex == "01ff"
    assert result_of("meta", OUTPUT, 2.0, None).finding is None


def test_an_end_without_a_python_error_shows_what_was_said_last() -> None:
    result = result_of("meta", "==7== ERROR: libFuzzer: out-of-memory", 2.0, b"")
    assert result.finding is not None
    assert "out-of-memory" in result.finding.problem


@pytest.mark.skipif(not is_there(), reason="atheris is not installed")
def test_a_target_runs_under_atheris() -> None:
    result = GuidedChild(meta.TARGET, seed=1, seconds=20, executions_max=2_000).result()
    assert result.executions >= 2_000
    assert result.finding is None
