"""DescribeAcls (key 29), versions 1 to 3: the access rules that fit a filter.

What each version added
    1  prefixed names, and MATCH: every rule that covers a name        2  flexible
    3  resources of type user
"""

from __future__ import annotations

from typing import Any

from logstore_server.kafka.acl_values import answer_of, check_enabled, filter_of
from logstore_server.kafka.admin import RefusedError, outcome
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values


def handle(request: Request) -> Values:
    resources: dict[tuple[Any, ...], dict[str, Any]] = {}
    try:
        check_enabled(request)
        found = request.store.access.acls(filter_of(request.body))
    except RefusedError as error:
        return {"throttle_time": 0, "resources": [], **outcome(error)}
    for acl in found:
        key = (acl.resource, acl.pattern, acl.name)
        resource = resources.setdefault(key, {**answer_of(acl), "acls": []})
        resource["acls"].append(answer_of(acl))
    return {"throttle_time": 0, "resources": list(resources.values()), **outcome()}
