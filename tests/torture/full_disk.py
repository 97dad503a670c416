"""A real file system that fills up under traffic, again and again.

    write until refused -> while it is full: read, join, commit -> space returns -> writing resumes
        ^                                                                              |
        +-------- records that the group has committed are deleted, ballast put back --+

Space returns by a file removed (somebody else's), by delete_records, or after a SIGKILL and a
start on the full disk. Nobody tells the writers or the server; they find out.

The source is deleted once it is copied, and to be copied takes room. So that a slow machine does
not end with a disk full of what is still to be copied, from which nothing can go: the writers are
at most LAG_RECORDS_MAX ahead of the copies, and the disk is filled again when those are there.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from logstore.errors import DiskFullError, LogStoreError
from logstore.record import encode_batch
from tests.torture import asking, transforms
from tests.torture import traffic as clients
from tests.torture.checker import Stored, check_claims, check_log, check_ownership
from tests.torture.client_kinds import GRPC, ClientKind
from tests.torture.ledger import GroupLedger, OwnershipLedger, WriterLedger, make_value
from tests.torture.report import Outcome
from tests.torture.small_disk import CannotMount, SmallDisk
from tests.torture.traffic import Traffic
from tests.torture.transforms import check_copies

TOPIC = "events"
COPIES = "copies"
PARTITIONS = 2
MIB = 1 << 20
DISK_BYTES = 16 * MIB
BALLAST_BYTES = 4 * MIB
SEGMENT_BYTES = MIB // 2
# A segment's allocation ahead for each partition that is written.
ROOM_BYTES = 2 * PARTITIONS * SEGMENT_BYTES
CONFIGS = {"segment_bytes": str(SEGMENT_BYTES)}
PROBE = 90  # its number as a writer
PROBE_BYTES, VALUE_BYTES_MAX = 3000, 4000
WRITE_PAUSE = 0.05  # seconds
LAG_RECORDS_MAX = 600  # 1.2 MB
CATCH_UP_SECONDS_MAX = 120.0
FILL_SECONDS_MAX = 60.0
RESUMED_RECORDS = 100
RESUME_SECONDS_MAX = 20.0
WAYS = ("ballast", "delete_records", "restart")


class FullDiskRun:
    """One server on one small file system."""

    def __init__(
        self,
        directory: Path,
        kind: str,
        seed: int,
        outcome: Outcome,
        say: Callable[[str], None],
        clients_of: ClientKind = GRPC,
    ) -> None:
        self._clients = clients_of
        self.outcome = outcome
        self._kind = kind
        self._seed = seed
        self._random = random.Random(seed)
        self._say = say
        self._runs = 0
        self._disk = SmallDisk(kind, directory, DISK_BYTES)
        self._ballast = self._disk.path / "ballast"
        self._errors = directory / f"{kind}-server.log"
        self._server = clients_of.server(self._disk.path / "data", errors=self._errors)
        self._group = GroupLedger(PARTITIONS)
        self._ownership = OwnershipLedger()
        self._probe = WriterLedger(PROBE)
        self._source = Stored(PARTITIONS)  # all that was ever found, also what was deleted since
        self._copies = Stored(PARTITIONS)

    def run(self, cycles: int) -> None:
        """Raises CannotMount."""
        with self._disk:
            self._put_ballast()
            with self._server:
                with asking.connect(self._server.address) as store:
                    for topic in (TOPIC, COPIES):
                        store.create_topic(topic, partitions=PARTITIONS, configs=CONFIGS)
                with self._traffic() as traffic:
                    for number in range(cycles):
                        self._cycle(traffic, WAYS[number % len(WAYS)])
                        self.outcome.add("full-disk cycles")
                    self._ballast.unlink()
                    traffic.stop_writers()
                    address = self._server.address
                    for group in (clients.GROUP, transforms.GROUP):
                        asking.wait_for_group(address, TOPIC, PARTITIONS, traffic, group)
                    traffic.stop_members()
                self._check(traffic, "at the end")
            self.outcome.violations.extend(self._group.violations)
            self.outcome.violations.extend(check_ownership(self._ownership))
            self.outcome.require(
                traffic.given_up == 0, "given up", f"{traffic.given_up} records on {self._kind}"
            )
            self.outcome.add("records acknowledged", traffic.acknowledged)
            counts = self._transformer.counts
            self.outcome.add("transactions", counts["transactions"])
            self.outcome.notes.append(f"{self._kind}: transactions ended by {dict(counts)}")

    def _traffic(self) -> Traffic:
        kind, address = self._clients, self._clients.address(self._server)
        writers = [
            kind.writer(
                address, TOPIC, PARTITIONS, number, value_bytes_max=VALUE_BYTES_MAX,
                pause=WRITE_PAUSE, is_held=self._is_ahead,
            )
            for number in range(2)
        ]  # fmt: skip
        self._ledgers = [self._probe, *(writer.ledger for writer in writers)]
        member = kind.member(
            address, TOPIC, "member", self._group, self._ownership, lambda: self._runs,
            commit_seconds=1.0,
        )  # fmt: skip
        self._transformer = kind.transformer(address, TOPIC, COPIES, 0, self._seed)
        return Traffic(writers, [member, self._transformer], self._group)

    def _is_ahead(self) -> bool:
        sent = sum(len(ledger.places) for ledger in self._ledgers)
        return sent - sum(list(self._transformer.copied.values())) > LAG_RECORDS_MAX

    # --- one cycle --------------------------------------------------------------------------

    def _cycle(self, traffic: Traffic, way: str) -> None:
        refusal = self._fill(traffic)
        self.outcome.require(
            refusal.retriable and "no space" in refusal.message,
            "unclear refusal",
            f"{refusal.reason}: {refusal.message}",
        )
        stored = self._check(traffic, f"full ({way})")
        self._read_in_a_new_group(traffic)
        self._make_room(way)
        took = traffic.wait_for_records(RESUMED_RECORDS, RESUME_SECONDS_MAX)
        free = f"{self._kind}: {self._disk.free_bytes()} bytes free"
        self.outcome.require(took is not None, "writing did not resume", free)
        self._say(
            f"{self._kind}: full at {stored} records; {way}; writes again after {took or -1:.1f} s"
        )
        self._catch_up(traffic, way)
        self._put_ballast()

    def _catch_up(self, traffic: Traffic, way: str) -> None:
        """Until all but the last is copied, and what can go is gone."""
        deadline = time.monotonic() + CATCH_UP_SECONDS_MAX
        while True:
            is_behind = self._is_ahead()
            self._check(traffic, f"after {way}")
            self._shrink()
            if not is_behind and self._disk.free_bytes() > ROOM_BYTES:
                return
            if time.monotonic() > deadline:
                free = self._disk.free_bytes()
                raise AssertionError(f"{free} bytes free; no room is made\n{traffic.states()}")

    def _fill(self, traffic: Traffic) -> LogStoreError:
        """Until an append is refused; returns the refusal."""
        deadline = time.monotonic() + FILL_SECONDS_MAX
        with asking.connect(self._server.address) as store:
            while time.monotonic() < deadline:
                traffic.raise_errors()
                is_ahead = self._is_ahead()
                if is_ahead and self._disk.free_bytes() > ROOM_BYTES:
                    time.sleep(0.02)  # the copies come first
                    continue
                number = self._probe.sent()
                batch = encode_batch([make_value(PROBE, number, PROBE_BYTES)])
                try:
                    stored = store.log_store.append(TOPIC, number % PARTITIONS, batch).result(30)
                except DiskFullError as error:
                    self._probe.refused(number)
                    return error
                self._probe.stored(number, number % PARTITIONS, stored.base_offset)
                if not is_ahead:  # else the copies wait for room, and the writers for the copies
                    time.sleep(0.02)
        raise AssertionError(
            f"{self._kind} is not full after {FILL_SECONDS_MAX} s; "
            f"{self._disk.free_bytes()} bytes are free"
        )

    def _check(self, traffic: Traffic, when: str) -> int:
        address = self._server.address
        writers = Traffic([*traffic.writers], [], self._group)
        claims = asking.take_claims(address, TOPIC, PARTITIONS, writers)
        claims.places[PROBE] = self._probe.places[:]
        copied = asking.committed_offsets(address, TOPIC, PARTITIONS, transforms.GROUP)
        # What is behind an open transaction stays unread: on a full disk it cannot end.
        copies = asking.read_all(address, COPIES, PARTITIONS, to_the_end=False)
        stored = asking.read_all(address, TOPIC, PARTITIONS)
        violations = check_claims(claims, stored)
        violations += check_log([*traffic.ledgers, self._probe], stored)
        violations += self._copies.merge(copies) + self._source.merge(stored)
        violations += check_copies(self._copies, self._source, copied)
        self.outcome.violations.extend(violations)
        self.outcome.add("full reads")
        if violations:
            self._say(f"{self._kind}, {when}: {len(violations)} violations")
        return stored.records

    def _read_in_a_new_group(self, traffic: Traffic) -> None:
        """A group nobody knows yet can join and read although nothing can be written."""
        with (
            asking.connect(self._server.address) as store,
            store.consumer(
                TOPIC,
                group=f"late-{self._random.randrange(1 << 30)}",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
            ) as consumer,
        ):
            deadline = time.monotonic() + 10
            error = "nothing came"
            while time.monotonic() < deadline:
                try:
                    if consumer.poll(1.0):
                        return
                except LogStoreError as failure:
                    error = f"{failure.reason}: {failure.message}"
        self.outcome.require(False, "group cannot read", f"{self._kind}: {error}")

    # --- space ------------------------------------------------------------------------------

    def _make_room(self, way: str) -> None:
        if way == "delete_records" and self._shrink():
            self.outcome.add("disks freed by delete_records")
            return
        if way == "restart" and not self._restart_on_the_full_disk():
            self._ballast.unlink()
            self._server.start()
            return
        self._ballast.unlink()

    def _restart_on_the_full_disk(self) -> bool:
        """Whether it starts. Recovery has to raise the leader epoch durably before it serves, which
        takes a block: where there is not even one, the start is refused, and says so."""
        self._server.kill()
        self._runs += 1
        told = self._errors.stat().st_size
        try:
            self._server.start()
        except AssertionError:
            said = self._errors.read_text()[told:]
            clear = "no space is left" in said and "Traceback" not in said
            self.outcome.require(clear, "unclear refusal to start", said[-500:])
            self.outcome.add("starts refused on a full disk")
            return False
        self.outcome.add("restarts on a full disk")
        return True

    def _shrink(self) -> bool:
        """Delete what was checked, of the source only what both groups have committed. Whether that
        made room enough: on a full disk it takes whole segments, and there may be few."""
        address = self._server.address
        before = self._disk.free_bytes()
        committed = [
            asking.committed_offsets(address, TOPIC, PARTITIONS, group)
            for group in (clients.GROUP, transforms.GROUP)
        ]
        with asking.connect(address) as store:
            for partition in range(PARTITIONS):
                checked = len(self._source.identities[partition])
                done = min(checked, *(offsets[partition] for offsets in committed))
                copied = len(self._copies.identities[partition])
                for topic, end in ((TOPIC, done), (COPIES, copied)):
                    with contextlib.suppress(DiskFullError):
                        store.delete_records(topic, partition, before_offset=end)
        return self._disk.free_bytes() > before + ROOM_BYTES

    def _put_ballast(self) -> None:
        """Half of what is free, up to BALLAST_BYTES."""
        with open(self._ballast, "wb") as ballast:
            size = min(BALLAST_BYTES, self._disk.free_bytes() // 2)
            if size > 0:
                os.posix_fallocate(ballast.fileno(), 0, size)


def run(
    directory: Path,
    seed: int,
    cycles: int,
    say: Callable[[str], None],
    clients_of: ClientKind = GRPC,
) -> Outcome:
    """Half of the cycles on tmpfs, half on ext4."""
    outcome = Outcome(clients_of.part("full-disk"))
    refusals = []
    for kind, share in (("tmpfs", (cycles + 1) // 2), ("ext4", cycles // 2)):
        try:
            FullDiskRun(directory, kind, seed, outcome, say, clients_of).run(share)
        except CannotMount as error:
            refusals.append(str(error))
            outcome.notes.append(f"no {kind} here: {error}")
    if len(refusals) == 2:
        outcome.skipped = "; ".join(refusals)
    return outcome
