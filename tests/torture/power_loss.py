"""Power losses below a real kernel file system, under writers, a group and transactions.

    traffic -> SIGKILL, and all that was not synced is gone -> another boot id -> start -> ...

The machine does not really start again, so the server is shown another boot id (a file of its own
mounted over the kernel's): it must not take the state file for exact.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.support.server_process import ServerProcess
from tests.torture import asking, transforms
from tests.torture import traffic as clients
from tests.torture.checker import check_claims, check_log, check_ownership
from tests.torture.lazy_disk import LazyDisk
from tests.torture.ledger import GroupLedger, OwnershipLedger
from tests.torture.report import Outcome
from tests.torture.small_disk import CannotMount
from tests.torture.traffic import Member, Traffic, Writer
from tests.torture.transforms import Transformer, check_copies

TOPIC = "events"
COPIES = "copies"
PARTITIONS = 3
CONFIGS = {"segment_bytes": "262144"}  # small, so that losses meet rolls
RUN_SECONDS = (0.3, 2.0)
RECORDS_BETWEEN = 100
GO_ON_SECONDS_MAX = 30.0
LOSSES_PER_AUDIT = 10
IN_ANOTHER_BOOT = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'


class PowerLossRun:
    """One server on a LazyFS."""

    def __init__(self, directory: Path, seed: int, say: Callable[[str], None]) -> None:
        self.outcome = Outcome("power-loss")
        self._random = random.Random(seed)
        self._seed = seed
        self._say = say
        self._runs = 0
        self._disk = LazyDisk(directory)
        self._boot_id = directory / "boot_id"
        self._server = ServerProcess(
            self._disk.path / "data", errors=directory / "server.log",
            prefix=("unshare", "-m", "sh", "-c", IN_ANOTHER_BOOT, str(self._boot_id)),
        )  # fmt: skip
        self._group = GroupLedger(PARTITIONS)
        self._ownership = OwnershipLedger()
        self._transformers: list[Transformer] = []

    def run(self, losses: int) -> Outcome:
        try:
            with self._disk:
                self._boot()
                with self._server:
                    self._run(losses)
        except CannotMount as error:
            self.outcome.skipped = str(error)
        return self.outcome

    def _run(self, losses: int) -> None:
        address = self._server.address
        with asking.connect(address) as store:
            for topic in (TOPIC, COPIES):
                store.create_topic(topic, partitions=PARTITIONS, configs=CONFIGS)
        with self._traffic(address) as traffic:
            for number in range(1, losses + 1):
                self._lose(traffic)
                if number % LOSSES_PER_AUDIT == 0:
                    self._audit(traffic)
            traffic.stop_writers()
            for group in (clients.GROUP, transforms.GROUP):
                asking.wait_for_group(address, TOPIC, PARTITIONS, traffic, group)
            traffic.stop_members()
        self._audit(traffic)
        self.outcome.violations.extend(self._group.violations)
        self.outcome.violations.extend(check_ownership(self._ownership))
        self.outcome.add("records acknowledged", traffic.acknowledged)
        counts = dict(self._transformers[0].counts)
        self.outcome.add("transactions", counts.pop("transactions", 0))
        self.outcome.notes.append(f"transactions ended by {counts}")

    def _traffic(self, address: str) -> Traffic:
        writers = [Writer(address, TOPIC, PARTITIONS, number) for number in range(3)]
        member = Member(address, TOPIC, "member", self._group, self._ownership, lambda: self._runs)
        self._transformers = [Transformer(address, TOPIC, COPIES, 0, self._seed)]
        return Traffic(writers, [member, *self._transformers], self._group)

    def _boot(self) -> None:
        self._boot_id.write_text(f"{uuid.UUID(int=self._random.getrandbits(128))}\n")

    def _lose(self, traffic: Traffic) -> None:
        time.sleep(self._random.uniform(*RUN_SECONDS))  # the moment is the run's input
        floors = self._group.floors()
        self._server.kill()
        self._disk.lose_power()
        self._boot()
        self.outcome.add("power losses")
        self._runs += 1
        self._server.start()
        committed = asking.committed_offsets(self._server.address, TOPIC, PARTITIONS)
        self._group.found_committed(floors, dict(enumerate(committed)))
        took = traffic.wait_for_records(RECORDS_BETWEEN, GO_ON_SECONDS_MAX)
        self.outcome.require(took is not None, "writers do not go on", "after a power loss")

    def _audit(self, traffic: Traffic) -> None:
        address = self._server.address
        claims = asking.take_claims(address, TOPIC, PARTITIONS, traffic)
        copied = asking.committed_offsets(address, TOPIC, PARTITIONS, transforms.GROUP)
        copies = asking.read_all(address, COPIES, PARTITIONS)
        stored = asking.read_all(address, TOPIC, PARTITIONS)
        violations = check_claims(claims, stored) + check_log(traffic.ledgers, stored)
        violations += check_copies(copies, stored, copied)
        self.outcome.violations.extend(violations)
        self._say(
            f"{self.outcome.count('power losses')} losses, {traffic.acknowledged} acknowledged, "
            f"{stored.records} read back, {copies.records} copies, {len(violations)} violations"
        )
