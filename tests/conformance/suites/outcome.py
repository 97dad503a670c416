"""What a suite said of each of its tests on one server, kept as JSON between runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path


class Result(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"  # by the suite itself


@dataclass(frozen=True, slots=True)
class Outcome:
    test: str
    result: Result
    said: str = ""  # why it failed or was skipped, one line
    seconds: float = 0.0
    tries: int = 1  # 2: what failed was run once more, in either column alike


Column = Mapping[str, Outcome]


def write(path: Path, outcomes: Iterable[Outcome]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))


def read(folder: Path) -> dict[str, Outcome]:
    """All that the files of a folder hold, by the test's name."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        for item in json.loads(path.read_text()):
            item["result"] = Result(item["result"])
            found[item["test"]] = Outcome(**item)
    return found
