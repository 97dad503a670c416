"""`python -m tests.torture [PART ...]`: faults on real servers, for TORTURE_SECONDS (1800).

`--clients kafka`: the same with confluent-kafka's clients, of either group protocol.

Each part gets its share of the time and has a count to reach; with less than the full time the
counts shrink with it. The seed is printed first (TORTURE_SEED sets it). Exit code 1 if a
violation was found or a count was not reached; what a part could not do here it says as skipped.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.torture import (
    bad_clients,
    clock_jumps,
    failing_sync,
    full_disk,
    idle_connections,
    kills,
    power_loss,
)
from tests.torture.client_kinds import GRPC, KAFKA_CLASSIC, KAFKA_CONSUMER, ClientKind
from tests.torture.ledger import Violation
from tests.torture.report import Outcome

FULL_SECONDS = 1800.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Part:
    """`wanted` of `unit` in `share` of the full time; run(directory, seed, wanted, seconds, say)"""

    name: str
    unit: str
    wanted: int
    share: float
    run: Callable[[Path, int, int, float, Say], Outcome]


def _kills(
    kind: ClientKind, directory: Path, seed: int, wanted: int, seconds: float, say: Say
) -> Outcome:
    return kills.KillRun(directory, seed, say, kind).run(kills=wanted, seconds=seconds)


def _full_disk(
    kind: ClientKind, directory: Path, seed: int, wanted: int, seconds: float, say: Say
) -> Outcome:
    return full_disk.run(directory, seed, wanted, say, kind)


def _failing_sync(
    kind: ClientKind, directory: Path, seed: int, wanted: int, seconds: float, say: Say
) -> Outcome:
    return failing_sync.FailingSyncRun(directory, seed, say, kind).run(wanted)


def _bad_clients(directory: Path, seed: int, wanted: int, seconds: float, say: Say) -> Outcome:
    return bad_clients.BadClientRun(directory, seed, say).run(wanted)


def _clock_jumps(directory: Path, seed: int, wanted: int, seconds: float, say: Say) -> Outcome:
    return clock_jumps.ClockJumpRun(directory, seed, say).run(wanted)


def _power_loss(directory: Path, seed: int, wanted: int, seconds: float, say: Say) -> Outcome:
    return power_loss.PowerLossRun(directory, seed, say).run(wanted)


def _idle(directory: Path, seed: int, wanted: int, seconds: float, say: Say) -> Outcome:
    waves = 5
    return idle_connections.IdleRun(directory, math.ceil(wanted / waves), say).run(
        waves=waves, watch_seconds=5.0
    )


def _of(kind: ClientKind, times: float) -> tuple[Part, ...]:
    """The parts whose traffic may be anybody's; `times` the counts and shares."""
    return (
        Part(kind.part("kills"), "kills", round(300 * times), 0.6 * times, partial(_kills, kind)),
        Part(
            kind.part("full-disk"), "full-disk cycles", round(20 * times), 0.1 * times,
            partial(_full_disk, kind),
        ),
        Part(
            kind.part("failing-sync"), "failed syncs", round(30 * times), 0.1 * times,
            partial(_failing_sync, kind),
        ),
    )  # fmt: skip


GRPC_PARTS = (
    *_of(GRPC, 1.0),
    Part("bad-clients", "rounds", 20, 0.1, _bad_clients),
    Part("clock-jumps", "jumps", 20, 0.05, _clock_jumps),
    Part("power-loss", "power losses", 30, 0.05, _power_loss),
    Part("idle-connections", "idle connections", 50_000, 0.05, _idle),
)
KAFKA_PARTS = (*_of(KAFKA_CLASSIC, 0.5), *_of(KAFKA_CONSUMER, 0.5))
PARTS = {"grpc": GRPC_PARTS, "kafka": KAFKA_PARTS}


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    logging.getLogger("logstore").setLevel(logging.ERROR)  # clients tell of every broken stream
    scale = options.seconds / FULL_SECONDS
    chosen = [part for part in PARTS[options.clients] if _is_named(part, options.parts)]
    whose = f"torture: {options.clients} clients, seed {options.seed}"
    print(f"{whose}, {options.seconds:.0f} s", flush=True)
    outcomes = []
    for part in chosen:
        print(f"--- {part.name}", flush=True)
        outcomes.append(_run(part, options.seed, scale))
        print(outcomes[-1], flush=True)
    print("\n=== torture: summary", flush=True)
    for outcome in outcomes:
        print(outcome)
    violations = sum(len(outcome.violations) for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(
        f"{whose}, {_total(outcomes, 'records acknowledged')} records, "
        f"{_total(outcomes, 'kills')} restarts after SIGKILL, "
        f"{_total(outcomes, 'full-disk cycles')} full-disk cycles, {seconds:.0f} s, "
        f"violations {violations}",
        flush=True,
    )
    return 1 if violations else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--clients", choices=list(PARTS), default="grpc")
    names = list(dict.fromkeys(_base(part) for parts in PARTS.values() for part in parts))
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(names))
    parser.add_argument(
        "--seed", type=int, default=int(os.environ.get("TORTURE_SEED", random.randrange(1 << 31)))
    )
    parser.add_argument(
        "--seconds", type=float, default=float(os.environ.get("TORTURE_SECONDS", FULL_SECONDS))
    )
    options = parser.parse_args(arguments)
    known = {part.name for part in PARTS[options.clients]} | set(names)
    unknown = set(options.parts) - known
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return options


def _base(part: Part) -> str:
    """`kills` of `kills/kafka-classic`."""
    return part.name.partition("/")[0]


def _is_named(part: Part, names: list[str]) -> bool:
    return not names or part.name in names or _base(part) in names


def _run(part: Part, seed: int, scale: float) -> Outcome:
    wanted = max(1, math.ceil(part.wanted * min(scale, 1.0)))
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {part.name}: {line}", flush=True)

    with tempfile.TemporaryDirectory(prefix="logstore-torture-") as directory:
        seconds = FULL_SECONDS * part.share * scale
        try:
            outcome = part.run(Path(directory), seed, wanted, seconds, say)
        except Exception as error:  # the other parts still have something to say
            traceback.print_exc()
            outcome = Outcome(part.name, [Violation("broken off", repr(error))])
    outcome.seconds = time.monotonic() - started
    if not outcome.skipped:
        reached = outcome.count(part.unit)
        outcome.require(
            reached >= wanted, "count not reached", f"{reached} of {wanted} {part.unit}"
        )
    return outcome


def _total(outcomes: list[Outcome], what: str) -> int:
    return sum(outcome.count(what) for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
