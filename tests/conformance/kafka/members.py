"""Members of groups, each a process (member_process): started, read, killed, stopped."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WAIT_S = 60.0


class Member:
    """What it has said so far. Its stderr is shown when it fails."""

    def __init__(self, kind: str, address: str, topic: str, group: str, **options: Any) -> None:
        self.kind = kind
        self.assigned: tuple[int, ...] = ()
        self.records: list[tuple[int, int]] = []
        self.committed: dict[int, int] = {}
        self.refused: list[str] = []
        self.is_closed = False
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "tests.conformance.kafka.member_process",
                kind,
                address,
                topic,
                group,
                json.dumps(options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if said["event"] == "assigned":
                self.assigned = tuple(said["partitions"])
            elif said["event"] == "record":
                self.records.append((said["partition"], said["offset"]))
            elif said["event"] == "committed":
                self.committed |= {int(key): value for key, value in said["offsets"].items()}
            elif said["event"] == "refused":
                self.refused.append(said["error"])
            else:
                self.is_closed = True

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL: the group hears nothing of it."""
        self._process.kill()
        self.end()

    def stop(self) -> None:
        """It leaves the group; checks that it ended well."""
        self._process.terminate()
        self.end()
        assert self.is_closed, self.failure()

    def end(self) -> None:
        self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)

    def failure(self) -> str:
        assert self._process.stderr is not None
        return f"{self.kind} ended with {self._process.returncode}: {self._process.stderr.read()}"

    def close_pipes(self) -> None:
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


class Team:
    """The members of one test; all end with it."""

    def __init__(self) -> None:
        self.members: list[Member] = []

    def start(self, kind: str, address: str, topic: str, group: str, **options: Any) -> Member:
        member = Member(kind, address, topic, group, **options)
        self.members.append(member)
        return member

    @property
    def running(self) -> list[Member]:
        return [member for member in self.members if member.is_running]

    def wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not is_so():
            for member in self.members:
                assert member.is_running or member.is_closed or member._process.returncode == -9, (
                    member.failure()
                )
            shown = {member.kind: member.assigned for member in self.running}
            assert time.monotonic() < deadline, f"never: {what}; assigned {shown}"
            time.sleep(0.02)

    def wait_until_shared(self, partitions: int, *, least: int = 1) -> None:
        """All partitions have one owner among those who run, each at least `least`."""

        def is_shared() -> bool:
            owned = [part for member in self.running for part in member.assigned]
            is_fair = all(len(member.assigned) >= least for member in self.running)
            return is_fair and sorted(owned) == list(range(partitions))

        self.wait_until(is_shared, f"{partitions} partitions shared by {len(self.running)}")

    def processed(self) -> list[tuple[int, int]]:
        return [record for member in self.members for record in member.records]


@contextmanager
def team() -> Iterator[Team]:
    members = Team()
    try:
        yield members
    finally:
        for member in members.members:
            if member.is_running:
                member.kill()
            member.close_pipes()
