"""Transactional producers of a simulation: they write, commit offsets, and end, or are cut short.

A transactor takes no write again: what is in doubt is aborted, by asking for it or by taking its
transactional id anew. Only an end is asked for again, with the same outcome.
"""

from __future__ import annotations

from logstore.api import Acks, Appended, OffsetToCommit, ProducerIdentity
from logstore.errors import (
    InvalidTransactionStateError,
    LogStoreError,
    ProducerFencedError,
    UnknownTransactionalIdError,
)
from logstore.pending import Pending
from tests.simulator.history import (
    CommitRead,
    Committing,
    Place,
    Refused,
    Surprise,
    TransactionEnded,
    TransactionEnding,
)
from tests.simulator.producers import Flight, Numbers, note_acknowledged, send
from tests.simulator.world import World

READ_BYTES = 5_000
SUPERSEDED = (ProducerFencedError, UnknownTransactionalIdError, InvalidTransactionStateError)


class Transactor:
    """`transaction`: the number of the open one, 0 if none is. `asked`: the end it asked for and
    has no answer to."""

    def __init__(self, world: World, numbers: Numbers, name: str) -> None:
        self.name = name
        self.group = f"group-of-{name}"
        self._world = world
        self._numbers = numbers
        self._identity: ProducerIdentity | None = None
        self._sequences: dict[Place, int] = {}
        self._flights: list[Flight] = []
        self._transaction = 0
        self._asked: bool | None = None
        self._may_commit = False  # whatever was asked for since, it may have been committed

    def store_ended(self) -> None:
        """The next one that acts knows nothing but the id. Now and then it still asks for its end
        again."""
        self._flights.clear()
        if self._asked is None or self._world.chance.random() < 0.5:
            self._identity = None

    def act(self, place: Place) -> None:
        world = self._world
        if self._identity is None:
            self._take_over()
        elif self._asked is not None:
            self._end(commit=self._asked)
        elif not self._transaction or world.chance.random() < 0.6:
            self._write(place)
        elif world.chance.random() < 0.3:
            self._commit_offsets(place)
        elif world.chance.random() < 0.15:
            self._be_superseded()
        else:
            self._finish()

    def settle(self) -> None:
        """End what is open."""
        for _ in range(3):
            if self._identity is None:
                self._take_over()
            elif self._transaction:
                self._finish()

    # --- steps ----------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """What the id has open is aborted, unless its end was decided before."""
        identity, _ = self._world.attempt(self._world.store.init_producer, self.name)
        if identity is None:
            return
        if self._transaction and not self._may_commit:
            self._ended(committed=False)
        elif self._transaction:
            self._world.coverage["transaction in doubt"] += 1
        self._begin_anew(identity)

    def _begin_anew(self, identity: ProducerIdentity) -> None:
        self._identity = identity
        self._sequences.clear()
        self._flights.clear()
        self._transaction = 0
        self._asked = None
        self._may_commit = False

    def _write(self, place: Place) -> None:
        if not self._transaction:
            self._numbers.transactions += 1
            self._transaction = self._numbers.transactions
        self._numbers.batches += 1
        values = self._numbers.values(self._world)
        sequence = self._sequences.get(place, 0)
        now = self._world.clock.now_ms()
        flight = Flight(self._numbers.batches, values, now, sequence)
        error = send(
            self._world,
            self.name,
            place,
            flight,
            self._identity,
            Acks.ALL,
            transaction=self._transaction,
        )
        if error is None:
            self._sequences[place] = sequence + len(values)
            self._flights.append(flight)
        elif isinstance(error, SUPERSEDED):
            self._world.coverage["transaction outlived its timeout"] += 1
            self._identity = None
        else:
            self._abort()

    def _commit_offsets(self, place: Place) -> None:
        """Of what it has read of the partition since its group's last commit."""
        world = self._world
        found, error = world.attempt(world.store.committed_offsets, self.group, [place[::2]])
        if error is not None:
            return  # an open transaction, this one it may be, is about to move it
        world.history.add(CommitRead(self.group, place, found[0].offset))
        start = max(found[0].offset, 0)
        position = world.read(self.name, place, start, READ_BYTES, committed=True)
        if isinstance(position, LogStoreError):
            log = world.store._table.log(place.topic, place.partition)
            position = max(start, log.log_start_offset)
        if not world.is_there(place):
            return
        world.history.add(Committing(self.group, place, position, self._transaction))
        _, error = world.attempt(
            world.store.commit_offsets_in_transaction,
            self.name,
            self._identity,
            self.group,
            [OffsetToCommit(place.topic, place.partition, position)],
        )
        if error is not None:
            self._abort()

    def _be_superseded(self) -> None:
        """Another takes the id over; this one, which does not know, must not commit any more."""
        world = self._world
        zombie = self._identity
        self._take_over()
        if self._identity != zombie:
            world.coverage["producer superseded"] += 1
            _, error = world.attempt(world.store.end_transaction, self.name, zombie, commit=True)
            if error is None:
                world.history.add(Surprise(f"{self.name}: who was superseded has committed"))

    def _finish(self) -> None:
        """Commit if all writes are answered well, else abort."""
        world = self._world
        if any(not self._pending(flight).done for flight in self._flights):
            world.attempt(world.store.run_flush)
        failed = False
        for flight in self._flights:
            pending = self._pending(flight)
            if pending.done and pending.error is None:
                note_acknowledged(world, flight, Acks.ALL)
            else:
                failed = True
                world.history.add(Refused(flight.number, "in doubt", certain=False))
        self._flights.clear()
        self._end(commit=not failed and world.chance.random() < 0.7)

    @staticmethod
    def _pending(flight: Flight) -> Pending[Appended]:
        assert flight.pending is not None
        return flight.pending

    def _abort(self) -> None:
        self._flights.clear()
        self._end(commit=False)

    def _end(self, *, commit: bool) -> None:
        world = self._world
        if not self._transaction:
            return
        self._asked = commit
        self._may_commit |= commit
        world.history.add(TransactionEnding(self._transaction, commit))
        identity, error = world.attempt(
            world.store.end_transaction, self.name, self._identity, commit=commit
        )
        if error is None:
            self._ended(committed=commit)
            self._begin_anew(identity)
        elif isinstance(error, SUPERSEDED):
            self._identity = None
        elif not error.retriable:
            self._identity = None  # take the id over: what is not decided is aborted

    def _ended(self, *, committed: bool) -> None:
        outcome = "committed" if committed else "aborted"
        self._world.coverage[f"transaction {outcome}"] += 1
        self._world.history.add(TransactionEnded(self._transaction, committed))
