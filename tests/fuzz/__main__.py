"""`python -m tests.fuzz [TARGET ...]`: attack every decoder for a while; exits 1 at a finding.

--seconds N      of all targets together, of wall clock (FUZZ_SECONDS; default 600)
--seed N         chosen at random and printed unless given (FUZZ_SEED)
--jobs N         processes side by side (FUZZ_JOBS; default: the machine's cores)
--executions N   stop each target after so many instead
--input HEX      try one input of one target: how a finding is looked at again
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
import traceback
from collections.abc import Sequence

from tests.fuzz.coverage_guided import GuidedChild, is_there
from tests.fuzz.runner import Child, Result
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS


def attack(
    targets: Sequence[Target],
    *,
    seconds: float,
    seed: int,
    jobs: int,
    executions: int | None,
    child: type[Child | GuidedChild] = Child,
) -> list[Result]:
    """Each target has an equal share of the time."""
    share = seconds * jobs / len(targets)
    waiting, results = list(targets), []
    running: list[Child | GuidedChild] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(
                child(waiting.pop(0), seed=seed, seconds=share, executions_max=executions)
            )
        result = running.pop(0).result()
        results.append(result)
        print(
            f"{result.target:20} {result.executions:>11,} executions {result.rate:>9,.0f}/s "
            f"{result.ways:>5} ways" + ("  FINDING" if result.finding else ""),
            flush=True,
        )
    return results


def report(results: Sequence[Result], *, seed: int, seconds: float) -> int:
    findings = [result.finding for result in results if result.finding]
    for finding in findings:
        print(f"\n{finding.target}, execution {finding.execution}: {finding.problem}")
        print(f"  python -m tests.fuzz {finding.target} --input '{finding.input_hex}'")
    total = sum(result.executions for result in results)
    print(
        f"\n{total:,} executions of {len(results)} targets in {seconds:.0f} s, seed {seed}: "
        f"{len(findings)} findings"
    )
    return 1 if findings else 0


def try_one(target: Target, data: bytes) -> int:
    try:
        print(f"{target.name}: {target.check(data)!r}")
    except target.documented as error:
        print(f"{target.name}: refused, as documented: {error!r}")
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = {target.name: target for target in TARGETS}
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(known))
    environment = os.environ.get
    parser.add_argument("--seconds", type=float, default=float(environment("FUZZ_SECONDS", "600")))
    parser.add_argument("--seed", type=int, default=environment("FUZZ_SEED"))
    parser.add_argument("--jobs", type=int, default=int(environment("FUZZ_JOBS", "0")))
    parser.add_argument("--engine", choices=("atheris", "own"), default=environment("FUZZ_ENGINE"))
    parser.add_argument("--executions", type=int)
    parser.add_argument("--input")
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - set(known)
    if unknown:
        parser.error(f"no target {min(unknown)!r}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.targets] or list(TARGETS)
    if options.input is not None:
        return try_one(chosen[0], bytes.fromhex(options.input))
    seed = secrets.randbelow(1 << 32) if options.seed is None else int(options.seed)
    is_guided = options.engine == "atheris" or (options.engine is None and is_there())
    print(
        f"{len(chosen)} targets, engine {'atheris' if is_guided else 'own'}, seed {seed}",
        flush=True,
    )
    started = time.monotonic()
    results = attack(
        chosen,
        seconds=options.seconds,
        seed=seed,
        jobs=options.jobs or os.cpu_count() or 1,
        executions=options.executions,
        child=GuidedChild if is_guided else Child,
    )
    return report(results, seed=seed, seconds=time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
