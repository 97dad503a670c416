"""CreateAcls (key 30), versions 1 to 3: access rules.

What each version added
    1  prefixed names        2  flexible        3  resources of type user

Each rule is made by itself; one that is there already is no error. Durable and in force when
answered.
"""

from __future__ import annotations

from typing import Any

from logstore.errors import LogStoreError
from logstore_server.kafka.acl_values import acl_of, check_enabled
from logstore_server.kafka.admin import RefusedError, outcome
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values


async def handle(request: Request) -> Values:
    results = [await _create(request, creation) for creation in request.body.creations]
    return {"throttle_time": 0, "results": results}


async def _create(request: Request, creation: Any) -> dict[str, Any]:
    try:
        check_enabled(request)
        await request.bridge.call(request.store.access.create_acls, [acl_of(creation)])
    except (LogStoreError, RefusedError) as error:
        return outcome(error)
    return outcome()
