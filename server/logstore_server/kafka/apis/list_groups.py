"""ListGroups (key 16), versions 0 to 5: all groups, whoever their members are.

What each version added
    1  throttle time     3  flexible     4  states, to ask for and told (KIP-518)
    5  types, to ask for and told (KIP-848)

A state or type that is not known matches no group. Both are compared whatever their case.
"""

from __future__ import annotations

from logstore.api import ListedGroup
from logstore.errors import LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.groups import (
    CLASSIC_STATES,
    CONSUMER_STATES,
    group_error_code,
    is_classic,
)


def handle(request: Request) -> Values:
    states = {text.lower() for text in getattr(request.body, "states_filter", ())}
    types = {text.lower() for text in getattr(request.body, "types_filter", ())}
    try:
        groups = [_group(group) for group in request.store.coordination.list_groups()]
    except LogStoreError as error:
        return {"throttle_time": 0, "error_code": group_error_code(error), "groups": ()}
    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE,
        "groups": [
            group
            for group in groups
            if (not states or group["group_state"].lower() in states)
            and (not types or group["group_type"].lower() in types)
        ],
    }


def _group(group: ListedGroup) -> Values:
    has_classic_members = is_classic(group.kind, group.protocol_type)
    states = CLASSIC_STATES if has_classic_members else CONSUMER_STATES
    return {
        "group_id": group.group_id,
        "protocol_type": group.protocol_type,
        "group_state": states[group.state],
        "group_type": "Classic" if has_classic_members else "Consumer",
    }
