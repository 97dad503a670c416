"""Producers of a simulation: idempotent ones that retry, plain ones that do not."""

from __future__ import annotations

from dataclasses import dataclass, field

from logstore.api import Acks, Appended, ProducerIdentity
from logstore.errors import (
    DiskFullError,
    DuplicateSequenceError,
    LogStoreError,
    OutOfOrderSequenceError,
    StoreClosedError,
)
from logstore.pending import Pending
from logstore.record import encode_batch
from tests.simulator.history import (
    TOMBSTONE,
    Acknowledged,
    Place,
    Refused,
    Sent,
    SequenceGap,
    StoredBefore,
    is_tombstone,
    key_of,
)
from tests.simulator.world import GONE, World

IN_FLIGHT_MAX = 5
VALUE_BYTES = (0, 20, 100, 700, 2_500)
UNUSUAL_VALUE_BYTES = (0, 100, 5_000, 9_000, 12_000)
TOMBSTONES = 0.1  # the share of records without a value
ACK_LOST = 0.05  # the chance that an answer does not reach its producer
# Nothing was stored by the attempt that was answered so.
NOTHING_STORED = (DiskFullError, OutOfOrderSequenceError, StoreClosedError, *GONE)


class Numbers:
    """Of batches and records, unique in a history."""

    def __init__(self) -> None:
        self.batches = 0
        self.records = 0
        self.transactions = 0

    def values(self, world: World) -> tuple[bytes, ...]:
        values = []
        for _ in range(world.chance.choice((1, 1, 2, 4))):
            self.records += 1
            sizes = UNUSUAL_VALUE_BYTES if world.is_unusual else VALUE_BYTES
            filler = bytes([48 + self.records % 70]) * world.chance.choice(sizes)
            if world.chance.random() < TOMBSTONES:
                filler = TOMBSTONE
            world.records += 1
            values.append(b"r%09d" % self.records + filler)
        return tuple(values)


@dataclass(slots=True)
class Flight:
    """A batch on its way. `pending` None: it has to be sent (again)."""

    number: int
    values: tuple[bytes, ...]
    timestamp: int
    sequence: int
    pending: Pending[Appended] | None = None


@dataclass(slots=True)
class Lane:
    """What one producer sends to one partition."""

    identity: ProducerIdentity | None = None
    next_sequence: int = 0
    flights: list[Flight] = field(default_factory=list)


def send(
    world: World,
    producer: str,
    place: Place,
    flight: Flight,
    identity: ProducerIdentity | None,
    acks: Acks,
    *,
    transaction: int = 0,
) -> LogStoreError | None:
    """One attempt; its Pending is left in the flight."""
    fields = {}
    if identity is not None:
        fields = {
            "producer_id": identity.producer_id,
            "producer_epoch": identity.producer_epoch,
            "base_sequence": flight.sequence,
        }
    batch = encode_batch(
        [None if is_tombstone(value) else value for value in flight.values],
        [key_of(value) for value in flight.values],
        timestamps=flight.timestamp,
        headers=[(("id", value),) if is_tombstone(value) else () for value in flight.values],
        is_transactional=transaction > 0,
        **fields,  # type: ignore[arg-type]
    )
    world.history.add(
        Sent(flight.number, place, producer, flight.values, flight.timestamp, transaction)
    )
    pending, error = world.attempt(
        world.store.append, place.topic, place.partition, batch, acks=acks
    )
    if error is None and pending.error is not None:
        error = pending.error
        world.note_error(error)
    if error is not None:
        certain = isinstance(error, NOTHING_STORED)
        world.history.add(Refused(flight.number, error.reason, certain))
        return error
    flight.pending = pending
    return None


def note_acknowledged(world: World, flight: Flight, acks: Acks) -> None:
    assert flight.pending is not None
    stored = flight.pending.result(0)
    world.coverage["duplicate answered"] += stored.duplicate
    world.history.add(
        Acknowledged(flight.number, stored.base_offset, acks is Acks.ALL, stored.duplicate)
    )


class IdempotentProducer:
    """At most five batches in flight to a partition, retried in order until they are answered. It
    has an id for each partition, so that losing one's batches is no matter of the others."""

    def __init__(self, world: World, numbers: Numbers, name: str) -> None:
        self.name = name
        self._world = world
        self._numbers = numbers
        self._lanes: dict[Place, Lane] = {}

    def store_ended(self) -> None:
        """Answers that were on their way do not come any more."""
        for lane in self._lanes.values():
            for flight in lane.flights:
                flight.pending = None

    def act(self, place: Place) -> None:
        """Take answers, then send what has to be sent again, or something new."""
        world = self._world
        for gone in [other for other in self._lanes if not world.is_there(other)]:
            del self._lanes[gone]
        lane = self._lanes.setdefault(place, Lane())
        if lane.identity is None:
            lane.identity = world.attempt(world.store.init_producer).value
            if lane.identity is None:
                return
        self.collect(place)
        flight = next((each for each in lane.flights if each.pending is None), None)
        if flight is None:
            if len(lane.flights) == IN_FLIGHT_MAX:
                return
            flight = self._new_flight(lane)
        error = send(world, self.name, place, flight, lane.identity, Acks.ALL)
        if isinstance(error, OutOfOrderSequenceError):
            self._begin_again(place, lane)
        elif isinstance(error, DuplicateSequenceError):
            world.history.add(StoredBefore(flight.number, place, self.name))
            lane.flights.remove(flight)

    def retry_all(self) -> None:
        """Send again all that has to be."""
        for place, lane in list(self._lanes.items()):
            for _ in [flight for flight in lane.flights if flight.pending is None]:
                if self._world.is_there(place):
                    self.act(place)

    def collect(self, place: Place) -> None:
        """Answers that have come; some get lost on the way."""
        world = self._world
        lane = self._lanes.get(place)
        for flight in list(lane.flights) if lane is not None else ():
            if flight.pending is None or not flight.pending.done:
                continue
            if flight.pending.error is not None:
                world.note_error(flight.pending.error)
                world.history.add(Refused(flight.number, flight.pending.error.reason, False))
                flight.pending = None
            elif world.chance.random() < ACK_LOST:
                world.coverage["answer lost"] += 1
                flight.pending = None
            else:
                note_acknowledged(world, flight, Acks.ALL)
                assert lane is not None
                lane.flights.remove(flight)

    def _new_flight(self, lane: Lane) -> Flight:
        self._numbers.batches += 1
        values = self._numbers.values(self._world)
        now = self._world.clock.now_ms() + self._world.chance.randint(-50, 50)
        flight = Flight(self._numbers.batches, values, now, lane.next_sequence)
        lane.next_sequence += len(values)
        lane.flights.append(flight)
        return flight

    def _begin_again(self, place: Place, lane: Lane) -> None:
        """The store lost what came before: as another producer, with what it does not have."""
        self._world.history.add(SequenceGap(place, self.name))
        self._world.coverage["sequence gap"] += 1
        lane.identity = None
        lane.next_sequence = 0
        lane.flights = [flight for flight in lane.flights if flight.pending is None]
        for flight in lane.flights:
            flight.sequence = lane.next_sequence
            lane.next_sequence += len(flight.values)


class PlainProducer:
    """Sends once, with any acks, and takes no answer for a no."""

    def __init__(self, world: World, numbers: Numbers, name: str) -> None:
        self.name = name
        self._world = world
        self._numbers = numbers
        self._flights: list[Flight] = []

    def store_ended(self) -> None:
        self._flights.clear()

    def act(self, place: Place) -> None:
        world = self._world
        self.collect()
        self._numbers.batches += 1
        values = self._numbers.values(world)
        flight = Flight(self._numbers.batches, values, world.clock.now_ms(), -1)
        acks = world.chance.choice(list(Acks))
        if send(world, self.name, place, flight, None, acks) is not None:
            return
        if acks is Acks.ALL:
            self._flights.append(flight)
        elif acks is Acks.LEADER:
            note_acknowledged(world, flight, acks)

    def collect(self) -> None:
        for flight in list(self._flights):
            assert flight.pending is not None
            if flight.pending.done:
                self._flights.remove(flight)
                if flight.pending.error is None:
                    note_acknowledged(self._world, flight, Acks.ALL)
                else:
                    self._world.note_error(flight.pending.error)
