"""JoinGroup (key 11), versions 0 to 9: become a member, or say anew what one offers.

Answered when the others have joined too (or their time is over); that may take a rebalance timeout,
during which the connection's next requests wait, as with Kafka. In a group that the server assigns
(a mixed group) it is answered at once, and nobody leads.

What each version added
    1  rebalance timeout (before: the session's)     2  throttle time
    4  a member without an id is given one first (KIP-394)
    5  static members (KIP-345)      6  flexible     7  protocol type
    8  a reason                      9  skip_assignment (KIP-814)

Not done: the reason is not kept.
"""

from __future__ import annotations

from collections.abc import Awaitable

from logstore.api import ClassicJoin, ClassicJoined, ClassicProtocol
from logstore.errors import LogStoreError, MemberIdRequiredError
from logstore.pending import Pending
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.groups import client_host, group_error_code, milliseconds, wait_for

REBALANCE_TIMEOUT_VERSION = 1
KNOWN_ID_VERSION = 4
PROTOCOL_TYPE_VERSION = 7
SKIP_ASSIGNMENT_VERSION = 9


def handle(request: Request) -> Values | Awaitable[Values]:
    body = request.body
    has_rebalance_timeout = request.version >= REBALANCE_TIMEOUT_VERSION
    joining = request.store.coordination.join(
        ClassicJoin(
            group_id=body.group_id,
            protocol_type=body.protocol_type,
            protocols=tuple(ClassicProtocol(item.name, item.metadata) for item in body.protocols),
            session_timeout_ms=milliseconds(body.session_timeout),
            rebalance_timeout_ms=milliseconds(
                body.rebalance_timeout if has_rebalance_timeout else body.session_timeout
            ),
            member_id=body.member_id,
            instance_id=getattr(body, "group_instance_id", None),
            client_id=request.client_id,
            client_host=client_host(request),
            needs_known_id=request.version >= KNOWN_ID_VERSION,
            may_skip_assignment=request.version >= SKIP_ASSIGNMENT_VERSION,
        )
    )
    if joining.done:
        return _answer(request, joining, joining.error)
    return _wait(request, joining)


async def _wait(request: Request, joining: Pending[ClassicJoined]) -> Values:
    return _answer(request, joining, await wait_for(request, joining))


def _answer(
    request: Request, joining: Pending[ClassicJoined], error: LogStoreError | None
) -> Values:
    if error is not None:
        given = isinstance(error, MemberIdRequiredError)
        return {
            "throttle_time": 0,
            "error_code": group_error_code(error),
            "protocol_name": None if request.version >= PROTOCOL_TYPE_VERSION else "",
            "leader": "",
            "member_id": error.details["member_id"] if given else request.body.member_id,
            "members": (),
        }
    joined = joining.result(0)
    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE,
        "generation_id": joined.generation,
        "protocol_type": joined.protocol_type,
        "protocol_name": joined.protocol,
        "leader": joined.leader,
        "skip_assignment": joined.skip_assignment,
        "member_id": joined.member_id,
        "members": [
            {
                "member_id": member.member_id,
                "group_instance_id": member.instance_id,
                "metadata": member.metadata,
            }
            for member in joined.members
        ],
    }
