"""The verbs of api.GroupCoordination: join and sync for both kinds of group.

A shell as the coordinator is, over the same table. Each verb picks the kind: a group that has
members which the server assigns is asked by `translation`; every other is classic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from logstore.api import (
    ClassicGroupInfo,
    ClassicHeartbeat,
    ClassicJoin,
    ClassicJoined,
    ClassicLeave,
    ClassicSync,
    ClassicSynced,
    CommittedOffset,
    ListedGroup,
    MemberCommit,
    OffsetsQuery,
)
from logstore.errors import (
    LogStoreError,
    RebalanceInProgressError,
    UnstableOffsetCommitError,
)
from logstore.group import describing, translation
from logstore.group.classic_group import ClassicGroup
from logstore.group.consumer_group import ConsumerGroup
from logstore.group.coordinator import GroupCoordinator, check_group_id
from logstore.pending import Pending

T = TypeVar("T")
CLIENT_ID_SHOWN_MAX = 200  # characters of it in a member id


class Coordination:
    """See the module. `check_open` raises once the store is closed; `on_deadline` is called when
    the coordinator's next deadline may have moved forward."""

    def __init__(
        self,
        coordinator: GroupCoordinator,
        check_open: Callable[[], None],
        on_deadline: Callable[[], None],
    ) -> None:
        self._coordinator = coordinator
        self._table = coordinator.table
        self._now = coordinator.table.clock.monotonic
        self._check_open = check_open
        self._on_deadline = on_deadline

    def join(self, request: ClassicJoin) -> Pending[ClassicJoined]:
        return self._attempt(lambda: self._join(request))

    def _join(self, request: ClassicJoin) -> Pending[ClassicJoined]:
        self._check(request.group_id)
        pending: Pending[ClassicJoined] = Pending()
        table = self._table
        with table.change() as effects:
            new_member_id = _member_id(request.client_id, str(table.new_id()))
            mixed = table.occupied_consumer_group(request.group_id)
            if mixed is not None:
                joined = translation.join(mixed, request, self._now(), new_member_id=new_member_id)
                table.note_deadline(mixed.deadline_of(joined.member_id))
                table.follow(mixed, effects)
                effects.calls.append(lambda: pending.set_result(joined))
            else:
                group = table.group_of(request.group_id, ClassicGroup)
                ticket = table.next_ticket
                replies = group.join(
                    request, self._now(), ticket=ticket, new_member_id=new_member_id
                )
                table.wait(pending)
                table.follow(group, effects, replies)
        self._on_deadline()
        return pending

    def sync(self, request: ClassicSync) -> Pending[ClassicSynced]:
        return self._attempt(lambda: self._sync(request))

    def _sync(self, request: ClassicSync) -> Pending[ClassicSynced]:
        self._check(request.group_id)
        pending: Pending[ClassicSynced] = Pending()
        table = self._table
        with table.change() as effects:
            mixed = table.occupied_consumer_group(request.group_id)
            if mixed is not None:
                synced = translation.sync(mixed, request, self._now())
                effects.calls.append(lambda: pending.set_result(synced))
            else:
                group = table.group_of(request.group_id, ClassicGroup)
                replies = group.sync(request, self._now(), ticket=table.next_ticket)
                table.wait(pending)
                table.follow(group, effects, replies)
        self._on_deadline()
        return pending

    def heartbeat(self, request: ClassicHeartbeat) -> None:
        self._check(request.group_id)
        table = self._table
        with table.lock:
            mixed = table.occupied_consumer_group(request.group_id)
            if mixed is None:
                table.group_of(request.group_id, ClassicGroup).heartbeat(request, self._now())
                return
            try:
                translation.heartbeat(mixed, request, self._now())
                return
            except RebalanceInProgressError as error:  # by when has it joined again?
                table.note_deadline(mixed.deadline_of(request.member_id))
                answer = error
        self._on_deadline()
        raise answer

    def leave(self, request: ClassicLeave) -> list[LogStoreError | None]:
        self._check(request.group_id)
        table = self._table
        with table.change() as effects:
            mixed = table.occupied_consumer_group(request.group_id)
            if mixed is not None:
                outcomes = translation.leave(mixed, request)
                table.follow(mixed, effects)
            else:
                group = table.group_of(request.group_id, ClassicGroup)
                outcomes, replies = group.leave(request, self._now())
                if outcomes.count(None):  # else a group that is not there would be kept
                    table.follow(group, effects, replies)
        self._on_deadline()
        return outcomes

    def list_groups(self) -> list[ListedGroup]:
        self._check_open()
        with self._table.lock:
            groups = [entry.group for _, entry in sorted(self._table.groups.items())]
            return [describing.listed(group) for group in groups]

    def describe(self, group_id: str) -> ClassicGroupInfo:
        self._check(group_id)
        with self._table.lock:
            group = self._table.find(group_id)
            if isinstance(group, ConsumerGroup):
                return translation.describe(group)
            return group.describe()

    def commit(self, commit: MemberCommit) -> Pending[list[LogStoreError | None]]:
        def attempt() -> Pending[list[LogStoreError | None]]:
            self._check(commit.group_id)
            return self._coordinator.commit_each(commit)

        return self._attempt(attempt)

    def offsets(
        self, query: OffsetsQuery
    ) -> list[tuple[CommittedOffset, UnstableOffsetCommitError | None]]:
        self._check(query.group_id)
        return self._coordinator.offsets(query)

    def _check(self, group_id: str) -> None:
        self._check_open()
        check_group_id(group_id)

    @staticmethod
    def _attempt(verb: Callable[[], Pending[T]]) -> Pending[T]:
        try:
            return verb()
        except LogStoreError as error:
            return Pending.failed(error)


def _member_id(client_id: str, unique: str) -> str:
    """As Kafka's, so that people see whose it is."""
    return f"{client_id[:CLIENT_ID_SHOWN_MAX]}-{unique}" if client_id else unique
