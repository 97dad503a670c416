"""A server whose wall clock jumps, in both directions and far, while everybody works (libfaketime).

The monotonic clock stays honest, as the kernel's is. A restart behind a jump may end transactions
that are open by then (their age is taken from the wall clock); nothing else may happen.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.server_process import ServerProcess
from tests.torture import asking, transforms
from tests.torture import traffic as clients
from tests.torture.checker import check_claims, check_log, check_ownership
from tests.torture.ledger import GroupLedger, OwnershipLedger
from tests.torture.report import Outcome
from tests.torture.traffic import Member, Traffic, Writer
from tests.torture.transforms import Transformer, check_copies

TOPIC = "events"
COPIES = "copies"
PARTITIONS = 2
LOG_TIME = {"message_timestamp_type": "LogAppendTime"}
LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
HOUR, DAY = 3600, 86_400
OFFSETS = (HOUR, -HOUR, 3 * DAY, -3 * DAY, 400 * DAY, -400 * DAY, 0)  # of the true time, in seconds
NOTICED_SECONDS = 1.3  # the library reads the clock's file once a second
RECORDS = 200
# Any jump is longer; what the library costs on a busy machine is not.
SESSION_SECONDS = 30.0
GO_ON_SECONDS_MAX = 30.0
RESTART_SHARE = 0.3


class ClockJumpRun:
    """One server under a clock that the run sets."""

    def __init__(self, directory: Path, seed: int, say: Callable[[str], None]) -> None:
        self.outcome = Outcome("clock-jumps")
        self._random = random.Random(seed)
        self._seed = seed
        self._say = say
        self._runs = 0
        self._offset = 0
        self._clock = directory / "clock"
        self._clock.write_text("+0s")
        environment = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # What an older glibc needs makes timed waits return at once with this one: a server
            # that spins a second of processor time for each transaction.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "FAKETIME_CACHE_DURATION": "1",
        }
        self._server = ServerProcess(
            directory / "data", errors=directory / "server.log", environment=environment
        )
        self._group = GroupLedger(PARTITIONS)
        self._ownership = OwnershipLedger()
        self._transformers: list[Transformer] = []

    def run(self, jumps: int) -> Outcome:
        if not LIBRARY.exists():
            self.outcome.skipped = "libfaketime is not installed (Debian: libfaketime)"
            return self.outcome
        with self._server:
            address = self._server.address
            with asking.connect(address) as store:
                for topic in (TOPIC, COPIES):
                    store.create_topic(topic, partitions=PARTITIONS, configs=LOG_TIME)
            with self._traffic(address) as traffic:
                traffic.wait_for_records(RECORDS, GO_ON_SECONDS_MAX)
                self._wait_for_owner(0)
                for _ in range(jumps):
                    self._jump(traffic)
                    self.outcome.add("jumps")
                traffic.stop_writers()
                for group in (clients.GROUP, transforms.GROUP):
                    asking.wait_for_group(address, TOPIC, PARTITIONS, traffic, group)
                traffic.stop_members()
            self._check(traffic)
        return self.outcome

    def _traffic(self, address: str) -> Traffic:
        writers = [Writer(address, TOPIC, PARTITIONS, number) for number in range(2)]
        member = Member(
            address, TOPIC, "member", self._group, self._ownership, lambda: self._runs,
            polls_per_life=1 << 30, session_timeout=SESSION_SECONDS,
        )  # fmt: skip
        self._transformers = [Transformer(address, TOPIC, COPIES, 0, self._seed)]
        return Traffic(writers, [member, *self._transformers], self._group)

    def _jump(self, traffic: Traffic) -> None:
        tenures = len(self._ownership.tenures)
        self._offset = self._random.choice([o for o in OFFSETS if o != self._offset])
        self._clock.write_text(f"{self._offset:+d}s")
        time.sleep(NOTICED_SECONDS)
        self._require_time()
        took = traffic.wait_for_records(RECORDS, GO_ON_SECONDS_MAX)
        what = f"{self._offset:+d} s from the true time"
        self.outcome.require(took is not None, "writers do not go on", what)
        self.outcome.require(
            len(self._ownership.tenures) == tenures, "a member lost its partitions", what
        )
        self._say(f"{what}: {RECORDS} records more in {took or -1:.1f} s")
        # Days away nobody is a member any more after a restart, and offsets may be too old.
        if abs(self._offset) <= HOUR and self._random.random() < RESTART_SHARE:
            self._runs += 1
            self._server.kill()
            self._server.start()
            self.outcome.add("restarts")
            traffic.wait_for_records(RECORDS, GO_ON_SECONDS_MAX)
            self._wait_for_owner(tenures)

    def _require_time(self) -> None:
        """The server's clock is where it was put: it writes the time into the log."""
        with asking.connect(self._server.address) as store, store.producer() as producer:
            store.create_topic("time", exist_ok=True, configs=LOG_TIME)
            deadline = time.monotonic() + GO_ON_SECONDS_MAX
            off = 1e9
            while abs(off) >= 5 and time.monotonic() < deadline:
                told = producer.send("time", b"?").result(30).timestamp / 1000
                off = told - time.time() - self._offset
        self.outcome.require(abs(off) < 5, "the clock did not jump", f"it is {off:.1f} s off")

    def _wait_for_owner(self, tenures: int) -> None:
        """Until the member has joined again: it has more tenures, and all is its own."""
        deadline = time.monotonic() + GO_ON_SECONDS_MAX
        while (
            len(self._ownership.tenures) == tenures
            or len(self._ownership.owned_by("member")) < PARTITIONS
        ):
            if time.monotonic() > deadline:
                self.outcome.require(False, "a member owns nothing", f"run {self._runs}")
                return
            time.sleep(0.05)

    def _check(self, traffic: Traffic) -> None:
        address = self._server.address
        claims = asking.take_claims(address, TOPIC, PARTITIONS, traffic)
        copied = asking.committed_offsets(address, TOPIC, PARTITIONS, transforms.GROUP)
        copies = asking.read_all(address, COPIES, PARTITIONS)
        stored = asking.read_all(address, TOPIC, PARTITIONS)
        violations = self.outcome.violations
        violations.extend(check_claims(claims, stored))
        violations.extend(check_log(traffic.ledgers, stored))
        violations.extend(check_copies(copies, stored, copied))
        violations.extend(self._group.violations)
        violations.extend(check_ownership(self._ownership))
        self.outcome.add("records acknowledged", traffic.acknowledged)
        counts = dict(self._transformers[0].counts)
        self.outcome.add("transactions", counts.pop("transactions", 0))
        self.outcome.notes.append(f"transactions ended by {counts}")
