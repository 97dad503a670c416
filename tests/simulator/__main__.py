"""python -m tests.simulator --histories 20000 --seed 1 --jobs 2: many histories, and their figures.

Ends with 1 if the checker found a violation, a history was too small, or something of what should
be met never was.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulator import coverage
from tests.simulator.run import Figures, report, run_many

PROGRESS_SECONDS = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--histories", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="the first; each history has the next")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=None, help="end after so long")
    options = parser.parse_args()
    print(f"seeds from {options.seed} on", flush=True)
    last_told, failures_told = 0.0, 0

    def progress(figures: Figures, took: float) -> None:
        nonlocal last_told, failures_told
        for failure in figures.failures[failures_told:]:
            print(f"seed {failure.seed}: {failure.violations[0]}", flush=True)
        failures_told = len(figures.failures)
        if took - last_told >= PROGRESS_SECONDS:
            last_told = took
            rate = figures.histories / took
            print(
                f"{took:6.0f} s  {figures.histories} histories, {rate:.1f} a second, "
                f"{figures.crashes} crashes, violations {sum(figures.violations.values())}",
                flush=True,
            )

    began = time.monotonic()
    seconds_max = options.minutes * 60 if options.minutes is not None else None
    total = run_many(
        options.seed, options.histories, options.jobs, seconds_max=seconds_max, progress=progress
    )
    for failure in total.failures[:3]:
        print(failure.history)
    print(report(total, time.monotonic() - began))
    for failure in total.failures:
        print(f"seed {failure.seed}: {failure.violations[0]}")
    never = coverage.missing(total.counted)
    if never:
        print(f"never met: {', '.join(never)}")
    if total.too_small:
        print(f"too small: seeds {total.too_small[:20]}")
    return 1 if total.failures or never or total.too_small else 0


if __name__ == "__main__":
    sys.exit(main())
