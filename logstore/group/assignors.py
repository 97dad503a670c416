"""How a group's partitions are divided among its members: pure functions, deterministic.

An assignor takes the members' topics (sorted by member id), the partition counts and the present
assignment, and returns for each member the partitions it should own. Every partition of a topic
that somebody reads is given to exactly one member that reads the topic.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

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
    # Partitions that few can read go first, so that they do not overload a member later.
    for part in sorted(free, key=lambda part: (len(readers[part.topic]), part)):
        emptiest = min(readers[part.topic], key=lambda member: (len(assignment[member]), member))
        assignment[emptiest].add(part)
    _even_out(assignment, readers)
    return assignment


def _even_out(assignment: Assignment, readers: Mapping[str, list[str]]) -> None:
    """Move one partition at a time from the fullest member that can give to one that is emptier
    by two or more. Ends: each move lowers the sum of the squares of the counts."""
    while True:
        for giver in sorted(assignment, key=lambda member: (-len(assignment[member]), member)):
            move = _best_move(giver, assignment, readers)
            if move is not None:
                part, taker = move
                assignment[giver].remove(part)
                assignment[taker].add(part)
                break
        else:
            return


def _best_move(
    giver: str, assignment: Assignment, readers: Mapping[str, list[str]]
) -> tuple[TopicPartition, str] | None:
    best: tuple[int, str, str] | None = None
    for topic in sorted({part.topic for part in assignment[giver]}):
        taker = min(readers[topic], key=lambda member: (len(assignment[member]), member))
        candidate = (len(assignment[taker]), taker, topic)
        if best is None or candidate < best:
            best = candidate
    if best is None or best[0] + 2 > len(assignment[giver]):
        return None
    _, taker, topic = best
    return max(part for part in assignment[giver] if part.topic == topic), taker


ASSIGNORS: dict[str, Assignor] = {
    "sticky": assign_sticky,
    "range": assign_range,
    "roundrobin": assign_round_robin,
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
