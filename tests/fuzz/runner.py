"""The loop that attacks one target, and the process of its own that it runs in.

A child process runs the loop, so that a crash of compiled code, a call that never returns and
memory without bound are findings as an escaped exception is: the input that is being tried lies in
memory that the parent shares, and the parent reads it when the child has died.

Deterministic: the inputs depend on the seed and the number of executions, not on time.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from tests.fuzz.mutate import Mutator
from tests.fuzz.target import Target, place_of

SECONDS_PER_CALL = 2.0  # the slowest honest call takes some milliseconds
SECONDS_IN_C = 60.0  # of a slab, in compiled code that Python's signals do not reach
CORPUS_MAX = 400
SLAB = 200  # executions between two looks at the clock
TRIALS_TO_SHRINK = 3000
LENGTH = struct.Struct("<q")
NOTHING_TRIED = -1


class HangError(BaseException):
    """Raised into a call that takes too long; no handler of errors may swallow it."""


@dataclass(frozen=True)
class Finding:
    target: str
    input_hex: str
    problem: str
    execution: int


@dataclass(frozen=True)
class Result:
    target: str
    executions: int
    seconds: float
    ways: int  # that inputs took, as far as the target tells them apart
    finding: Finding | None = None

    @property
    def rate(self) -> float:
        return self.executions / self.seconds if self.seconds else 0.0


def problem_of(target: Target, data: bytes) -> tuple[str, tuple[str, int]] | None:
    """What is wrong with the target's answer to `data`, and where; None if nothing is."""
    try:
        target.check(data)
    except target.documented:
        return None
    except (HangError, Exception) as error:
        return f"{type(error).__name__}: {error}", place_of(error)
    return None


def shrink(target: Target, data: bytes) -> bytes:
    """A smaller input with the same problem at the same place."""
    found = problem_of(target, data)
    if found is None:
        return data  # it takes the calls before it
    trials = 0
    size = max(1, len(data) // 2)
    while size and trials < TRIALS_TO_SHRINK:
        position = 0
        while position < len(data) and trials < TRIALS_TO_SHRINK:
            shorter = data[:position] + data[position + size :]
            trials += 1
            problem = problem_of(target, shorter)
            if problem is not None and problem[1] == found[1]:
                data = shorter
            else:
                position += size
        size //= 2
    return data


class Loop:
    """Attacks one target; `shared` shows the input that is being tried."""

    def __init__(self, target: Target, seed: int, shared: mmap.mmap) -> None:
        self.target = target
        self.executions = 0
        self.seen: set[Hashable] = set()
        self.corpus: list[bytes] = []
        self._shared = shared
        self._mutator = Mutator(f"{seed}/{target.name}", target.bytes_max)
        self._last_tick = -1

    def run(self, *, seconds: float, executions_max: int | None = None) -> Finding | None:
        """The first finding; None after that time or that many executions."""
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.setitimer(signal.ITIMER_REAL, SECONDS_PER_CALL, SECONDS_PER_CALL)
        deadline = time.monotonic() + seconds
        try:
            return self._first_inputs() or self._mutations(deadline, executions_max)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()

    def _on_alarm(self, _number: int, _frame: object) -> None:
        if self._last_tick == self.executions:
            raise HangError(f"no answer within {SECONDS_PER_CALL} s")
        self._last_tick = self.executions

    def _first_inputs(self) -> Finding | None:
        """The seeds, which must be worth something, and every beginning of each."""
        for seed in self.target.seeds():
            self.corpus.append(bytes(seed))
            for end in range(len(seed), -1, -1):
                if end % SLAB == 0 or end == len(seed):
                    faulthandler.dump_traceback_later(SECONDS_IN_C, exit=True, file=2)
                finding = self._try(seed[:end])
                if finding is not None:
                    return finding
        return None

    def _mutations(self, deadline: float, executions_max: int | None) -> Finding | None:
        mutator, corpus, repair = self._mutator, self.corpus, self.target.repair
        while time.monotonic() < deadline:
            faulthandler.dump_traceback_later(SECONDS_IN_C, exit=True, file=2)
            for number in range(SLAB):
                data = mutator.mutate(mutator.pick(corpus), corpus)
                if repair is not None and number % 4:
                    repair(data)
                finding = self._try(bytes(data))
                if finding is not None:
                    return finding
                if self.executions == executions_max:
                    return None
        return None

    def _try(self, data: bytes) -> Finding | None:
        shared, size = self._shared, len(data)
        shared[8 : 8 + size] = data
        shared[:8] = LENGTH.pack(size)
        self.executions += 1
        try:
            way = self.target.check(data)
        except self.target.documented as error:
            way = (type(error), place_of(error))
        except (HangError, Exception) as error:
            return self._found(data, f"{type(error).__name__}: {error}", place_of(error))
        if way not in self.seen:
            self.seen.add(way)
            if len(self.corpus) < CORPUS_MAX:
                self.corpus.append(data)
        return None

    def _found(self, data: bytes, problem: str, place: tuple[str, int]) -> Finding:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not problem.startswith("HangError"):
            with suppress(BaseException):
                data = shrink(self.target, data)
        where = f" (in {place[0]}, line {place[1]})"
        return Finding(self.target.name, data.hex(), problem + where, self.executions)


def limit_memory(more_bytes: int) -> None:
    """Let this process's address space grow by so much from here."""
    with open("/proc/self/statm") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more_bytes, resource.RLIM_INFINITY))


class Child:
    """A process that attacks one target for some seconds."""

    def __init__(
        self, target: Target, *, seed: int, seconds: float, executions_max: int | None = None
    ) -> None:
        self.target = target
        self._shared = mmap.mmap(-1, 8 + target.bytes_max + (1 << 20))
        self._shared[:8] = LENGTH.pack(NOTHING_TRIED)
        self._started = time.monotonic()
        read_end, write_end = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            os.close(write_end)
            self._pipe = read_end
            return
        status = 1
        try:
            os.close(read_end)
            answer = self._work(seed, seconds, executions_max)
            with os.fdopen(write_end, "w") as pipe:
                json.dump(answer, pipe)
            status = 0
        finally:
            os._exit(status)  # nothing of the parent's is flushed or cleaned up twice

    def _work(self, seed: int, seconds: float, executions_max: int | None) -> dict[str, Any]:
        limit_memory(self.target.memory_bytes_max)
        loop = Loop(self.target, seed, self._shared)
        finding = loop.run(seconds=seconds, executions_max=executions_max)
        return {
            "executions": loop.executions,
            "ways": len(loop.seen),
            "finding": asdict(finding) if finding else None,
        }

    def result(self) -> Result:
        """Waits for its end."""
        with os.fdopen(self._pipe) as pipe:
            text = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        seconds = time.monotonic() - self._started
        name = self.target.name
        if text:
            answer = json.loads(text)
            found = Finding(**answer["finding"]) if answer["finding"] else None
            return Result(name, answer["executions"], seconds, answer["ways"], found)
        (size,) = LENGTH.unpack(self._shared[:8])
        last = self._shared[8 : 8 + max(0, size)]
        how = os.waitstatus_to_exitcode(status)
        problem = f"the process died (exit {how}); a signal is below zero, 1 may be a hang"
        return Result(name, 0, seconds, 0, Finding(name, last.hex(), problem, 0))
