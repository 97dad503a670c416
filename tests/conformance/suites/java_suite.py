"""Kafka's Java client and Kafka Streams, by a program of ours (`java/JavaClients.java`).

It is compiled with Kafka's jars. Started without names of tests it prints them; with some it runs
them and prints "PASS name" or "FAIL name: why" for each.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.suites.outcome import Outcome, Result

SOURCE = Path(__file__).parent / "java" / "JavaClients.java"
TEST_SECONDS_MAX = 120
_LINE = re.compile(r"^(PASS|FAIL) (\w+)(?:: (.*))?$", re.M)


@dataclass(frozen=True, slots=True)
class JavaSuite:
    """`libs`: Kafka's jars; `classes`: where the program was compiled to."""

    libs: Path
    classes: Path

    def collect(self) -> list[str]:
        listed = subprocess.run(
            self._command("127.0.0.1:1"), capture_output=True, text=True, check=True
        )
        return listed.stdout.split()

    def run(self, tests: Sequence[str], bootstrap: str, log: Path) -> list[Outcome]:
        """What failed is run once more."""
        first = self._run_once(tests, bootstrap, log)
        failed = [name for name in tests if first[name].result is Result.FAILED]
        second = self._run_once(failed, bootstrap, log) if failed else {}
        return [
            Outcome(name, second[name].result, second[name].said, tries=2)
            if name in second
            else first[name]
            for name in tests
        ]

    def _run_once(self, tests: Sequence[str], bootstrap: str, log: Path) -> dict[str, Outcome]:
        before = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            try:
                subprocess.run(
                    self._command(bootstrap, *tests),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=TEST_SECONDS_MAX * len(tests),
                )
            except subprocess.TimeoutExpired:
                output.write(b"\nended by the harness\n")
        found = parse(log.read_bytes()[before:].decode(errors="replace"))
        return {
            name: found.get(name, Outcome(name, Result.FAILED, "no result: see the log"))
            for name in tests
        }

    def _command(self, bootstrap: str, *tests: str) -> list[str]:
        path = f"{self.classes}:{self.libs}:{self.libs}/*"
        return ["java", "-Xmx512m", "-cp", path, "JavaClients", bootstrap, *tests]


def parse(output: str) -> dict[str, Outcome]:
    """The outcomes in what it printed, among what the clients log."""
    return {
        name: Outcome(name, Result.PASSED if word == "PASS" else Result.FAILED, said[:300])
        for word, name, said in _LINE.findall(output)
    }
