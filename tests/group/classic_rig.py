"""A classic group and its members' calls, for the tests of its rules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from logstore.api import (
    ClassicHeartbeat,
    ClassicJoin,
    ClassicJoined,
    ClassicLeave,
    ClassicProtocol,
    ClassicSync,
    ClassicSynced,
    LeavingMember,
)
from logstore.config import GroupConfig
from logstore.errors import LogStoreError
from logstore.group.classic_group import ClassicGroup
from logstore.group.classic_member import Reply

SESSION = 10.0
REBALANCE = 30.0
CONFIG = GroupConfig(members_max=4, classic_initial_rebalance_delay_ms=0)
RANGE = ClassicProtocol("range", b"r")
STICKY = ClassicProtocol("sticky", b"s")

Answer = ClassicJoined | ClassicSynced | LogStoreError


def join_request(member_id: str = "", **asked) -> ClassicJoin:
    asked = {
        "protocol_type": "consumer",
        "protocols": (RANGE,),
        "session_timeout_ms": int(SESSION * 1000),
        "rebalance_timeout_ms": int(REBALANCE * 1000),
        **asked,
    }
    return ClassicJoin("g", member_id=member_id, **asked)


@dataclass
class ClassicRig:
    """`answers`: by ticket, which counts the calls from 1."""

    group: ClassicGroup
    now: float = 0.0
    ticket: int = 0
    answers: dict[int, Answer] = field(default_factory=dict)

    def take(self, replies: list[Reply]) -> None:
        for reply in replies:
            assert reply.ticket not in self.answers, "answered once"
            self.answers[reply.ticket] = reply.answer

    def join(self, member_id: str = "", *, new_id: str = "new", **asked) -> int:
        """The ticket. A member that is new without an id is called `new_id`."""
        self.ticket += 1
        request = join_request(member_id, **asked)
        self.take(self.group.join(request, self.now, ticket=self.ticket, new_member_id=new_id))
        return self.ticket

    def sync(self, member_id: str, generation: int | None = None, **asked) -> int:
        generation = self.group.generation if generation is None else generation
        self.ticket += 1
        request = ClassicSync("g", member_id, generation, **asked)
        self.take(self.group.sync(request, self.now, ticket=self.ticket))
        return self.ticket

    def beat(self, member_id: str, generation: int | None = None, **asked) -> None:
        generation = self.group.generation if generation is None else generation
        self.group.heartbeat(ClassicHeartbeat("g", member_id, generation, **asked), self.now)

    def leave(self, member_id: str = "", **asked) -> None:
        """One member; raises why it cannot."""
        (error,) = self.leave_all(LeavingMember(member_id, **asked))
        if error is not None:
            raise error

    def leave_all(self, *members: LeavingMember) -> list[LogStoreError | None]:
        outcomes, replies = self.group.leave(ClassicLeave("g", members), self.now)
        self.take(replies)
        return outcomes

    def expire(self, at: float) -> None:
        self.now = at
        self.take(self.group.expire(at))

    def joined(self, ticket: int) -> ClassicJoined:
        answer = self.answers[ticket]
        assert isinstance(answer, ClassicJoined), answer
        return answer

    def synced(self, ticket: int) -> bytes:
        answer = self.answers[ticket]
        assert isinstance(answer, ClassicSynced), answer
        return answer.assignment

    def refused(self, ticket: int) -> type:
        return type(self.answers[ticket])

    @property
    def member_ids(self) -> list[str]:
        return [member.member_id for member in self.group.describe().members]


def new_rig(**config) -> ClassicRig:
    return ClassicRig(ClassicGroup("g", replace(CONFIG, **config)))


def completing_pair(rig: ClassicRig, **asked) -> None:
    """a leads, b follows; both were told generation 2, nobody has synced."""
    rig.join(new_id="a", **asked)
    rig.sync("a", assignments={"a": b"all"})
    rig.join(new_id="b", **asked)
    rig.join("a", **asked)
    assert rig.group.state == "completing"


def stable_pair(rig: ClassicRig, **asked) -> None:
    """a leads, b follows; both are assigned at generation 2."""
    completing_pair(rig, **asked)
    rig.sync("b")
    rig.sync("a", assignments={"a": b"one", "b": b"two"})
    assert rig.group.state == "stable"
