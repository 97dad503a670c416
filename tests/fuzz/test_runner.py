"""The fuzzer itself: it finds what is put in on purpose, says how to see it again, and goes on."""

from __future__ import annotations

import os
import signal

import pytest

from tests.fuzz.__main__ import attack, report
from tests.fuzz.mutate import Mutator
from tests.fuzz.runner import Child, Result, shrink
from tests.fuzz.target import Target, promised, require

SEEDS = [b"header:\x03abc", b"header:\x05abcde"]


def parse(data: bytes) -> bytes:
    """A sound decoder: a length and as many bytes."""
    if not data.startswith(b"header:") or len(data) < 8:
        raise ValueError("no header")
    body = data[8:]
    if len(body) != data[7]:
        raise ValueError("a wrong length")
    return body


def repair(data: bytearray) -> None:
    if len(data) >= 8:
        data[7] = len(data) - 8 & 0xFF


def sound(data: bytes) -> object:
    return len(parse(data))


def escapes(data: bytes) -> object:
    return parse(data).index(b"\x80")  # a ValueError, but not of the decoder's


def wrong_error(data: bytes) -> object:
    return {b"": 0}.get(parse(data)[:1], data[12])


def wrong_value(data: bytes) -> object:
    body = parse(data)
    require(b"\xff" not in body, "a round trip")
    return None


def hangs(data: bytes) -> object:
    while b"\xff" in parse(data):
        pass
    return None


def allocates(data: bytes) -> object:
    return len(bytes(1 << 30)) if b"\xff" in parse(data) else None


def crashes(data: bytes) -> object:
    if b"\xff" in parse(data):
        os.kill(os.getpid(), signal.SIGKILL)
    return None


def accepted_and_then_refused(data: bytes) -> object:
    body = parse(data)
    with promised:
        parse(body if b"\xff" in body else data)
    return None


def run(check, **options) -> Result:
    target = Target("planted", lambda: SEEDS, check, (ValueError,), repair, bytes_max=64)
    return Child(target, seed=1, seconds=20, **options).result()


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        (wrong_error, "IndexError"),
        (wrong_value, "a round trip"),
        (hangs, "HangError"),
        (allocates, "MemoryError"),
        (crashes, "died"),
        (accepted_and_then_refused, "accepted, and then"),
    ],
)
def test_a_planted_bug_is_found(check, problem: str) -> None:
    result = run(check)
    assert result.finding is not None
    assert problem in result.finding.problem
    data = bytes.fromhex(result.finding.input_hex)
    assert parse(data) is not None


def test_a_sound_decoder_has_no_finding() -> None:
    result = run(sound, executions_max=20_000)
    assert result.finding is None
    assert result.executions == 20_000
    assert result.ways > 10  # lengths that the seeds do not have


def test_the_documented_error_may_escape() -> None:
    assert run(escapes, executions_max=2_000).finding is None


def test_one_seed_gives_one_sequence_of_inputs() -> None:
    def inputs(seed: int) -> list[bytes]:
        mutator = Mutator(seed, 64)
        return [bytes(mutator.mutate(mutator.pick(SEEDS), SEEDS)) for _ in range(500)]

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)
    first, second = run(wrong_value), run(wrong_value)
    assert first.finding == second.finding


def test_an_input_is_shrunk_to_what_matters() -> None:
    target = Target("planted", lambda: SEEDS, wrong_value, (ValueError,))
    assert shrink(target, b"header:\x06ab\xffcde"[:14]) == b"header:\x06ab\xffcde"[:14]
    free = Target("free", lambda: SEEDS, lambda data: require(b"\xff" not in data, "none"))
    assert shrink(free, b"abc" * 100 + b"\xff" + b"d" * 50) == b"\xff"


def test_findings_fail_the_run_and_say_how_to_repeat_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = Target("bad", lambda: SEEDS, wrong_value, (ValueError,), repair, bytes_max=64)
    good = Target("good", lambda: SEEDS, sound, (ValueError,), repair, bytes_max=64)
    results = attack([bad, good], seconds=20, seed=5, jobs=2, executions=5_000)
    assert report(results, seed=5, seconds=1) == 1
    printed = capsys.readouterr().out
    assert "python -m tests.fuzz bad --input '" in printed
    assert "seed 5: 1 findings" in printed
    assert report(results[1:], seed=5, seconds=1) == 0
