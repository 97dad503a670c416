"""A suite that is run by pytest in an environment of its own, one process for each of its files.

The tests are collected first, the excluded ones named, the rest run file by file; what failed is
run once more by itself, in either column alike, since two cores and timeouts in seconds do not
always agree. The plugins in `plugins/` take the place of the fixtures that start a broker.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tests.conformance.suites.outcome import Outcome, Result

PLUGINS = Path(__file__).parent / "plugins"
TEST_SECONDS_MAX = 120
COLLECT_SECONDS_MAX = 120


@dataclass(frozen=True, slots=True)
class PytestSuite:
    """`paths` are relative to `root`; `options` and `environment` go to each run."""

    root: Path
    python: Path
    plugin: str
    paths: Sequence[str]
    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def collect(self) -> list[str]:
        """The names of all tests, as pytest gives them."""
        ended = subprocess.run(
            self._command("--collect-only", "-q", "-o", "addopts=", *self.paths),
            cwd=self.root,
            env=self._environment("127.0.0.1:1"),
            capture_output=True,
            text=True,
            timeout=COLLECT_SECONDS_MAX,
        )
        names = [line.strip() for line in ended.stdout.splitlines() if "::" in line]
        names = [name for name in names if not name.startswith(("ERROR", "FAILED"))]
        if ended.returncode or not names:
            raise ValueError(
                f"nothing was collected: {ended.stdout[-2000:]} {ended.stderr[-2000:]}"
            )
        return names

    def run(self, tests: Sequence[str], bootstrap: str, log: Path) -> list[Outcome]:
        """All of `tests`, which are of one file; its output is added to `log`."""
        first = self._run_once(tests, bootstrap, log)
        failed = [name for name in tests if first[name].result is Result.FAILED]
        if not failed:
            return list(first.values())
        second = self._run_once(failed, bootstrap, log)
        merged = []
        for name, outcome in first.items():
            last = second.get(name, outcome)
            merged.append(Outcome(name, last.result, last.said, last.seconds, 1 + (name in second)))
        return merged

    def _run_once(self, tests: Sequence[str], bootstrap: str, log: Path) -> dict[str, Outcome]:
        report = log.with_suffix(".xml")
        report.unlink(missing_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                self._command(
                    f"--junitxml={report}",
                    f"--timeout={TEST_SECONDS_MAX}",
                    "--timeout-method=signal",
                    "-o",
                    "addopts=",
                    "-o",
                    "junit_family=xunit1",
                    *tests,
                ),
                cwd=self.root,
                env=self._environment(bootstrap),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(TEST_SECONDS_MAX * (len(tests) + 1))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        found = read_report(report) if report.exists() else {}
        lost = f"no result: pytest ended with status {process.returncode}"
        return {name: found.get(name, Outcome(name, Result.FAILED, lost)) for name in tests}

    def _command(self, *arguments: str) -> list[str]:
        plugin = ["-p", self.plugin, "-p", "no:cacheprovider"]
        return [str(self.python), "-m", "pytest", *plugin, *self.options, *arguments]

    def _environment(self, bootstrap: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": f"{PLUGINS}:{self.root}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "CONFORMANCE_BOOTSTRAP": bootstrap,
            "CONFORMANCE_ROOT": str(self.root),
            **self.environment,
        }


def read_report(path: Path) -> dict[str, Outcome]:
    """The outcomes in a JUnit file of pytest's (xunit1: with the file of each test)."""
    found: dict[str, Outcome] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        name = _name(case)
        result, said = Result.PASSED, ""
        for child in case:
            if child.tag in ("failure", "error"):
                result, said = Result.FAILED, _one_line(child)
            elif child.tag == "skipped" and result is Result.PASSED:
                result, said = Result.SKIPPED, _one_line(child)
        if name in found and found[name].result is Result.FAILED:
            continue  # failed in its call, and then something was said of its teardown
        found[name] = Outcome(name, result, said, float(case.get("time", "0")))
    return found


def _name(case: ElementTree.Element) -> str:
    """`file::Class::test`: the class is what the dotted name has behind the file's."""
    file = case.get("file", "")
    module = file.removesuffix(".py").replace("/", ".")
    classes = case.get("classname", "").removeprefix(module).strip(".")
    return "::".join([file, *filter(None, classes.split(".")), case.get("name", "")])


def _one_line(element: ElementTree.Element) -> str:
    return " ".join(element.get("message", "").split())[:300]
