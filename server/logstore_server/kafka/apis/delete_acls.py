"""DeleteAcls (key 31), versions 1 to 3: all access rules that fit filters.

What each version added
    1  prefixed names, and MATCH: every rule that covers a name        2  flexible
    3  resources of type user

The rules are gone, durably, when answered; the answer tells which they were.
"""

from __future__ import annotations

from typing import Any

from logstore.errors import LogStoreError
from logstore_server.kafka.acl_values import answer_of, check_enabled, filter_of
from logstore_server.kafka.admin import RefusedError, outcome
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values


async def handle(request: Request) -> Values:
    results = [await _delete(request, wanted) for wanted in request.body.filters]
    return {"throttle_time": 0, "filter_results": results}


async def _delete(request: Request, wanted: Any) -> dict[str, Any]:
    try:
        check_enabled(request)
        (deleted,) = await request.bridge.call(
            request.store.access.delete_acls, [filter_of(wanted)]
        )
    except (LogStoreError, RefusedError) as error:
        return {"matching_acls": [], **outcome(error)}
    return {"matching_acls": [answer_of(acl) | outcome() for acl in deleted], **outcome()}
