"""What is not run, and why: `excluded/<suite>.toml`, decided before logstore was ever run.

    [[excluded]]
    tests = ["test/integration/test_ssl_integration.py::*"]   # fnmatch, on the tests' names
    reason = "..."

A pattern that names nothing is an error: the list may not outlive the tests it was made for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

FOLDER = Path(__file__).parent / "excluded"


@dataclass(frozen=True, slots=True)
class Exclusion:
    pattern: str
    reason: str

    def names(self, test: str) -> bool:
        """Brackets are text here: they are everywhere in the names of parametrized tests."""
        return fnmatchcase(test, self.pattern.replace("[", "[[]"))


@dataclass(frozen=True, slots=True)
class Exclusions:
    listed: tuple[Exclusion, ...]

    def reason(self, test: str) -> str | None:
        return next((one.reason for one in self.listed if one.names(test)), None)

    def split(self, tests: Iterable[str]) -> tuple[list[str], dict[str, str]]:
        """What is run, and what is not with the reasons; ValueError if a pattern names nothing."""
        names = list(tests)
        idle = [one.pattern for one in self.listed if not any(map(one.names, names))]
        if idle:
            raise ValueError(f"no test is named by {', '.join(idle)}")
        reasons = {name: self.reason(name) for name in names}
        excluded = {name: reason for name, reason in reasons.items() if reason is not None}
        return [name for name in names if name not in excluded], excluded


def load(suite: str, folder: Path = FOLDER) -> Exclusions:
    with (folder / f"{suite}.toml").open("rb") as file:
        entries = tomllib.load(file).get("excluded", [])
    return Exclusions(
        tuple(
            Exclusion(pattern, entry["reason"]) for entry in entries for pattern in entry["tests"]
        )
    )
