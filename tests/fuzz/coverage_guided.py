"""One target under atheris (libFuzzer), where that is installed: `python -m ... TARGET FLAGS`.

Python code is instrumented, so that inputs which reach new lines are kept and changed further.
The mutations and repairs of the other engine are used every second time. Started by `__main__`.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fuzz.runner import Finding, Result

if TYPE_CHECKING:
    from tests.fuzz.target import Target

SEED_FOLDER_FLAG = "--seeds="
SECONDS_PER_CALL = 20
MEGABYTES_MAX = 512  # resident; Python, gRPC and the instrumentation take a fifth of it
EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")
FEATURES = re.compile(r"ft: (\d+)")
PROBLEM = re.compile(r"=== Uncaught Python exception: ===\n(.*)")


def is_there() -> bool:
    return importlib.util.find_spec("atheris") is not None


class GuidedChild:
    """What runner.Child is, for this engine."""

    def __init__(
        self, target: Target, *, seed: int, seconds: float, executions_max: int | None = None
    ) -> None:
        self.target = target
        self._folder = tempfile.TemporaryDirectory(prefix="logstore-fuzz-")
        self._output = Path(self._folder.name) / "output"
        self._started = time.monotonic()
        seeds = Path(self._folder.name) / "seeds"
        seeds.mkdir()
        command = [
            *(sys.executable, "-m", "tests.fuzz.coverage_guided", target.name),
            f"{SEED_FOLDER_FLAG}{seeds}",
            f"-artifact_prefix={self._folder.name}/",
            f"-max_total_time={max(1, round(seconds))}",
            f"-runs={-1 if executions_max is None else executions_max}",
            f"-seed={seed % (1 << 32) or 1}",
            f"-timeout={SECONDS_PER_CALL}",
            f"-rss_limit_mb={MEGABYTES_MAX}",
            "-print_final_stats=1",
        ]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def result(self) -> Result:
        """Waits for its end."""
        code = self._process.wait()
        seconds = time.monotonic() - self._started
        output = self._output.read_text(errors="replace")
        self._output.unlink()
        inputs = [path for path in Path(self._folder.name).iterdir() if path.is_file()]
        data = inputs[0].read_bytes() if inputs else b""
        self._folder.cleanup()
        return result_of(self.target.name, output, seconds, data if code else None)


def result_of(name: str, output: str, seconds: float, data: bytes | None) -> Result:
    """`output` is libFuzzer's, `data` the input that it ended with, None if it found nothing."""
    executed = int((EXECUTED.findall(output) or ["0"])[-1])
    ways = int((FEATURES.findall(output) or ["0"])[-1])
    finding = None
    if data is not None:
        problem = (PROBLEM.findall(output) or [output[-500:]])[-1]
        finding = Finding(name, data.hex(), problem, executed)
    return Result(name, executed, seconds, ways, finding)


def instrumented_target(atheris: Any, name: str) -> Target:
    with atheris.instrument_imports(include=["logstore", "logstore_server"]):
        target: Target = importlib.import_module(f"tests.fuzz.targets.{name}").TARGET
    return target


def main(arguments: Sequence[str]) -> None:
    atheris: Any = importlib.import_module("atheris")
    name, seeds_flag, *flags = arguments
    target = instrumented_target(atheris, name)
    mutate: Any = importlib.import_module("tests.fuzz.mutate")
    seeds = [bytes(seed) for seed in target.seeds()]
    folder = Path(seeds_flag.removeprefix(SEED_FOLDER_FLAG))
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number}").write_bytes(seed)

    def check(data: bytes) -> None:
        try:
            target.check(data)
        except target.documented:
            return

    def mutated(data: bytes, bytes_max: int, seed: int) -> bytes:
        if seed % 2:
            return bytes(atheris.Mutate(data, bytes_max))
        changed = mutate.Mutator(seed, min(bytes_max, target.bytes_max)).mutate(data, seeds)
        if target.repair is not None and seed % 8:
            target.repair(changed)
        return bytes(changed[:bytes_max])

    command = [sys.argv[0], *flags, f"-max_len={target.bytes_max}", str(folder)]
    atheris.Setup(command, check, custom_mutator=mutated)
    atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main(sys.argv[1:])
