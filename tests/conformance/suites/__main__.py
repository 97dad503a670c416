"""`python -m tests.conformance.suites`: the suites of Kafka's clients, on Kafka and on logstore.

Both columns are run on this machine, suite by suite, each suite and scenario on a server of its
own. Exit code 1 when logstore passes less than 95 % of what Kafka passes in any suite, and on any
crash. `--column` and `--resume` are for work in pieces: results are kept in the build folder.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests.conformance.suites import exclusions, outcome, report, sources
from tests.conformance.suites.kafka_node import KafkaNode
from tests.conformance.suites.logstore_node import LogstoreNode
from tests.conformance.suites.registry import SCENARIOS, SUITES, Part, Suite

COLUMNS = ("kafka", "logstore")


@dataclass(frozen=True, slots=True)
class Run:
    """`build`: everything made or kept; `until`: on `time.monotonic()`, no part begins after."""

    build: Path
    resume: bool
    until: float
    only: str  # a part's name contains it

    def results(self, suite: str, column: str) -> Path:
        return self.build / "results" / suite / column

    def start(self, column: str, suite: str, scenario: str) -> KafkaNode | LogstoreNode:
        directory = self.build / "servers" / f"{suite}-{column}-{scenario}"
        shutil.rmtree(directory, ignore_errors=True)
        node: KafkaNode | LogstoreNode
        if column == "kafka":
            node = KafkaNode(sources.kafka(self.build) / "libs", directory, SCENARIOS[scenario])
        else:
            node = LogstoreNode(directory, SCENARIOS[scenario])
        node.start()
        return node

    def column(self, name: str, suite: Suite, tests: Sequence[str], column: str) -> list[str]:
        """Run what is to be run; returns the crashes."""
        results = self.results(name, column)
        if not self.resume and not self.only:
            shutil.rmtree(results, ignore_errors=True)
        (results / "logs").mkdir(parents=True, exist_ok=True)
        parts = [part for part in suite.parts(tests) if self._is_wanted(part, results)]
        troubles = []
        for scenario, group in groupby(parts, key=lambda part: part.scenario):
            troubles += self._scenario(name, column, scenario, list(group), results)
        return troubles

    def _is_wanted(self, part: Part, results: Path) -> bool:
        if self.only:
            return self.only in part.name
        return not (self.resume and (results / f"{part.name}.json").exists())

    def _scenario(
        self, suite: str, column: str, scenario: str, parts: list[Part], results: Path
    ) -> list[str]:
        if time.monotonic() > self.until:
            return []
        node = self.start(column, suite, scenario)
        troubles = []
        try:
            for part in parts:
                if time.monotonic() > self.until:
                    break
                found = part.run(part.tests, node.bootstrap, results / "logs" / f"{part.name}.log")
                outcome.write(results / f"{part.name}.json", found)
                failed = [one for one in found if one.result is outcome.Result.FAILED]
                print(f"{suite} {column} {part.name}: {len(found)} run", end=", ")
                print(f"{len(failed)} failed", flush=True)
                crash = node.crashed()
                if crash is not None:
                    troubles.append(f"{suite}, {part.name}: {crash}")
                    node = self.start(column, suite, scenario)
        finally:
            wrong = node.stop()
            if wrong:
                troubles.append(f"{suite}: {wrong}")
        return troubles


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    run = Run(options.build, options.resume, time.monotonic() + options.seconds, options.part)
    reports = []
    troubles: list[str] = []
    for name in options.suites or SUITES:
        try:
            suite = SUITES[name](run.build)
        except sources.Unavailable as error:
            print(f"{name}: not run: {error}", flush=True)
            continue
        tests, excluded = exclusions.load(name).split(suite.tests)
        for column in options.column or COLUMNS:
            troubles += run.column(name, suite, tests, column)
        kafka = outcome.read(run.results(name, "kafka"))
        logstore = outcome.read(run.results(name, "logstore"))
        reports.append(report.SuiteReport(name, suite.tests, excluded, kafka, logstore))
    for one in reports:
        print(report.details(one))
    print(report.table(reports))
    wrong = report.verdict(reports, troubles)
    for line in wrong:
        print(f"conformance: {line}")
    print(f"conformance: {'failed' if wrong else 'passed'}", flush=True)
    return 1 if wrong else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.suites")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--build", type=Path, default=Path("build/conformance"))
    parser.add_argument("--column", action="append", choices=COLUMNS, help="only this one")
    parser.add_argument("--part", default="", help="only parts with this in their name")
    parser.add_argument("--resume", action="store_true", help="keep the results there are")
    parser.add_argument("--seconds", type=float, default=86_400.0, help="begin no part later")
    options = parser.parse_args(arguments)
    options.build = options.build.resolve()
    unknown = [name for name in options.suites if name not in SUITES]
    if unknown:
        parser.error(f"no suite is called {', '.join(unknown)}")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
