"""Clients that vanish, stop in the middle of everything, or never read; ordinary ones beside them.

    a proxy's clients join the group, write and read -> the proxy freezes (a host that is gone: half
    of every connection stays open) or cuts (RST) -> the group and the server let go of them, the
    others notice nothing -> they come back through new connections and end what they had begun

All the while streams with all the credit there is wait for somebody who never reads them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from logstore.remote import RemoteConfig
from logstore.v1 import consume_service_pb2 as consume
from tests.server.rpc.stubs import Requests, Stubs
from tests.support.server_process import ServerProcess
from tests.support.tcp_proxy import Proxy
from tests.torture import asking
from tests.torture import traffic as clients
from tests.torture.canary import Canaries, Watched, memory_bytes
from tests.torture.checker import check_claims, check_log, check_ownership
from tests.torture.ledger import GroupLedger, OwnershipLedger
from tests.torture.report import Outcome
from tests.torture.traffic import Member, Traffic, Writer

TOPIC = "events"
PARTITIONS = 4
SESSION_SECONDS = 3.0
SERVER_OPTIONS = (
    "--set", "rpc.keepalive_time_ms=2000", "--set", "rpc.keepalive_timeout_ms=1000",
    "--set", "rpc.client_ping_interval_ms_min=500",
)  # fmt: skip
# A client finds out in 2 s that nobody answers.
RESTLESS = RemoteConfig(
    keepalive_time_ms=1_000, keepalive_timeout_ms=1_000, connect_timeout_ms=clients.CONNECT_MS
)
GONE_WRITERS = 3
SLOW_STREAMS = 20
CREDIT_BYTES = (1 << 31) - 1
SETTLED_SECONDS_MAX = 20.0
SLOW_STREAM_BYTES_MAX = 4 << 20  # of the server's memory: a message held and what gRPC buffers
GROWTH_MAX = 1.5  # of the server's memory from the first round to the last


class BadClientRun:
    """One server, what it serves well, and rounds of clients that behave badly."""

    def __init__(self, directory: Path, seed: int, say: Callable[[str], None]) -> None:
        self.outcome = Outcome("bad-clients")
        self._random = random.Random(seed)
        self._say = say
        self._directory = directory
        self._server = ServerProcess(
            directory / "data", *SERVER_OPTIONS, errors=directory / "server.log"
        )
        self._group = GroupLedger(PARTITIONS)
        self._ownership = OwnershipLedger()
        self._gone: list[Writer] = []
        self._memory: list[int] = []

    def run(self, rounds: int) -> Outcome:
        with self._server:
            with asking.connect(self._server.address) as store:
                store.create_topic(TOPIC, partitions=PARTITIONS)
            steady = self._member("steady", self._server.address)
            writers = [Writer(self._server.address, TOPIC, PARTITIONS, n) for n in range(2)]
            with Traffic(writers, [steady], self._group) as traffic:
                traffic.wait_for_records(1000, 60)
                with Canaries(self._server.address, self._directory) as canaries:
                    for number in range(rounds):
                        self._round(traffic, canaries, number)
                        self.outcome.add("rounds")
                    self._stay_slow(canaries)
                traffic.stop_writers()
                asking.wait_for_group(self._server.address, TOPIC, PARTITIONS, traffic)
                traffic.stop_members()
            self._check(traffic)
        return self.outcome

    def _member(self, name: str, address: str) -> Member:
        return Member(
            address, TOPIC, name, self._group, self._ownership, lambda: 0,
            polls_per_life=1 << 30, session_timeout=SESSION_SECONDS,
        )  # fmt: skip

    # --- clients that are gone --------------------------------------------------------------

    def _round(self, traffic: Traffic, canaries: Canaries, number: int) -> None:
        with Proxy(self._server.address) as proxy:
            members = [self._member(f"gone-{number}-{n}", proxy.address) for n in range(2)]
            first = 10 + number * GONE_WRITERS
            writers = [
                Writer(proxy.address, TOPIC, PARTITIONS, first + n) for n in range(GONE_WRITERS)
            ]
            self._gone.extend(writers)
            for client in (*members, *writers):
                client.config = RESTLESS
            with Traffic(writers, members, self._group) as gone:
                self._wait("a member owns nothing", lambda: self._all_own(members))
                gone.wait_for_records(500, 60)
                usual = canaries.watch(self._random.uniform(0.5, 1.0))
                how = ("freeze", "cut")[number % 2]
                self._go(proxy, how, members)
                begun = time.monotonic()
                self._wait("connections that are gone stay", lambda: not proxy.held())
                left = SESSION_SECONDS + 1.0 - (time.monotonic() - begun)
                self._compare(how, usual, canaries.watch(max(1.0, left)))
                gone.wait_for_records(300, 60)  # through new connections
            self._wait("the others' partitions have no owner", self._steady_owns_all)
        self._memory.append(memory_bytes(self._server.pid))
        traffic.raise_errors()

    def _all_own(self, members: list[Member]) -> bool:
        return all(self._ownership.owned_by(member.name) for member in members)

    def _steady_owns_all(self) -> bool:
        return len(self._ownership.owned_by("steady")) == PARTITIONS

    def _go(self, proxy: Proxy, how: str, members: list[Member]) -> None:
        self._ownership.stood_still(*(member.name for member in members))
        gone = proxy.freeze() if how == "freeze" else proxy.cut()
        self.outcome.add(f"connections to {how}", gone)

    def _wait(self, kind: str, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SETTLED_SECONDS_MAX
        while not is_so():
            if time.monotonic() > deadline:
                self.outcome.require(False, kind, f"after {SETTLED_SECONDS_MAX} s")
                return
            time.sleep(0.05)

    def _compare(self, what: str, usual: Watched, watched: Watched) -> None:
        self._say(f"{what}: {watched}, {memory_bytes(self._server.pid) >> 20} MiB")
        self.outcome.require(
            watched.is_unnoticed(usual), "an ordinary client notices", f"{watched}; before: {usual}"
        )

    # --- clients that never read ------------------------------------------------------------

    def _stay_slow(self, canaries: Canaries) -> None:
        before = memory_bytes(self._server.pid)
        usual = canaries.watch(1.0)
        stubs = [Stubs(self._server.address) for _ in range(SLOW_STREAMS)]
        try:
            streams: list[Any] = []
            for stub in stubs:
                positions = [
                    consume.Position(topic=TOPIC, partition=partition, offset=0)
                    for partition in range(PARTITIONS)
                ]
                asked = consume.ConsumeStreamRequest(
                    set_positions=positions, credit_bytes=CREDIT_BYTES
                )
                streams.append(stub.consume.ConsumeStream(Requests(asked)))
            watched = canaries.watch(2.0)
            grown = memory_bytes(self._server.pid) - before
            self._compare(f"{SLOW_STREAMS} streams that are not read", usual, watched)
            for stream in streams:
                stream.cancel()
        finally:
            for stub in stubs:
                stub.close()
        self.outcome.add("streams not read", SLOW_STREAMS)
        self.outcome.notes.append(f"{SLOW_STREAMS} streams not read: {grown >> 20} MiB more")
        self.outcome.require(
            grown <= SLOW_STREAMS * SLOW_STREAM_BYTES_MAX, "memory", f"{grown} bytes more"
        )

    # --- the end ----------------------------------------------------------------------------

    def _check(self, traffic: Traffic) -> None:
        everyone = Traffic([*traffic.writers, *self._gone], [], self._group)
        claims = asking.take_claims(self._server.address, TOPIC, PARTITIONS, everyone)
        stored = asking.read_all(self._server.address, TOPIC, PARTITIONS)
        violations = self.outcome.violations
        violations.extend(check_claims(claims, stored))
        violations.extend(check_log(everyone.ledgers, stored))
        violations.extend(self._group.violations)
        violations.extend(check_ownership(self._ownership))
        self.outcome.require(
            everyone.given_up == 0, "given up", f"{everyone.given_up} records were not stored"
        )
        first, last = self._memory[0], self._memory[-1]
        self.outcome.notes.append(
            f"memory {first >> 20} MiB after a round, {last >> 20} at the end"
        )
        self.outcome.require(last <= first * GROWTH_MAX, "memory", f"{self._memory}")
        self.outcome.add("records acknowledged", everyone.acknowledged)
