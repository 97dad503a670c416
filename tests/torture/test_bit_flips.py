"""The sweep of `bit_flips.py`: a sample of it in every run, all of it with `-m slow -s`."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest

from logstore.record import encode_batch
from tests.torture.bit_flips import Damage, Table, merge, outcome_of, sample, sweep, truth

PROCESSES = 2
SHARES = 64  # of the whole sweep, worked off by the processes
SHORT_STRIDE = {True: 211, False: 401}  # primes: every bit comes up
NAMES = {True: "closed", False: "killed"}


@pytest.mark.parametrize("clean", [True, False], ids=NAMES.get)
def test_a_sample_of_all_damages(clean: bool) -> None:
    table = sweep(clean=clean, first=7, stride=SHORT_STRIDE[clean])
    print(f"\n{table}")
    assert table.violations == []
    assert sum(table.outcomes.values()) > 400


def _share(clean: bool, first: int) -> Table:
    return sweep(clean=clean, first=first, stride=SHARES)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("clean", [True, False], ids=NAMES.get)
def test_every_bit_of_every_byte(clean: bool) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        shares = pool.map(_share, [clean] * SHARES, range(SHARES))
        table = merge(list(shares))
    print(f"\n{table}")
    assert table.violations == []


def test_the_judge_finds_what_is_served_wrongly() -> None:
    state, expected = sample(clean=True), truth(clean=True)
    nothing = Damage("store/lock", 0, -1)
    assert outcome_of(state, nothing, expected) == "harmless"
    other = replace(expected, records={**expected.records, ("orders", 3): (None, b"other", 0)})
    assert outcome_of(state, nothing, other).startswith("violation: ('orders', 3) is served as")
    more = replace(expected, records={**expected.records, ("orders", 99): (None, b"lost", 0)})
    assert outcome_of(state, nothing, more) == "violation: something is missing and nobody told"
    assert outcome_of(state, Damage("store/meta", 0, -1), expected) == "reported"


def test_a_cut_may_take_what_no_flush_had_reached_and_nothing_else() -> None:
    state, expected = sample(clean=False), truth(clean=False)
    path = "store/orders-0/00000000000000000040.log"
    start = len(state[path].rstrip(b"\0")) - len(encode_batch([b"unflushed"]))
    cut = Damage(path, start + 4, -1)
    assert outcome_of(state, cut, expected) == "unflushed"
    flipped = replace(cut, bit=0)
    assert outcome_of(state, flipped, expected) == "reported"
    other = replace(expected, ends={**expected.ends, "audit": (2, 19)})
    assert outcome_of(state, cut, other) == "violation: something is missing and nobody told"
    assert outcome_of(sample(clean=True), replace(cut, position=0), truth(clean=True)) == "reported"
