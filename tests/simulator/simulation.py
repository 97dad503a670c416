"""One seed, one history: a whole store under clients and trouble, in one thread.

The store runs on MemoryFileSystem and ManualClock with no driver: the simulation is the driver. The
seed decides everything; each history uses its own mixture of operations and faults, since some bugs
show only where something else is left out.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from logstore.api import TopicSpec
from logstore.config import GroupConfig, StoreConfig, TransactionConfig
from logstore.errors import LogStoreError
from logstore.log import PartitionLog
from logstore.store import LocalLogStore
from logstore.testing import MachineStoppedError
from tests.simulator import trouble
from tests.simulator.coverage import count_notes
from tests.simulator.groups import SESSION_MS, Group
from tests.simulator.history import (
    CacheLost,
    Ended,
    Forgotten,
    MayForget,
    Opened,
    Place,
    Settled,
    Surprise,
    Trouble,
)
from tests.simulator.producers import IdempotentProducer, Numbers, PlainProducer
from tests.simulator.transactors import Transactor
from tests.simulator.world import World

OPERATIONS_MIN = 200
CRASHES_MIN = 2
PARTITIONS_MIN = 3
OPENINGS_MAX = 25  # attempts in a row; each may be cut short by another crash
POWER_LOSS_AFTER = 0.2  # the chance that an opening is followed by one at once
REOPENED_AFTER = 0.15  # the chance, with each operation, once a partition refuses writes
ROOT = "data/store"
YEARS_MS = 10 * 365 * 24 * 3600 * 1000


class StoreIsUselessError(Exception):
    """The history ends here; it says why."""


class Simulation:
    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        chance = self.world.chance
        self._config = StoreConfig(
            open_segments_max=chance.choice((8, 50)),
            syncfs_threshold=chance.choice((1, 2, 4, 50, 50)),
            offsets_topic_partitions=chance.choice((1, 2)),
            group=GroupConfig(
                session_timeout_ms=SESSION_MS,
                offsets_retention_ms=YEARS_MS,  # the clock jumps by more than a day
            ),
            transaction=TransactionConfig(
                producer_retention_ms=YEARS_MS, transactional_id_retention_ms=YEARS_MS
            ),
        )
        self._ids = 0
        self._is_open = False
        self._is_closing = False
        numbers = Numbers()
        self._idempotent = [
            IdempotentProducer(self.world, numbers, f"p{number}") for number in range(3)
        ]
        self._plain = [PlainProducer(self.world, numbers, f"q{number}") for number in range(2)]
        self._transactors = [Transactor(self.world, numbers, f"t{number}") for number in range(2)]
        self._groups = [Group(self.world, "g", ("a", "b")), Group(self.world, "h", ("b", "c"))]
        self._readers: dict[Place, int] = {}
        self._operations: list[Callable[[], None]] = []
        self._weights: list[float] = []
        self._trouble_left = 0  # operations until it ends
        self._choose_mixture()

    def _choose_mixture(self) -> None:
        chance = self.world.chance
        table: list[tuple[Callable[[], None], float, bool]] = [
            # what, weight, whether a history may do without
            (self._produce, 45, False),
            (self._transact, 25, True),
            (self._flush, 12, False),
            (self._let_time_pass, 6, False),
            (self._read, 10, True),
            (self._group_step, 20, True),
            (self._look, 2, False),
            (self._delete_records, 2, True),
            (self._alter_retention, 1.5, True),
            (self._change_topics, 2, True),
            (self._jump_clock, 1, True),
            (self._fill_disk, 2, True),
            (self._inject, 4, True),
            (self._arm_stop, 1.5, True),
            (self._close_and_open, 0.6, True),
            (self._kill, 0.6, True),
            (self._lose_power, 0.6, True),
        ]
        for operation, weight, may_miss in table:
            if may_miss and chance.random() < 0.25:
                continue
            self._operations.append(operation)
            self._weights.append(weight * chance.choice((0.3, 1, 1, 2)))

    # --- the run --------------------------------------------------------------------------------

    def run(self) -> World:
        try:
            self._run()
        except StoreIsUselessError:
            pass
        except Exception as error:  # what the store answered makes no sense
            self.world.surprise("the simulation", error)
        return self.world

    def _run(self) -> None:
        world = self.world
        self._open()
        self._make_topics()
        count = world.chance.randint(OPERATIONS_MIN, OPERATIONS_MIN + 40)
        crashes = sorted(world.chance.sample(range(30, count), CRASHES_MIN))
        history = world.history
        while history.operations < count:
            history.operations += 1
            operation = world.chance.choices(self._operations, self._weights)[0]
            if crashes and history.operations >= crashes[0]:
                crashes.pop(0)
                operation = world.chance.choice((self._kill, self._lose_power))
            self._do(operation)
        self._do(self._finish)

    def _do(self, operation: Callable[[], None]) -> None:
        """An operation; it may be cut short by a stop that was armed before."""
        try:
            operation()
        except MachineStoppedError:
            self._crash(self.world.chance.choice(("kill", "power_loss")))
        if self.world.has_failed and self.world.chance.random() < REOPENED_AFTER:
            self._do(self.world.chance.choice((self._close_and_open, self._kill)))
        if self._trouble_left:
            self._trouble_left -= 1
            if not self._trouble_left:
                trouble.end_all(self.world)

    def _finish(self) -> None:
        """No more trouble: everything that was promised is there, after a last power loss too."""
        trouble.end_all(self.world)
        self.world.fs.stop_after(1 << 60)
        self._reopen_if_failed()
        for _ in range(2):
            for producer in self._idempotent:
                producer.retry_all()
            self._flush()
        for transactor in self._transactors:
            transactor.settle()
        for group in self._groups:
            group.settle()
        self._crash("power_loss")
        self._crash("close")
        for place in self.world.places.values():
            self.world.scan(place, committed=True)
            log = self.world.store._table.log(place.topic, place.partition)
            settled = Settled(place, log.last_stable_offset, log.high_watermark)
            self.world.history.add(settled)

    def _reopen_if_failed(self) -> None:
        if self.world.is_troubled:
            self._crash("close")

    def _make_topics(self) -> None:
        for name in "abc":  # one partition each at least
            self._create(name)

    # --- what clients do ------------------------------------------------------------------------

    def _place(self) -> Place | None:
        places = list(self.world.places.values())
        return self.world.chance.choice(places) if places else None

    def _produce(self) -> None:
        place = self._place()
        if place is None:
            return
        chance = self.world.chance
        if chance.random() < 0.25:
            chance.choice(self._plain).act(place)
            return
        producer = chance.choice(self._idempotent)
        for _ in range(chance.choice((1, 1, 2, 3))):
            producer.act(place)

    def _transact(self) -> None:
        transactor = self.world.chance.choice(self._transactors)
        for _ in range(self.world.chance.choice((1, 2, 4))):
            place = self._place()
            if place is not None:
                transactor.act(place)

    def _flush(self) -> None:
        self.world.attempt(self.world.store.run_flush)
        for producer in self._idempotent:
            for place in self.world.places.values():
                producer.collect(place)
        for plain in self._plain:
            plain.collect()

    def _read(self) -> None:
        place = self._place()
        if place is None:
            return
        world = self.world
        log = world.store._table.log(place.topic, place.partition)
        start = self._readers.get(place, -1)
        if not log.log_start_offset <= start <= log.high_watermark:
            start = world.chance.randint(log.log_start_offset, log.high_watermark)
        committed = world.chance.random() < 0.5
        found = world.read("reader", place, start, 8_000, committed=committed)
        self._readers[place] = -1 if isinstance(found, LogStoreError) else found

    def _group_step(self) -> None:
        group = self.world.chance.choice(self._groups)
        for _ in range(self.world.chance.choice((1, 3, 6))):
            group.act()

    def _look(self) -> None:
        self.world.look_at_everything()

    def _delete_records(self) -> None:
        place = self._place()
        if place is None:
            return
        world = self.world
        log = world.store._table.log(place.topic, place.partition)
        before = world.chance.randint(log.log_start_offset, log.high_watermark)
        world.history.add(MayForget(place, before))
        start, error = world.attempt(
            world.store.delete_records, place.topic, place.partition, before_offset=before
        )
        if error is None:
            world.history.add(Forgotten(place, start))
        world.note_bounds()

    # --- topics ---------------------------------------------------------------------------------

    def _create(self, name: str) -> None:
        chance = self.world.chance
        configs = {
            "durability": chance.choice(("fsync", "fsync", "page_cache")),
            "segment_bytes": str((1 << 20) if self.world.is_unusual else (16 << 10)),
            "index_interval_bytes": str(chance.choice((64, 300, 4096))),
        }
        if chance.random() < 0.2:
            configs["segment_ms"] = "20000"
        if chance.random() < 0.2:
            configs["retention_bytes"] = "40000"
        if chance.random() < 0.35:
            configs["cleanup_policy"] = chance.choice(("compact", "compact", "compact,delete"))
            configs["min_cleanable_dirty_ratio"] = "0.1"
            configs["delete_retention_ms"] = chance.choice(("0", str(YEARS_MS)))
        spec = TopicSpec(name, chance.choice((1, 1, 2)), configs)
        self.world.attempt(self.world.store.create_topic, spec)
        self.world.refresh()

    def _change_topics(self) -> None:
        world = self.world
        topics = sorted({place.topic for place in world.places.values()})
        name = world.chance.choice("abc")
        if name not in topics:
            self._create(name)
        elif name == "c" and world.chance.random() < 0.7:
            world.attempt(world.store.delete_topic, name)
        elif len(world.places) < 6:
            count = sum(place.topic == name for place in world.places.values())
            world.attempt(world.store.add_partitions, name, total=count + 1)
        world.refresh()

    def _alter_retention(self) -> None:
        world = self.world
        name = world.chance.choice("abc")
        if world.chance.random() < 0.5:
            keep = str(world.chance.randint(0, 60_000))
            world.attempt(world.store.alter_topic, name, set_configs={"retention_bytes": keep})
        else:
            reset = ["retention_bytes", "retention_ms"]
            world.attempt(world.store.alter_topic, name, set_configs={}, reset_configs=reset)
        self._maintain()

    def _maintain(self) -> None:
        world = self.world
        for info in world.store.describe_topics():
            if info.configs["retention_bytes"] != "-1" or info.configs["retention_ms"] != "-1":
                for part in info.partitions:
                    place = Place(info.name, str(info.topic_id), part.partition)
                    world.history.add(MayForget(place, part.log_end_offset))
        world.clock.advance(31)
        world.store.tick()
        before = world.store._cleaner.cleaned
        for _ in range(4):  # steps of a cleaning
            world.attempt(world.store.run_maintenance)
        world.coverage["partition compacted"] += world.store._cleaner.cleaned - before
        world.note_bounds()

    # --- time -----------------------------------------------------------------------------------

    def _let_time_pass(self) -> None:
        world = self.world
        if world.chance.random() < 0.25:
            self._maintain()
        else:
            world.clock.advance(world.chance.choice((0.01, 0.2, 1, 4)))
            world.attempt(world.store.tick)

    def _jump_clock(self) -> None:
        hours = self.world.chance.choice((-30, -1, 1, 30))
        self.world.clock.set_now_ms(self.world.clock.now_ms() + hours * 3_600_000)
        self.world.coverage["clock jump"] += 1

    # --- trouble --------------------------------------------------------------------------------

    def _inject(self) -> None:
        trouble.inject_one(self.world)
        if self.world.is_unusual:  # some faults are of calls that only this makes
            self._change_topics()
        self._trouble_left = self.world.chance.choice((1, 3, 10))

    def _fill_disk(self) -> None:
        trouble.fill_disk(self.world)
        self._trouble_left = self.world.chance.choice((3, 10))

    def _arm_stop(self) -> None:
        self.world.fs.stop_after(self.world.chance.choice((0, 1, 2, 3, 5, 8, 12, 20, 40)))
        self.world.history.add(Trouble("stops soon"))

    def _close_and_open(self) -> None:
        self._crash("close")

    def _kill(self) -> None:
        self._crash("kill")

    def _lose_power(self) -> None:
        self._crash("power_loss")

    # --- ends and openings ----------------------------------------------------------------------

    def _crash(self, kind: str) -> None:
        """The store ends in this way, and is opened again."""
        self._end(kind)
        for _ in range(OPENINGS_MAX):
            if self._try_to_open():
                self._opened()
                if kind != "power_loss" and self.world.chance.random() < POWER_LOSS_AFTER:
                    self._crash("power_loss")
                return
        self.world.history.add(Surprise("the store cannot be opened"))
        raise StoreIsUselessError

    def _end(self, kind: str) -> None:
        world = self.world
        world.note_bounds()
        is_closing = kind == "close"
        if is_closing:
            try:
                world.attempt(world.store.close)
            except MachineStoppedError:
                kind = world.chance.choice(("kill", "power_loss"))
        self._ended(kind, is_open=not is_closing)

    def _ended(self, kind: str, *, is_open: bool) -> None:
        world = self.world
        if kind == "power_loss":
            world.fs.power_loss()
        else:
            world.fs.kill()  # after a close: what is still open is not used any more
        world.fs.capacity_bytes = None
        self._trouble_left = 0
        world.coverage[f"ended by {kind}"] += 1
        world.history.crashes += kind != "close"
        world.history.add(Ended(kind, is_open))
        if world.chance.random() < 0.1:
            world.fs.drop_caches()
            world.history.add(CacheLost())
            world.coverage["cache lost"] += 1
        for idempotent in self._idempotent:
            idempotent.store_ended()
        for plain in self._plain:
            plain.store_ended()
        for group in self._groups:
            group.store_ended()
        for transactor in self._transactors:
            transactor.store_ended()

    def _try_to_open(self) -> bool:
        """Now and then it fails, or is cut short; whether it is open."""
        world = self.world
        world.is_troubled = trouble.is_untold(world)
        world.has_failed = False
        if world.chance.random() < 0.15:
            world.fs.stop_after(world.chance.randint(0, 60))
        elif world.chance.random() < 0.1:
            trouble.inject_one(world)
        try:
            self._open()
        except MachineStoppedError:
            world.coverage["stopped while opening"] += 1
            self._ended(world.chance.choice(("kill", "power_loss")), is_open=False)
            return False
        except (LogStoreError, OSError) as error:
            if not world.is_troubled:
                world.surprise("open", error)
            world.coverage["opening failed"] += 1
            self._ended("kill", is_open=False)
            return False
        trouble.end_all(world)
        world.fs.stop_after(1 << 60)
        unopened = [log for log in world.store._table.all_logs() if log.error is not None]
        if unopened:
            self._close_half_open(unopened[0])
        return not unopened

    def _close_half_open(self, log: PartitionLog) -> None:
        """A partition could not be opened, the rest is served: close, and try again."""
        world = self.world
        world.coverage["partition not opened"] += 1
        if not world.is_troubled:
            world.history.add(Surprise(f"{log.topic}-{log.partition} is not served: {log.error}"))
        world.attempt(world.store.close)
        self._ended("close", is_open=False)

    def _open(self) -> None:
        world = self.world
        world.store = LocalLogStore.open(
            ROOT, config=self._config, fs=world.fs, clock=world.clock, new_id=self._new_id
        )
        world.life += 1

    def _new_id(self) -> uuid.UUID:
        self._ids += 1
        return uuid.UUID(int=self._ids << 96 | self.world.history.seed & 0xFFFFFFFF)

    def _opened(self) -> None:
        world = self.world
        notes = world.store.recovery_notes
        world.history.add(Opened(tuple(notes)))
        count_notes(notes, world.coverage)
        world.refresh()
        world.look_at_everything()
        for group in self._groups:
            group.check_committed()
        for transactor in self._transactors:
            world.note_committed(transactor.group)


def simulate(seed: int) -> World:
    return Simulation(seed).run()
