"""What the check of copies finds, each planted once."""

from __future__ import annotations

import pytest

from tests.torture.checker import Stored
from tests.torture.ledger import make_value
from tests.torture.transforms import ABORTED_WRITER, check_copies


def stored(*values: bytes) -> Stored:
    """One partition; every third offset is a marker of a transaction."""
    found = Stored(1)
    for number, value in enumerate(values):
        found.add(0, number + number // 2, value)
    return found


def value(number: int, writer: int = 1) -> bytes:
    return make_value(writer, number, 10)


SOURCE = [value(number) for number in range(6)]


@pytest.mark.parametrize(
    ("copies", "committed", "kinds"),
    [
        (SOURCE[:4], 5, set()),
        (SOURCE[:5], 4, set()),  # committed more since it was asked
        (SOURCE[:3], 7, {"lost"}),
        ([*SOURCE[:3], *SOURCE[2:]], 8, {"duplicated"}),
        ([SOURCE[0], SOURCE[2], SOURCE[1], SOURCE[3]], 5, {"reordered"}),
        ([*SOURCE[:4], SOURCE[5]], 5, {"reordered"}),  # one was left out
        ([*SOURCE[:4], value(9)], 5, {"phantom"}),
        ([*SOURCE, value(9)], 8, {"phantom"}),
        ([*SOURCE[:4], value(1, ABORTED_WRITER)], 5, {"aborted record read", "phantom"}),
        ([*SOURCE[:4], SOURCE[4][:-1] + b"?"], 5, {"wrong bytes"}),
    ],
)
def test_copies(copies: list[bytes], committed: int, kinds: set[str]) -> None:
    found = check_copies(stored(*copies), stored(*SOURCE), [committed])
    assert {violation.kind for violation in found} == kinds
