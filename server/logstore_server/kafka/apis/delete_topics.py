"""DeleteTopics (key 20), versions 1 to 6: topics with all that they hold, for good.

What each version added
    4  flexible        5  the error's message        6  topics by id

Durable when answered. A topic of the same name may be created at once; it is another one.

Not done: the timeout.
"""

from __future__ import annotations

import uuid
from typing import Any

from logstore.errors import LogStoreError
from logstore_server.kafka.admin import RefusedError, outcome, repeated, topics_by_name
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode

TOPIC_IDS_VERSION = 6


async def handle(request: Request) -> Values:
    wanted = _wanted(request)
    twice = repeated(name for name, _ in wanted if name is not None)
    results: list[dict[str, Any]] = []
    for name, topic_id in wanted:
        result = {"name": name, "topic_id": topic_id}
        try:
            if name is None:
                raise RefusedError(ErrorCode.UNKNOWN_TOPIC_ID, f"no topic has the id {topic_id}")
            if name in twice:
                raise RefusedError(ErrorCode.INVALID_REQUEST, f"topic {name!r} is named twice")
            await request.bridge.call(request.store.delete_topic, name)
            results.append(result | outcome())
        except (LogStoreError, RefusedError) as error:
            results.append(result | outcome(error))
    return {"throttle_time": 0, "responses": results}


def _wanted(request: Request) -> list[tuple[str | None, uuid.UUID | None]]:
    """(name, id) of each topic; a name of None: there is none of that id."""
    if request.version < TOPIC_IDS_VERSION:
        return [(name, None) for name in request.body.topic_names]
    known = topics_by_name(request)
    names = {topic.topic_id: topic.name for topic in known.values()}
    wanted: list[tuple[str | None, uuid.UUID | None]] = []
    for topic in request.body.topics:
        if topic.name is None:
            wanted.append((names.get(topic.topic_id), topic.topic_id))
        else:
            found = known.get(topic.name)
            wanted.append((topic.name, None if found is None else found.topic_id))
    return wanted
