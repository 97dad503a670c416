"""Tests of what is read from pytest's reports."""

from __future__ import annotations

from tests.conformance.suites.outcome import Result
from tests.conformance.suites.pytest_suite import read_report

REPORT = """\
<testsuites><testsuite>
<testcase classname="test.integration.test_a" name="test_ok[gzip]"
  file="test/integration/test_a.py" time="1.5"/>
<testcase classname="tests.test_b.TestB" name="test_bad" file="tests/test_b.py" time="2">
  <failure message="assert 1 == 2&#10;more"/></testcase>
<testcase classname="tests.test_b.TestB" name="test_bad" file="tests/test_b.py" time="0">
  <error message="teardown"/></testcase>
<testcase classname="tests.test_b" name="test_not" file="tests/test_b.py" time="0">
  <skipped message="Requires KAFKA_VERSION &lt; 0.10.1"/></testcase>
</testsuite></testsuites>
"""


def test_a_report_gives_each_test_by_the_name_that_pytest_takes(tmp_path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    found = read_report(path)
    assert list(found) == [
        "test/integration/test_a.py::test_ok[gzip]",
        "tests/test_b.py::TestB::test_bad",
        "tests/test_b.py::test_not",
    ]
    ok, bad, skipped = found.values()
    assert (ok.result, ok.seconds) == (Result.PASSED, 1.5)
    assert (bad.result, bad.said) == (Result.FAILED, "assert 1 == 2 more")
    assert (skipped.result, skipped.said) == (Result.SKIPPED, "Requires KAFKA_VERSION < 0.10.1")
