"""The one place where requests are authorized, between the connection and the handlers.

Each API has its rules in guard_rules.py. `guarded` puts them around its handler: what a client may
not touch is taken out of the request before the handler sees it, and answered for with the error;
what it may not know is taken out of the answer. Handlers know nothing of it. An API without rules
is for super users only.

Without an authorizer (kafka.security.authorization) none of this runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from logstore.api.access import Operation, ResourceType
from logstore_server import auth
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.mirror import mirrored

Answer: TypeAlias = Values | None
Handler: TypeAlias = Callable[[Request], Answer | Awaitable[Answer]]

DENIED_MESSAGE = "it is not allowed to you: ask for an access rule (ACL)"


@dataclass(frozen=True, slots=True)
class Check:
    """What rules are given: who asks, and how this version's answer looks."""

    request: Request
    answer_class: type[Any]

    def allows(self, operation: Operation, resource: ResourceType, name: str) -> bool:
        authorizer = self.request.serving.authorizer
        assert authorizer is not None
        client = self.request.client
        return authorizer.allows(client.principal, client.host, operation, resource, name)

    def allows_some(self, operation: Operation, resource: ResourceType) -> bool:
        authorizer = self.request.serving.authorizer
        assert authorizer is not None
        client = self.request.client
        return authorizer.allows_some(client.principal, client.host, operation, resource)

    def refusal(self, code: ErrorCode) -> Answer:
        """Of everything in the request."""
        return mirrored(self.answer_class, self.request.body, code, DENIED_MESSAGE)


# Looks at the request, changes it or answers itself; or calls the handler and changes its answer.
Rule: TypeAlias = Callable[[Check, Handler], Answer | Awaitable[Answer]]


def guarded(rules: tuple[Rule, ...] | None, handle: Handler, answer_class: type[Any]) -> Handler:
    """`handle` behind `rules`, the first outermost; None: for super users only."""

    def authorized(request: Request) -> Answer | Awaitable[Answer]:
        authorizer = request.serving.authorizer
        if authorizer is None or authorizer.is_super(request.client.principal):
            return handle(request)
        check = Check(request, answer_class)
        if rules is None:
            return check.refusal(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
        return _apply(rules, check, handle)

    return authorized


def _apply(rules: tuple[Rule, ...], check: Check, handle: Handler) -> Answer | Awaitable[Answer]:
    if not rules:
        return handle(check.request)
    first, rest = rules[0], rules[1:]
    return first(check, lambda _: _apply(rest, check, handle))


def then(
    answer: Answer | Awaitable[Answer], change: Callable[[Answer], Answer]
) -> Answer | Awaitable[Answer]:
    """`change` applied to an answer, now or when it is there."""
    if answer is None or not isinstance(answer, Awaitable):
        return change(answer)
    return _changed_later(answer, change)


def _changed_later(
    answer: Awaitable[Answer], change: Callable[[Answer], Answer]
) -> asyncio.Future[Answer]:
    """No coroutine around the handler's: one that is cancelled before it began would leave that
    behind, never awaited."""
    handling = asyncio.ensure_future(answer)
    changed: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def finish(_: object) -> None:
        if changed.done():
            return
        if handling.cancelled():
            changed.cancel()
            return
        try:
            changed.set_result(change(handling.result()))
        except Exception as error:
            changed.set_exception(error)

    def end(_: object) -> None:
        if changed.cancelled():
            handling.cancel()

    handling.add_done_callback(finish)
    changed.add_done_callback(end)
    return changed


def operations_of(request: Request, resource: ResourceType, name: str) -> int:
    """What the client may do to it, as Kafka's set: bit n is the operation of number n."""
    authorizer = request.serving.authorizer
    client = request.client
    return sum(
        1 << operation
        for operation in auth.operations_of(resource)
        if authorizer is None
        or authorizer.allows(client.principal, client.host, operation, resource, name)
    )
