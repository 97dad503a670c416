"""Tests of the lists of what is not run."""

from __future__ import annotations

import pytest

from tests.conformance.suites.exclusions import FOLDER, Exclusion, Exclusions, load


def test_a_pattern_names_tests_and_brackets_are_text() -> None:
    assert Exclusion("test_admin[PLAIN]", "why").names("test_admin[PLAIN]")
    assert not Exclusion("test_admin[PLAIN]", "why").names("test_adminP")
    assert Exclusion("tests/test_sasl.py::*", "why").names("tests/test_sasl.py::test_a")


def test_the_excluded_are_told_apart_with_their_reasons() -> None:
    listed = Exclusions((Exclusion("b*", "why"),))
    assert listed.split(["a", "b1", "b2"]) == (["a"], {"b1": "why", "b2": "why"})


def test_a_pattern_that_names_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no test is named by c"):
        Exclusions((Exclusion("c", "why"),)).split(["a"])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_each_list_gives_reasons(path) -> None:
    for one in load(path.stem).listed:
        assert len(one.reason) > 10, one
