"""How often each fault, each state and each branch of recovery was met; none may stay at zero.

Branches of recovery are counted from outside: `counting` wraps the methods that recovery is made
of while it is open, and the notes of what was mended are sorted by what they say.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from logstore.log import recovery
from logstore.testing import STATISTICS
from tests.simulator.trouble import FAULTS

STATES = (
    "ended by close",
    "ended by kill",
    "ended by power_loss",
    "stopped while opening",
    "opening failed",
    "partition not opened",
    "cache lost",
    "clock jump",
    "topic made",
    "topic gone",
    "partition refuses writes",
    "answer lost",
    "duplicate answered",
    "sequence gap",
    "transaction committed",
    "transaction aborted",
    "transaction in doubt",
    "transaction outlived its timeout",
    "producer superseded",
    "partition compacted",
    "group empty",
    "group reconciling",
    "group stable",
    "suffix lost with page_cache",
)
# Of recovery.py: the method, what its result says, and the name to count.
BRANCHES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("_open_clean", bool, "a clean close is believed"),
    ("_recover", lambda _: True, "a log is walked"),
    ("_is_sealed", bool, "a sealed segment is believed"),
    ("_start", lambda found: found[0] == 0, "walked from the start"),
    ("_start", lambda found: found[0] > 0, "walked from an index entry"),
    ("_walk", lambda damage: damage is None, "sound to the end"),
    ("_walk", lambda damage: damage is not None, "unsound at some place"),
    ("_mend", lambda _: True, "cut"),
    ("_quarantine", lambda _: True, "moved to quarantine"),
    ("_settle", lambda _: True, "settled"),
)
NOTES = (
    ("of an unfinished write", "torn tail cut"),
    ("are damaged; they were moved", "sound batches behind a torn one set aside"),
    ("belongs to no topic and was set aside", "directory of no topic set aside"),
)


def expected() -> list[str]:
    faults = [f"{operation} {errno.errorcode[error]}" for operation, error, _ in FAULTS]
    branches = [f"recovery: {name}" for _, _, name in BRANCHES]
    notes = [f"recovery: {name}" for _, name in NOTES]
    return [*STATISTICS, *dict.fromkeys(faults), *STATES, *branches, *notes]


def missing(counted: Counter[str]) -> list[str]:
    return [name for name in expected() if not counted[name]]


def count_notes(notes: Sequence[str], counted: Counter[str]) -> None:
    for note in notes:
        for text, name in NOTES:
            if text in note:
                counted[f"recovery: {name}"] += 1


@contextmanager
def counting(counted: Counter[str]) -> Iterator[None]:
    """Count the branches of recovery until the end of the block."""
    with ExitStack() as stack:
        for method in dict.fromkeys(method for method, _, _ in BRANCHES):
            wrapped = _counted(method, counted)
            stack.enter_context(patch.object(recovery._Recovery, method, wrapped))
        yield


def _counted(method: str, counted: Counter[str]) -> Callable[..., Any]:
    original = getattr(recovery._Recovery, method)
    tests = [(test, f"recovery: {name}") for each, test, name in BRANCHES if each == method]

    def wrapped(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        for test, name in tests:
            if test(result):
                counted[name] += 1
        return result

    return wrapped
