"""librdkafka's own test programs, one process for each test number, against a given broker.

`tests/test.c` lists them: `_TEST(0012_produce_consume, FLAGS, ..., .scenario = "noautocreate")`.
Those flagged local ask no broker, or one that they make up themselves. A number may hold several
tests, which its one process runs and reports each by itself. Quick mode (-Q) is what the authors
run in their own continuous integration.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.suites.outcome import Outcome, Result

NUMBER_SECONDS_MAX = 240
TIMEOUT_MULTIPLIER = 2  # a script of Kafka's takes four seconds on two cores
_LISTED = re.compile(r"^    _TEST\((\w+),(.*?)(?=^    _TEST\(|^    \{NULL\}|^#)", re.M | re.S)
_STATES = {"PASSED": Result.PASSED, "SKIPPED": Result.SKIPPED}


@dataclass(frozen=True, slots=True)
class ListedTest:
    name: str
    is_local: bool  # asks no broker
    scenario: str  # how the broker must be set up: default, noautocreate


@dataclass(frozen=True, slots=True)
class LibrdkafkaSuite:
    """`root`: the built source tree. `kafka`: whose scripts some tests call."""

    root: Path
    broker_version: str
    kafka: Path

    def listed(self) -> list[ListedTest]:
        return parse_list((self.root / "tests" / "test.c").read_text())

    def collect(self) -> list[str]:
        return [test.name for test in self.listed()]

    def run(
        self, tests: Sequence[str], bootstrap: str, log: Path, scenario: str = "default"
    ) -> list[Outcome]:
        """All of `tests`, which have one number; what failed is run once more."""
        first = self._run_once(tests, bootstrap, log, scenario)
        if all(outcome.result is not Result.FAILED for outcome in first.values()):
            return list(first.values())
        second = self._run_once(tests, bootstrap, log, scenario)
        return [
            Outcome(name, second[name].result, second[name].said, second[name].seconds, 2)
            if outcome.result is Result.FAILED
            else outcome
            for name, outcome in first.items()
        ]

    def _run_once(
        self, tests: Sequence[str], bootstrap: str, log: Path, scenario: str
    ) -> dict[str, Outcome]:
        report = log.with_suffix(".report.json")
        report.unlink(missing_ok=True)
        config = log.with_suffix(".conf")
        config.write_text(
            f"bootstrap.servers={bootstrap}\ntest.topic.random=true\n"
            f"test.timeout.multiplier={TIMEOUT_MULTIPLIER}\n"
        )
        before = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["./test-runner", "-p1", "-L", "-Q", "-s", scenario],
                cwd=self.root / "tests",
                env={
                    **os.environ,
                    "LD_LIBRARY_PATH": "../src:../src-cpp",
                    "RDKAFKA_TEST_CONF": str(config),
                    "KAFKA_PATH": str(self.kafka),
                    "BROKERS": bootstrap,
                    "TESTS": tests[0][:4],
                    "TEST_KAFKA_VERSION": self.broker_version,
                    "TEST_REPORT": str(report),
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(NUMBER_SECONDS_MAX)
                ended = f"status {process.returncode}"
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                ended = f"not within {NUMBER_SECONDS_MAX} s"
        states = read_report(report)
        said = _complaint(log, before)
        return {name: _outcome(name, states.get(name), ended, said) for name in tests}


def parse_list(source: str) -> list[ListedTest]:
    """What test.c declares, in its order."""
    table = source[source.index("struct test tests[] = {") :]
    return [
        ListedTest(
            name,
            "TEST_F_LOCAL" in rest or "TEST_F_MANUAL" in rest,
            found[1] if (found := re.search(r'\.scenario = "(\w+)', rest)) else "default",
        )
        for name, rest in _LISTED.findall(table)
    ]


def read_report(path: Path) -> dict[str, tuple[str, float]]:
    """State and seconds of each test; nothing when the program did not get so far."""
    try:
        report = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {
        name: (entry["state"], float(entry["duration"])) for name, entry in report["tests"].items()
    }


def _outcome(name: str, state: tuple[str, float] | None, ended: str, said: str) -> Outcome:
    if state is None:
        return Outcome(name, Result.FAILED, f"no report: {ended}. {said}")
    result = _STATES.get(state[0], Result.FAILED)
    return Outcome(name, result, "" if result is Result.PASSED else said, state[1])


def _complaint(log: Path, offset: int) -> str:
    """The first line in which the test framework says why; without colours and its clock."""
    with log.open("rb") as file:
        file.seek(offset)
        text = re.sub(r"\x1b\[\d+m", "", file.read().decode(errors="replace"))
    lines = [line for line in text.splitlines() if re.search(r"TEST FAILURE|FAIL:|SKIPP", line)]
    following = re.search(r"### Test \"[^\n]*\n([^\n]+)", text)
    found = following[1] if following else (lines[0] if lines else "")
    return " ".join(found.split())[:300]
