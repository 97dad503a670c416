"""How a group's partitions are divided among its members: pure functions, deterministic.

An assignor takes the members' topics (sorted by member id), the partition counts and the present
assignment, and returns for each member the partitions it should own. Every partition of a topic
that somebody reads is given to exactly one member that reads the topic.
"""

from __future__ import annotations

import bisect
import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from logstore.api import TopicPartition
from logstore.errors import UnknownAssignorError

Topics = Mapping[str, frozenset[str]]  # member id -> the topics it reads
Counts = Mapping[str, int]  # topic -> its partitions
Assignment = dict[str, set[TopicPartition]]
Assignor = Callable[[Topics, Counts, Mapping[str, set[TopicPartition]]], Assignment]


def _readers(topics: Topics) -> dict[str, list[str]]:
    """topic -> the members that read it, sorted."""
    readers: dict[str, list[str]] = defaultdict(list)
    for member in sorted(topics):
        for topic in topics[member]:
            readers[topic].append(member)
    return readers


def assign_range(
    topics: Topics, counts: Counts, _present: Mapping[str, set[TopicPartition]]
) -> Assignment:
    """Each topic by itself, in runs of neighbours: partitions of the same number of topics with
    the same readers come together. The first members get one more where it does not divide."""
    assignment: Assignment = {member: set() for member in topics}
    for topic, members in _readers(topics).items():
        share, extra = divmod(counts.get(topic, 0), len(members))
        start = 0
        for index, member in enumerate(members):
            end = start + share + (index < extra)
            assignment[member].update(TopicPartition(topic, p) for p in range(start, end))
            start = end
    return assignment


def assign_round_robin(
    topics: Topics, counts: Counts, _present: Mapping[str, set[TopicPartition]]
) -> Assignment:
    """All partitions in a row, dealt to the members in turn, skipping those that do not read."""
    assignment: Assignment = {member: set() for member in topics}
    members = sorted(topics)
    turn = 0
    for topic in sorted(_readers(topics)):
        for partition in range(counts.get(topic, 0)):
            while topic not in topics[members[turn % len(members)]]:
                turn += 1
            assignment[members[turn % len(members)]].add(TopicPartition(topic, partition))
            turn += 1
    return assignment


def assign_sticky(
    topics: Topics, counts: Counts, present: Mapping[str, set[TopicPartition]]
) -> Assignment:
    """As even as the subscriptions allow, moving as little as possible from the present owners.

    What members have and may keep stays; the rest goes to the emptiest readers; then partitions
    move from a fuller to an emptier reader as long as that evens the two out.
    """
    readers = _readers(topics)
    assignment: Assignment = {member: set() for member in topics}
    free: list[TopicPartition] = []
    owner = {
        part: member
        for member in sorted(present, reverse=True)
        for part in present[member]
        if member in topics and part.topic in topics[member]
    }
    for topic in sorted(readers):
        for partition in range(counts.get(topic, 0)):
            part = TopicPartition(topic, partition)
            member = owner.get(part)
            if member is None:
                free.append(part)
            else:
                assignment[member].add(part)
    load = _Load(assignment, readers)
    # Partitions that few can read go first, so that they do not overload a member later.
    for part in sorted(free, key=lambda part: (len(readers[part.topic]), part)):
        assignment[load.emptiest_reader(part.topic)].add(part)
    _even_out(assignment, load)
    return assignment


class _Load:
    """Who of a topic's readers has fewest partitions, as the assignment changes.

    One heap of (count, member) for each set of readers. A count in it may be too low, for then it
    is mended when it comes up; so who loses a partition has to be told by `lost_one`.
    """

    def __init__(self, assignment: Assignment, readers: Mapping[str, list[str]]) -> None:
        self._assignment = assignment
        heaps: dict[tuple[str, ...], list[tuple[int, str]]] = {}
        self._heap_of: dict[str, list[tuple[int, str]]] = {}
        for topic, members in readers.items():
            key = tuple(members)
            if key not in heaps:
                heaps[key] = sorted((len(assignment[member]), member) for member in members)
            self._heap_of[topic] = heaps[key]
        self._heaps_with: dict[str, list[list[tuple[int, str]]]] = defaultdict(list)
        for key, heap in heaps.items():
            for member in key:
                self._heaps_with[member].append(heap)

    def emptiest_reader(self, topic: str) -> str:
        """The first by name of equals."""
        heap = self._heap_of[topic]
        while True:
            count, member = heap[0]
            present = len(self._assignment[member])
            if count == present:
                return member
            heapq.heapreplace(heap, (present, member))

    def lost_one(self, member: str) -> None:
        for heap in self._heaps_with[member]:
            heapq.heappush(heap, (len(self._assignment[member]), member))


def _even_out(assignment: Assignment, load: _Load) -> None:
    """Move one partition at a time from the fullest member that can give to one that is emptier
    by two or more. Ends: each move lowers the sum of the squares of the counts."""
    held = {member: _by_topic(owned) for member, owned in assignment.items()}
    while _unevenness(assignment) > 1:
        for giver in sorted(assignment, key=lambda member: (-len(assignment[member]), member)):
            move = _best_move(len(assignment[giver]), held[giver], assignment, load)
            if move is not None:
                topic, taker = move
                partition = held[giver][topic].pop()
                if not held[giver][topic]:
                    del held[giver][topic]
                bisect.insort(held[taker].setdefault(topic, []), partition)
                assignment[giver].remove(TopicPartition(topic, partition))
                assignment[taker].add(TopicPartition(topic, partition))
                load.lost_one(giver)
                break
        else:
            return


def _by_topic(owned: set[TopicPartition]) -> dict[str, list[int]]:
    """topic -> partitions, both in their order."""
    found: dict[str, list[int]] = {}
    for topic, partition in sorted(owned):
        found.setdefault(topic, []).append(partition)
    return found


def _unevenness(assignment: Assignment) -> int:
    sizes = [len(owned) for owned in assignment.values()]
    return max(sizes, default=0) - min(sizes, default=0)


def _best_move(
    giver_size: int, topics: Iterable[str], assignment: Assignment, load: _Load
) -> tuple[str, str] | None:
    """The topic to give of, and to whom; None when nobody who reads one is emptier by two."""
    takers = ((load.emptiest_reader(topic), topic) for topic in topics)
    best = min(((len(assignment[taker]), taker, topic) for taker, topic in takers), default=None)
    if best is None or best[0] + 2 > giver_size:
        return None
    _, taker, topic = best
    return topic, taker


ASSIGNORS: dict[str, Assignor] = {
    "sticky": assign_sticky,
    "range": assign_range,
    "roundrobin": assign_round_robin,
    "uniform": assign_sticky,  # Kafka's name for it
}
DEFAULT_ASSIGNOR = "sticky"


def find_assignor(name: str) -> Assignor:
    """Raises UnknownAssignorError, which names the known ones."""
    assignor = ASSIGNORS.get(name)
    if assignor is None:
        raise UnknownAssignorError(
            f"there is no assignor {name!r}; the known ones are {', '.join(sorted(ASSIGNORS))}",
            assignor=name,
        )
    return assignor
