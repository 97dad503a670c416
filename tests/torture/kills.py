"""SIGKILL, SIGSTOP and kills in the middle of starting, under writers, a group and transactions.

traffic -> (SIGSTOP, SIGCONT)? -> SIGKILL -> (start, SIGKILL)? -> start -> committed offsets?
   ^                                                                            |
   +------------------- now and then: read everything, check --------------------+
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.torture import asking, kafka_reading, transforms
from tests.torture import traffic as clients
from tests.torture.checker import check_claims, check_log, check_ownership
from tests.torture.client_kinds import GRPC, ClientKind
from tests.torture.ledger import GroupLedger, OwnershipLedger, Violation
from tests.torture.report import Outcome
from tests.torture.traffic import Traffic
from tests.torture.transforms import Transformer, check_copies

TOPIC = "events"
COPIES = "copies"
PARTITIONS = 3
WRITERS = 4
MEMBERS = 2
TRANSFORMERS = 2
CONFIGS = {"segment_bytes": "1048576"}  # small, so that kills meet rolls
KILLS_PER_AUDIT = 50
STOPPED_SHARE = 0.15  # of the kills, SIGSTOP first
STARTING_SHARE = 0.1  # of the kills, once more while it starts
TRANSACTIONS_PER_KILL = 4
KINDS = ("transactions", "aborts")
RUN_SECONDS = (0.2, 2.5)
STOP_SECONDS = (0.05, 2.0)
LONG_STOP_SECONDS = 6.0  # longer than a member's session


class KillRun:
    """One server and its clients; counts what was done to it."""

    def __init__(
        self, directory: Path, seed: int, say: Callable[[str], None], kind: ClientKind = GRPC
    ) -> None:
        self.outcome = Outcome(kind.part("kills"))
        self._kind = kind
        self._seed = seed
        self._random = random.Random(seed)
        self._say = say
        self._runs = 0
        self._data = directory / "data"
        self._server = kind.server(self._data, errors=directory / "server.log")
        self._group = GroupLedger(PARTITIONS)
        self._ownership = OwnershipLedger()
        self._transformers: list[Transformer] = []

    def run(self, *, kills: int, seconds: float) -> Outcome:
        """Until both are reached."""
        until = time.monotonic() + seconds
        with self._server:
            with asking.connect(self._server.address) as store:
                for topic in (TOPIC, COPIES):
                    store.create_topic(topic, partitions=PARTITIONS, configs=CONFIGS)
            with self._traffic() as traffic:
                while self.outcome.count("kills") < kills or time.monotonic() < until:
                    self._disturb(traffic)
                    if self.outcome.count("kills") % KILLS_PER_AUDIT == 0:
                        self._audit(traffic)
                self._wait_for_transactions(traffic)
                traffic.stop_writers()
                for group in (clients.GROUP, transforms.GROUP):
                    asking.wait_for_group(self._server.address, TOPIC, PARTITIONS, traffic, group)
                traffic.stop_members()
            self._finish(traffic)
            self._server.kill()
            self._verify("after a kill")
            self._server.start()
            status = self._server.stop()
            self.outcome.require(status == 0, "no orderly end", f"exit status {status}")
            self._verify("closed")
        return self.outcome

    def _traffic(self) -> Traffic:
        kind, address = self._kind, self._kind.address(self._server)
        writers = [kind.writer(address, TOPIC, PARTITIONS, number) for number in range(WRITERS)]
        members = [
            kind.member(
                address, TOPIC, f"member-{number}", self._group, self._ownership,
                lambda: self._runs,
            )
            for number in range(MEMBERS)
        ]  # fmt: skip
        self._transformers = [
            kind.transformer(address, TOPIC, COPIES, number, self._seed)
            for number in range(TRANSFORMERS)
        ]
        return Traffic(writers, [*members, *self._transformers], self._group)

    def _disturb(self, traffic: Traffic) -> None:
        time.sleep(self._random.uniform(*RUN_SECONDS))  # the moment is the test's input
        if self._random.random() < STOPPED_SHARE:
            self._stop_for_a_while()
        floors = self._group.floors()
        self._server.kill()
        self.outcome.add("kills")
        if self._random.random() < STARTING_SHARE:
            self._server.launch()
            time.sleep(self._random.uniform(0.02, 0.4))
            self._server.kill()
            self.outcome.add("kills while starting")
        self._runs += 1
        self._server.start()
        committed = asking.committed_offsets(self._server.address, TOPIC, PARTITIONS)
        self._group.found_committed(floors, dict(enumerate(committed)))
        traffic.raise_errors()

    def _wait_for_transactions(self, traffic: Traffic) -> None:
        """Until there were so many, of either kind, that the kills have met some: on a slow machine
        that takes longer than the kills."""
        wanted = [TRANSACTIONS_PER_KILL * self._runs, 1]
        asking.wait_for_commits(
            lambda: (
                [min(self._counts[kind], count) for kind, count in zip(KINDS, wanted, strict=True)],
                wanted,
            ),
            traffic.states,
        )

    @property
    def _counts(self) -> Counter[str]:
        return sum((one.counts for one in self._transformers), Counter())

    def _stop_for_a_while(self) -> None:
        is_long = self._random.random() < 0.1
        self._server.send_signal(signal.SIGSTOP)
        time.sleep(LONG_STOP_SECONDS if is_long else self._random.uniform(*STOP_SECONDS))
        if is_long:
            self._ownership.stood_still()
        self.outcome.add("stops")
        if self._random.random() < 0.7:  # else it is killed while it is stopped
            self._server.send_signal(signal.SIGCONT)
            time.sleep(self._random.uniform(0.0, 1.0))

    def _audit(self, traffic: Traffic) -> None:
        address = self._server.address
        claims = asking.take_claims(address, TOPIC, PARTITIONS, traffic)
        copied = asking.committed_offsets(address, TOPIC, PARTITIONS, transforms.GROUP)
        copies = asking.read_all(address, COPIES, PARTITIONS)
        stored = asking.read_all(address, TOPIC, PARTITIONS)
        violations = check_claims(claims, stored) + check_log(traffic.ledgers, stored)
        violations += check_copies(copies, stored, copied)
        self.outcome.add("full reads")
        self._say(
            f"{self.outcome.count('kills')} kills, {traffic.acknowledged} acknowledged, "
            f"{stored.records} read back, {copies.records} copies, {len(violations)} violations"
        )
        self.outcome.violations.extend(violations)

    def _verify(self, when: str) -> None:
        """`logstore verify` finds nothing damaged."""
        done = subprocess.run(
            [sys.executable, "-m", "logstore_server", "verify", str(self._data)],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        told = f"{when}: {done.stdout[-1000:]}{done.stderr[-500:]}"
        self.outcome.require(done.returncode == 0, "damage found by verify", told)
        self.outcome.add("verified stores")

    def _compare_readings(self) -> None:
        """Kafka's clients read the same as ours."""
        for topic in (TOPIC, COPIES):
            ours = asking.read_all(self._server.address, topic, PARTITIONS)
            theirs = kafka_reading.read_all(self._server.kafka_address, topic, PARTITIONS)
            self.outcome.violations.extend(kafka_reading.differences(ours, theirs))
            self.outcome.add("records read over both", theirs.records)

    def _finish(self, traffic: Traffic) -> None:
        self._audit(traffic)
        if self._kind.is_kafka:
            self._compare_readings()
        self.outcome.violations.extend(self._group.violations)
        self.outcome.violations.extend(check_ownership(self._ownership))
        sent = sum(len(ledger.places) for ledger in traffic.ledgers)
        if traffic.acknowledged != sent:
            self.outcome.violations.append(
                Violation(
                    "given up",
                    f"{sent - traffic.acknowledged} of {sent} records were not acknowledged "
                    f"within {clients.DELIVERY_SECONDS} s",
                )
            )
        self.outcome.add("records acknowledged", traffic.acknowledged)
        self.outcome.add("records read by the group", self._group.records)
        self.outcome.add("commits", self._group.commits)
        self.outcome.add("tenures", len(self._ownership.tenures))
        counts = self._counts
        self.outcome.add("transactions", counts.pop("transactions", 0))
        self.outcome.add("transactions aborted", counts.pop("aborts", 0))
        self.outcome.notes.append(f"transactions ended by {dict(counts)}")
