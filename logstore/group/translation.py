"""Kafka's join and sync for members of a server-assigned group: a mixed group. Pure.

A classic member of protocol type `consumer` says what it reads, and owns, in the metadata of its
join. That is a heartbeat of the other kind; the target is the server's, in the bytes that its
client reads; the generation is its member epoch.

    join       answered at once, whoever else is on the way; nobody leads, no member assigns
    sync       what it may own now
    heartbeat  RebalanceInProgressError when there is a step to take to its target: it joins again

    eager client        gives up all, joins owning nothing, gets what of its target is free
    cooperative client  joins with what it owns, is told less, gives the rest up and joins again

`upgrade` turns a classic group whose members are all of that type into a server-assigned one, when
somebody joins who speaks heartbeats. There is no way back before it is empty.
"""

from __future__ import annotations

from logstore.api import (
    ClassicGroupInfo,
    ClassicHeartbeat,
    ClassicJoin,
    ClassicJoined,
    ClassicLeave,
    ClassicMemberInfo,
    ClassicSync,
    ClassicSynced,
    GroupHeartbeat,
    TopicPartition,
)
from logstore.config import GroupConfig
from logstore.errors import (
    GroupError,
    GroupKindError,
    InvalidRequestError,
    LogStoreError,
    MemberIdRequiredError,
    RebalanceInProgressError,
    UnknownMemberError,
)
from logstore.group import classic_member, consumer_protocol
from logstore.group.assignors import DEFAULT_ASSIGNOR
from logstore.group.classic_group import ClassicGroup, State
from logstore.group.classic_member import Reply
from logstore.group.consumer_group import ConsumerGroup
from logstore.group.consumer_member import ClassicTerms, Member, Subscription
from logstore.group.consumer_protocol import PROTOCOL_TYPE, ConsumerSubscription

STATES = {"empty": "empty", "reconciling": "completing", "stable": "stable"}


def join(
    group: ConsumerGroup, request: ClassicJoin, now: float, *, new_member_id: str
) -> ClassicJoined:
    """Raises GroupError, InvalidRequestError; then nothing has changed."""
    classic_member.check_join(request, group.config)
    if request.protocol_type != PROTOCOL_TYPE:
        raise GroupKindError(
            f"the server assigns group {group.group_id!r}; members of protocol type "
            f"{request.protocol_type!r} cannot join it",
            group_id=group.group_id,
        )
    protocol = request.protocols[0]
    subscription = _subscription(protocol.metadata)
    if not request.member_id and request.needs_known_id and request.instance_id is None:
        raise MemberIdRequiredError(
            f"join group {group.group_id!r} again as member {new_member_id}",
            member_id=new_member_id,
        )
    heartbeat = GroupHeartbeat(
        group_id=request.group_id,
        member_id=request.member_id,
        instance_id=request.instance_id,
        client_id=request.client_id,
        client_host=request.client_host,
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=max(request.rebalance_timeout_ms, 1),
        subscribed_topics=subscription.topics,
        subscribed_pattern="",
        owned=subscription.owned,
        may_read_nothing=True,
    )
    terms = ClassicTerms(protocol.name, subscription.version)
    answer = group.join_as_classic(heartbeat, terms, now, new_member_id=new_member_id)
    return ClassicJoined(
        member_id=answer.member_id,
        generation=answer.member_epoch,
        protocol_type=PROTOCOL_TYPE,
        protocol=protocol.name,
        leader="",
        members=(),
    )


def sync(group: ConsumerGroup, request: ClassicSync, now: float) -> ClassicSynced:
    """Raises GroupError."""
    member, terms = _find_current(group, request.member_id, request.instance_id, request.generation)
    for given, own in (
        (request.protocol_type, PROTOCOL_TYPE),
        (request.protocol, terms.protocol),
    ):
        if given is not None and given != own:
            raise GroupKindError(
                f"group {group.group_id!r} has protocol {own!r} for this member, not {given!r}",
                group_id=group.group_id,
            )
    if group.is_behind(member):
        raise _rebalancing(group)
    member.deadline = now + member.session_timeout
    assignment = consumer_protocol.encode_assignment(member.assigned, version=terms.version)
    return ClassicSynced(PROTOCOL_TYPE, terms.protocol, assignment)


def heartbeat(group: ConsumerGroup, request: ClassicHeartbeat, now: float) -> None:
    """Raises GroupError. RebalanceInProgressError counts as a heartbeat all the same."""
    member, _ = _find_current(group, request.member_id, request.instance_id, request.generation)
    member.deadline = now + member.session_timeout
    if group.must_join_again(member, now):
        raise _rebalancing(group)


def leave(group: ConsumerGroup, request: ClassicLeave) -> list[LogStoreError | None]:
    """As ClassicGroup.leave."""
    outcomes: list[LogStoreError | None] = []
    gone: dict[str, Member] = {}
    for leaver in request.members:
        try:
            member = group.leaving(leaver)
            gone[member.member_id] = member
            outcomes.append(None)
        except GroupError as error:
            outcomes.append(error)
    group.drop(gone.values())
    return outcomes


def describe(group: ConsumerGroup) -> ClassicGroupInfo:
    """As if all its members had joined and synced."""
    has_members = group.member_count > 0
    return ClassicGroupInfo(
        group_id=group.group_id,
        state=STATES[group.state],
        generation=group.epoch,
        protocol_type=PROTOCOL_TYPE if has_members else "",
        protocol=group.assignor if has_members else "",
        leader="",
        members=tuple(
            ClassicMemberInfo(
                member_id=member.member_id,
                instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                metadata=consumer_protocol.encode_subscription(
                    group.topics_of(member.member_id), member.assigned
                ),
                assignment=consumer_protocol.encode_assignment(member.assigned),
            )
            for member in group.describe()
        ),
    )


# --- from one kind to the other ---------------------------------------------------------------


def upgrade(group: ClassicGroup, config: GroupConfig, now: float) -> ConsumerGroup | None:
    """A server-assigned group of the same members, who own what they do now; None when they are
    not all of type `consumer`. The given one does not change."""
    if group.protocol_type != PROTOCOL_TYPE or not group.members:
        return None
    try:
        members = [_upgraded(group, member, now) for member in group.members]
    except GroupError:
        return None
    upgraded = ConsumerGroup(group.group_id, config, epoch=group.generation)
    upgraded.adopt(members)
    return upgraded


def answers_after_upgrade(before: ClassicGroup, group: ConsumerGroup, now: float) -> list[Reply]:
    """To those whose joins and syncs waited in the classic group."""
    replies: list[Reply] = []
    for member in before.members:
        if member.sync_ticket is not None:
            replies.append(Reply(member.sync_ticket, _rebalancing(group)))
        if member.join_ticket is not None:
            request = ClassicJoin(
                group_id=group.group_id,
                protocol_type=PROTOCOL_TYPE,
                protocols=member.protocols,
                session_timeout_ms=int(member.session_timeout * 1000),
                rebalance_timeout_ms=int(member.rebalance_timeout * 1000),
                member_id=member.member_id,
                instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
            )
            joined = join(group, request, now, new_member_id="")
            replies.append(Reply(member.join_ticket, joined))
    return replies


def _upgraded(group: ClassicGroup, member: classic_member.Member, now: float) -> Member:
    """Raises GroupKindError."""
    protocol = member.protocols[0]
    subscription = _subscription(protocol.metadata)
    return Member(
        member_id=member.member_id,
        instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        subscription=Subscription(frozenset(subscription.topics), None),
        assignor=DEFAULT_ASSIGNOR,
        session_timeout=member.session_timeout,
        rebalance_timeout=max(member.rebalance_timeout, 0.001),
        deadline=now + member.session_timeout,
        epoch=group.generation,
        previous_epoch=group.generation,
        assigned=set(_owned(group, member, subscription)),
        classic=ClassicTerms(protocol.name, subscription.version),
    )


def _owned(
    group: ClassicGroup, member: classic_member.Member, subscription: ConsumerSubscription
) -> tuple[TopicPartition, ...]:
    """Who has joined the rebalance that goes on said it then; the others own what they had."""
    if member.join_ticket is not None or group.state == State.COMPLETING:
        return subscription.owned
    try:
        return consumer_protocol.decode_assignment(member.assignment)
    except InvalidRequestError as error:
        raise GroupKindError(f"the leader's assignment cannot be read: {error}") from None


def _subscription(metadata: bytes) -> ConsumerSubscription:
    """Raises GroupKindError."""
    try:
        return consumer_protocol.decode_subscription(metadata)
    except InvalidRequestError as error:
        raise GroupKindError(
            f"what a member of type {PROTOCOL_TYPE!r} sent of itself cannot be read: {error}"
        ) from None


def _find_current(
    group: ConsumerGroup, member_id: str, instance_id: str | None, generation: int
) -> tuple[Member, ClassicTerms]:
    member = group.find_member(member_id, instance_id)
    if member.classic is None:
        raise UnknownMemberError(
            f"member {member_id!r} of group {group.group_id!r} did not join as a classic one",
            group_id=group.group_id,
            member_id=member_id,
        )
    if generation != member.epoch:
        raise group.wrong_generation(member, generation)
    return member, member.classic


def _rebalancing(group: ConsumerGroup) -> RebalanceInProgressError:
    return RebalanceInProgressError(
        f"group {group.group_id!r} is rebalancing; join again", group_id=group.group_id
    )
