"""fsync that fails: the server runs under strace, which answers one of its syncs with EIO.

    start with a sync (or all from it on) that will fail ->
    partitions refuse writes and say why, reads go on (but of one that could not be recovered) ->
    SIGKILL or SIGTERM -> start -> recovered, writing goes on

The call is answered without being made, so the kernel still holds the bytes: what a disk loses of
them is for the simulator to show. Here it is shown that a real process under a real system call's
error acknowledges nothing that the failed sync should have covered, and mends by a restart.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import logstore
from logstore.errors import LogStoreError, StorageFailedError
from logstore.record import encode_batch
from tests.torture import asking
from tests.torture.checker import check_claims, check_log, check_ownership
from tests.torture.client_kinds import GRPC, ClientKind
from tests.torture.ledger import GroupLedger, OwnershipLedger, WriterLedger, make_value
from tests.torture.report import Outcome
from tests.torture.traffic import Traffic

TOPIC = "events"
PARTITIONS = 3
CONFIGS = {"segment_bytes": "1048576"}
SYNCS = "fdatasync,fsync,syncfs"
# strace counts calls per thread; the first few are those of opening and recovery.
NTH_SYNC_MAX = 60
# How long it is waited for at least, and how many probes of each partition: each is synced, which
# on a slow machine gets each thread of the server that syncs as far only later.
FAILURE_SECONDS = 10.0
PROBES = 100
MENDED_RECORDS = 300
MENDED_SECONDS_MAX = 30.0
# Of a partition that wrote, and of one whose recovery could not sync: that one is not served.
REASONS = ("sync failed", "could not recover")
PROBE = 90
# What a member may be told while the offsets' partition, or the one it reads, has failed.
TOLERATED = frozenset({"STORAGE_FAILED", "UNKNOWN_MEMBER", "FENCED_MEMBER", "STALE_MEMBER_EPOCH"})


class FailingSyncRun:
    """One directory, a server on it that fails again and again, and its clients."""

    def __init__(
        self, directory: Path, seed: int, say: Callable[[str], None], kind: ClientKind = GRPC
    ) -> None:
        self.outcome = Outcome(kind.part("failing-sync"))
        self._kind = kind
        self._random = random.Random(seed)
        self._say = say
        self._runs = 0
        self._log = directory / "server.log"
        self._server = kind.server(directory / "data", errors=self._log)
        self._group = GroupLedger(PARTITIONS)
        self._ownership = OwnershipLedger()
        self._probe = WriterLedger(PROBE)

    def run(self, failures: int) -> Outcome:
        reason = why_no_strace()
        if reason:
            self.outcome.skipped = reason
            return self.outcome
        with self._server:
            with asking.connect(self._server.address) as store:
                store.create_topic(TOPIC, partitions=PARTITIONS, configs=CONFIGS)
            with self._traffic() as traffic:
                tries = 0
                while self.outcome.count("failed syncs") < failures and tries < 3 * failures:
                    tries += 1
                    self._round(traffic)
                traffic.stop_writers()
                asking.wait_for_group(self._server.address, TOPIC, PARTITIONS, traffic)
                traffic.stop_members()
            self._check(traffic)
        self.outcome.violations.extend(self._group.violations)
        self.outcome.violations.extend(check_ownership(self._ownership))
        self.outcome.add("records acknowledged", traffic.acknowledged)
        self.outcome.add("records given up", traffic.given_up)
        return self.outcome

    def _traffic(self) -> Traffic:
        kind, address = self._kind, self._kind.address(self._server)
        writers = [kind.writer(address, TOPIC, PARTITIONS, number) for number in range(3)]
        member = kind.member(
            address, TOPIC, "member", self._group, self._ownership, lambda: self._runs,
            tolerated=TOLERATED,
        )  # fmt: skip
        return Traffic(writers, [member], self._group)

    # --- one failure ------------------------------------------------------------------------

    def _round(self, traffic: Traffic) -> None:
        nth = f"{self._random.randint(1, NTH_SYNC_MAX)}{self._random.choice(('', '+'))}"
        self._end()
        self._server.prefix = (
            "strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={SYNCS}",
            "-e", f"inject={SYNCS}:error=EIO:when={nth}",
        )  # fmt: skip
        told = self._log.stat().st_size
        try:
            self._server.start()
        except AssertionError:
            self._did_not_start(told)
        else:
            refused = self._wait_for_refusal(traffic)
            if refused:
                self.outcome.add("failed syncs")
                self._check_refusals(refused)
                self._check(traffic, may_be_unserved=True)
            self._end()
            self._say(f"sync {nth} of a thread fails: partitions {sorted(refused)} refuse writes")
        self._server.prefix = ()
        self._server.start()
        self._check_writable()
        took = traffic.wait_for_records(MENDED_RECORDS, MENDED_SECONDS_MAX)
        self.outcome.require(took is not None, "not mended by a restart", "writers do not go on")
        self._check(traffic)

    def _end(self) -> None:
        """With a signal that leaves time to close, or one that does not."""
        self._runs += 1
        if self._random.random() < 0.5:
            self._server.kill()
        else:
            self._server.stop()

    def _did_not_start(self, told: int) -> None:
        with open(self._log, errors="replace") as log:
            log.seek(told)
            said = log.read()
        self.outcome.add("failed syncs")
        self.outcome.add("starts refused")
        clear = "Input/output error" in said and "Traceback" not in said
        self.outcome.require(clear, "unclear refusal to start", said[-500:])

    def _append_probe(self, store: logstore.Store, partition: int) -> LogStoreError | None:
        number = self._probe.sent()
        batch = encode_batch([make_value(PROBE, number, 100)])
        try:
            stored = store.log_store.append(TOPIC, partition, batch).result(30)
        except LogStoreError as error:
            self._probe.gave_up(number)
            return error
        self._probe.stored(number, partition, stored.base_offset)
        return None

    def _wait_for_refusal(self, traffic: Traffic) -> dict[int, LogStoreError]:
        """Which partitions refuse writes, and why, once one does; none if none did in time."""
        deadline = time.monotonic() + FAILURE_SECONDS
        probes = 0
        with asking.connect(self._server.address) as store:
            while time.monotonic() < deadline or probes < PROBES:
                probes += 1
                answers = {part: self._append_probe(store, part) for part in range(PARTITIONS)}
                refused = {part: error for part, error in answers.items() if error is not None}
                if refused:
                    return refused
                traffic.raise_errors()
                time.sleep(0.05)
        return {}

    def _check_refusals(self, refused: dict[int, LogStoreError]) -> None:
        """They say what happened and what to do, and are not to be tried again; and so does the
        next append."""
        with asking.connect(self._server.address) as store:
            for partition, first in refused.items():
                for error in (first, self._append_probe(store, partition)):
                    self.outcome.require(
                        isinstance(error, StorageFailedError)
                        and not error.retriable
                        and any(reason in error.message for reason in REASONS)
                        and "reopened" in error.message,
                        "unclear refusal",
                        f"partition {partition}: {error!r}",
                    )

    def _check_writable(self) -> None:
        with asking.connect(self._server.address) as store:
            for partition in range(PARTITIONS):
                error = self._append_probe(store, partition)
                self.outcome.require(error is None, "not mended by a restart", repr(error))

    def _check(self, traffic: Traffic, *, may_be_unserved: bool = False) -> None:
        claims = asking.take_claims(self._server.address, TOPIC, PARTITIONS, traffic)
        claims.places[PROBE] = self._probe.places[:]
        stored = asking.read_all(
            self._server.address, TOPIC, PARTITIONS, may_be_unserved=may_be_unserved
        )
        self.outcome.add("full reads")
        self.outcome.violations.extend(check_claims(claims, stored))
        self.outcome.violations.extend(check_log([*traffic.ledgers, self._probe], stored))


def why_no_strace() -> str:
    """Empty if strace can trace and inject here."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=9", "true"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return tried.stderr.strip() or "strace failed" if tried.returncode else ""
