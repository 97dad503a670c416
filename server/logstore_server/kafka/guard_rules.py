"""What each API needs, as Kafka's authorizer has it: API key -> rules.

    whole(...)      the request is about one thing; refused, everything in it has the error
    items(...)      a list in the request; what is refused of it is answered beside the rest
    hidden(...)     a list in the answer; what may not be known is left out

Source: https://kafka.apache.org/documentation/#operations_resources_and_protocols
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from logstore.api.access import CLUSTER_NAME, Operation, ResourceType
from logstore.errors import LogStoreError
from logstore_server.kafka.config_answers import ConfigResource
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.guard import DENIED_MESSAGE, Answer, Check, Handler, Rule, then
from logstore_server.kafka.mirror import item_class, mirrored

_Op, _Type = Operation, ResourceType

DENIED = {
    _Type.TOPIC: ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    _Type.GROUP: ErrorCode.GROUP_AUTHORIZATION_FAILED,
    _Type.CLUSTER: ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
    _Type.TRANSACTIONAL_ID: ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}

Answers = Answer | Awaitable[Answer]
# The name of what an item is about; None: there is no such thing, which the handler will say.
NameOf = Callable[[Check, Any], str | None]


def whole(operation: Operation, resource: ResourceType, field: str = "") -> Rule:
    """`field`: of the request, names the resource; null or absent needs nothing."""

    def rule(check: Check, handle: Handler) -> Answers:
        body = check.request.body
        name = getattr(body, field, None) if field else CLUSTER_NAME
        if name is None or check.allows(operation, resource, name):
            return handle(check.request)
        return check.refusal(DENIED[resource])

    return rule


def topic_name(check: Check, item: Any) -> str | None:
    """Of an item or answer that is or has a topic's name, or its id only; what has neither is
    called "", which only a rule for all covers."""
    if isinstance(item, str):
        return item
    for field in ("name", "topic", "topic_name"):
        name = _get(item, field)
        if name and isinstance(name, str):
            return name
    topic_id = _get(item, "topic_id")
    if not isinstance(topic_id, uuid.UUID):
        return ""
    try:
        return check.request.store.topic_name(topic_id)
    except LogStoreError:
        return None


def _get(item: Any, field: str) -> Any:
    return item.get(field) if isinstance(item, dict) else getattr(item, field, None)


def plain_name(check: Check, item: Any) -> str:
    """Of an item that is a name, or has one."""
    if isinstance(item, str):
        return item
    for field in ("group_id", "transactional_id", "name"):
        name = _get(item, field)
        if name is not None:
            return str(name)
    return ""


def items(
    fields: tuple[str, ...],
    answers: tuple[str, ...],
    needs: Callable[[Check, Any, str], bool],
    code: ErrorCode,
    name_of: NameOf = topic_name,
) -> Rule:
    """`fields`, `answers`: what versions call the list in the request and in the answer."""

    def rule(check: Check, handle: Handler) -> Answers:
        request = check.request
        field = next((one for one in fields if hasattr(request.body, one)), "")
        given = getattr(request.body, field, None)
        if not given:
            return handle(request)
        allowed: list[Any] = []
        denied: list[Any] = []
        for item in given:
            name = name_of(check, item)
            is_allowed = name is None or needs(check, item, name)
            (allowed if is_allowed else denied).append(item)
        if not denied:
            return handle(request)
        where = next((one for one in answers if item_class(check.answer_class, one)), "")
        refused = _refused(check, where, denied, code)
        if not allowed:
            empty = replace(request.body, **{field: ()})
            answer = mirrored(check.answer_class, empty, ErrorCode.NONE, "")
            return _with(answer, where, refused)
        request.body = replace(request.body, **{field: tuple(allowed)})
        return then(handle(request), lambda answer: _with(answer, where, refused))

    return rule


def _refused(check: Check, where: str, denied: list[Any], code: ErrorCode) -> list[dict[str, Any]]:
    cls = item_class(check.answer_class, where)
    if cls is None:
        return []
    return [mirrored(cls, item, code, DENIED_MESSAGE) for item in denied]


def _with(answer: Answer, where: str, more: list[dict[str, Any]]) -> Answer:
    """Also beside no answer at all: who waits for none is not told (see gate.py)."""
    if not where:
        return answer
    rest = answer or {}
    return {**rest, where: [*rest.get(where, ()), *more]}


def hidden(field: str, operation: Operation, resource: ResourceType, name_of: NameOf) -> Rule:
    def rule(check: Check, handle: Handler) -> Answers:
        def shown(answer: Answer) -> Answer:
            if answer is None or field not in answer:
                return answer
            kept = [
                item
                for item in answer[field]
                if (name := name_of(check, item)) is None
                or check.allows(operation, resource, name)
                or _is_error(item)
            ]
            return {**answer, field: kept}

        return then(handle(check.request), shown)

    return rule


def _is_error(item: Any) -> bool:
    """Of what the request named itself; nothing is told of it."""
    return bool(_get(item, "error_code"))


# --- needs ----------------------------------------------------------------------------------


def _needs(operation: Operation, resource: ResourceType) -> Callable[[Check, Any, str], bool]:
    return lambda check, item, name: check.allows(operation, resource, name)


def _may_create(check: Check, item: Any, name: str) -> bool:
    return check.allows(_Op.CREATE, _Type.CLUSTER, CLUSTER_NAME) or check.allows(
        _Op.CREATE, _Type.TOPIC, name
    )


def _config_needs(operation: Operation) -> Callable[[Check, Any, str], bool]:
    kinds = {ConfigResource.TOPIC: _Type.TOPIC, ConfigResource.GROUP: _Type.GROUP}

    def needs(check: Check, item: Any, name: str) -> bool:
        resource = kinds.get(item.resource_type)
        if resource is None:
            return check.allows(operation, _Type.CLUSTER, CLUSTER_NAME)
        return check.allows(operation, resource, name)

    return needs


def _config_name(check: Check, item: Any) -> str | None:
    return str(item.resource_name)


def _topics(
    operation: Operation,
    fields: tuple[str, ...] = ("topics",),
    answers: tuple[str, ...] = ("topics",),
) -> Rule:
    code = ErrorCode.TOPIC_AUTHORIZATION_FAILED
    return items(fields, answers, _needs(operation, _Type.TOPIC), code)


def _groups(operation: Operation, field: str, answer: str) -> Rule:
    code = ErrorCode.GROUP_AUTHORIZATION_FAILED
    return items((field,), (answer,), _needs(operation, _Type.GROUP), code, plain_name)


def _configs(operation: Operation, answer: str) -> Rule:
    # Kafka tells apart which of them was refused; a client does not.
    code = ErrorCode.TOPIC_AUTHORIZATION_FAILED
    return items(("resources",), (answer,), _config_needs(operation), code, _config_name)


# --- rules of single APIs -------------------------------------------------------------------


def _metadata(check: Check, handle: Handler) -> Answers:
    """A topic that would be created needs more than one that is there."""
    request = check.request
    body = request.body
    if not body.topics or not getattr(body, "allow_auto_topic_creation", True):
        return handle(request)
    if not request.serving.config.auto_create_topics:
        return handle(request)
    there = {topic.name for topic in request.store.describe_topics(include_internal=True)}

    def needs(check: Check, item: Any, name: str) -> bool:
        return name in there or _may_create(check, item, name)

    rule = items(("topics",), ("topics",), needs, ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    return rule(check, handle)


def _metadata_denied(check: Check, handle: Handler) -> Answers:
    """Who may see no topic that it asked for still learns of the broker."""
    request = check.request
    named = request.body.topics
    if not named:
        return handle(request)
    allowed: list[Any] = []
    denied: list[Any] = []
    for item in named:
        name = topic_name(check, item)
        is_allowed = name is None or check.allows(_Op.DESCRIBE, _Type.TOPIC, name)
        (allowed if is_allowed else denied).append(item)
    if not denied:
        return handle(request)
    refused = _refused(check, "topics", denied, ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    if allowed:
        request.body = replace(request.body, topics=tuple(allowed))
        return then(handle(request), lambda answer: _with(answer, "topics", refused))
    request.body = replace(request.body, topics=())
    return then(
        handle(request),
        lambda answer: None if answer is None else {**answer, "topics": refused},
    )


def _init_producer(check: Check, handle: Handler) -> Answers:
    """Without a transactional id: who may write anywhere."""
    if check.request.body.transactional_id is not None:
        return whole(_Op.WRITE, _Type.TRANSACTIONAL_ID, "transactional_id")(check, handle)
    if check.allows(_Op.IDEMPOTENT_WRITE, _Type.CLUSTER, CLUSTER_NAME):
        return handle(check.request)
    if check.allows_some(_Op.WRITE, _Type.TOPIC):
        return handle(check.request)
    return check.refusal(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)


def _coordinator(check: Check, handle: Handler) -> Answers:
    """One key, or from version 4 on many of one kind: 0 groups, 1 transactional ids."""
    body = check.request.body
    is_group = getattr(body, "key_type", 0) == 0
    resource = _Type.GROUP if is_group else _Type.TRANSACTIONAL_ID
    if hasattr(body, "coordinator_keys"):
        needs = _needs(_Op.DESCRIBE, resource)
        rule = items(("coordinator_keys",), ("coordinators",), needs, DENIED[resource], plain_name)
        return rule(check, handle)
    return whole(_Op.DESCRIBE, resource, "key")(check, handle)


def _fetched(check: Check, handle: Handler) -> Answers:
    """A session goes on with partitions that this request does not name: nothing of what may not
    be read leaves, whoever named it."""

    def readable(answer: Answer) -> Answer:
        if answer is None:
            return None
        return {**answer, "responses": [_readable(check, one) for one in answer["responses"]]}

    return then(handle(check.request), readable)


def _readable(check: Check, topic: Any) -> Any:
    name = topic_name(check, topic)
    if name is None or check.allows(_Op.READ, _Type.TOPIC, name):
        return topic
    code = ErrorCode.TOPIC_AUTHORIZATION_FAILED
    partitions = [
        {
            **one,
            "error_code": code,
            "high_watermark": -1,
            "records": None,
            "aborted_transactions": None,
        }
        for one in topic["partitions"]
    ]
    return {**topic, "partitions": partitions}


def _committed(check: Check, handle: Handler) -> Answers:
    """Offsets of many groups (from version 8 on) or one, of topics that may be described."""
    body = check.request.body
    if hasattr(body, "group_id"):
        return whole(_Op.DESCRIBE, _Type.GROUP, "group_id")(
            check, lambda request: _topics(_Op.DESCRIBE)(check, _described(check, handle))
        )

    def per_group(answer: Answer) -> Answer:
        if answer is None:
            return None
        return {**answer, "groups": [_visible(check, group) for group in answer["groups"]]}

    rule = _groups(_Op.DESCRIBE, "groups", "groups")
    return rule(check, lambda request: then(handle(request), per_group))


def _described(check: Check, handle: Handler) -> Handler:
    return lambda request: hidden("topics", _Op.DESCRIBE, _Type.TOPIC, topic_name)(check, handle)


def _visible(check: Check, group: Any) -> Any:
    topics = [
        topic
        for topic in group.get("topics") or ()
        if (name := topic_name(check, topic)) is None
        or check.allows(_Op.DESCRIBE, _Type.TOPIC, name)
    ]
    return {**group, "topics": topics}


def _add_partitions(check: Check, handle: Handler) -> Answers:
    """All of the partitions or none."""
    body = check.request.body
    batches = getattr(body, "transactions", None)
    if batches is not None:
        return whole(_Op.CLUSTER_ACTION, _Type.CLUSTER)(check, handle)  # brokers' versions
    transactional_id = body.v3_and_below_transactional_id
    if not check.allows(_Op.WRITE, _Type.TRANSACTIONAL_ID, transactional_id):
        return check.refusal(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    if all(check.allows(_Op.WRITE, _Type.TOPIC, topic.name) for topic in body.v3_and_below_topics):
        return handle(check.request)
    return check.refusal(ErrorCode.TOPIC_AUTHORIZATION_FAILED)


def _subscribed(check: Check, handle: Handler) -> Answers:
    names = check.request.body.subscribed_topic_names or ()
    if all(check.allows(_Op.DESCRIBE, _Type.TOPIC, name) for name in names):
        return handle(check.request)
    return check.refusal(ErrorCode.TOPIC_AUTHORIZATION_FAILED)


def _listed(field: str, resource: ResourceType) -> Rule:
    def rule(check: Check, handle: Handler) -> Answers:
        if check.allows(_Op.DESCRIBE, _Type.CLUSTER, CLUSTER_NAME):
            return handle(check.request)
        return hidden(field, _Op.DESCRIBE, resource, plain_name)(check, handle)

    return rule


def _cluster(operation: Operation) -> tuple[Rule, ...]:
    return (whole(operation, _Type.CLUSTER),)


_READ_GROUP = whole(_Op.READ, _Type.GROUP, "group_id")
_WRITE_TRANSACTION = whole(_Op.WRITE, _Type.TRANSACTIONAL_ID, "transactional_id")
_HIDE_TOPICS = hidden("topics", _Op.DESCRIBE, _Type.TOPIC, topic_name)

RULES: dict[int, tuple[Rule, ...]] = {
    0: (_WRITE_TRANSACTION, _topics(_Op.WRITE, ("topic_data",), ("responses",))),
    1: (_topics(_Op.READ, ("topics",), ("responses",)), _fetched),
    2: (_topics(_Op.DESCRIBE),),
    3: (_metadata_denied, _metadata, _HIDE_TOPICS),
    8: (_READ_GROUP, _topics(_Op.READ)),
    9: (_committed,),
    10: (_coordinator,),
    11: (_READ_GROUP,),
    12: (_READ_GROUP,),
    13: (_READ_GROUP,),
    14: (_READ_GROUP,),
    15: (_groups(_Op.DESCRIBE, "groups", "groups"),),
    16: (_listed("groups", _Type.GROUP),),
    17: (),  # SASL: before a client is known
    18: (),  # ApiVersions
    19: (items(("topics",), ("topics",), _may_create, DENIED[_Type.TOPIC]),),
    20: (_topics(_Op.DELETE, ("topics", "topic_names"), ("responses",)),),
    21: (_topics(_Op.DELETE),),
    22: (_init_producer,),
    23: (_topics(_Op.DESCRIBE),),
    24: (_add_partitions,),
    25: (_WRITE_TRANSACTION, _READ_GROUP),
    26: (_WRITE_TRANSACTION,),
    27: _cluster(_Op.CLUSTER_ACTION),
    28: (_WRITE_TRANSACTION, _READ_GROUP, _topics(_Op.READ)),
    29: _cluster(_Op.DESCRIBE),
    30: _cluster(_Op.ALTER),
    31: _cluster(_Op.ALTER),
    32: (_configs(_Op.DESCRIBE_CONFIGS, "results"),),
    33: (_configs(_Op.ALTER_CONFIGS, "responses"),),
    34: _cluster(_Op.ALTER),
    35: _cluster(_Op.DESCRIBE),
    36: (),  # SASL
    37: (_topics(_Op.ALTER, ("topics",), ("results",)),),
    42: (_groups(_Op.DELETE, "groups_names", "results"),),
    43: _cluster(_Op.ALTER),
    44: (_configs(_Op.ALTER_CONFIGS, "responses"),),
    45: _cluster(_Op.ALTER),
    46: _cluster(_Op.DESCRIBE),
    47: (whole(_Op.DELETE, _Type.GROUP, "group_id"), _topics(_Op.READ)),
    48: _cluster(_Op.DESCRIBE_CONFIGS),
    49: _cluster(_Op.ALTER_CONFIGS),
    50: _cluster(_Op.DESCRIBE),
    51: _cluster(_Op.ALTER),
    55: _cluster(_Op.DESCRIBE),
    60: (),  # DescribeCluster: where the brokers are, which Metadata tells too
    61: (_topics(_Op.READ),),
    65: (
        items(
            ("transactional_ids",), ("transaction_states",),
            _needs(_Op.DESCRIBE, _Type.TRANSACTIONAL_ID), DENIED[_Type.TRANSACTIONAL_ID],
            plain_name,
        ),
    ),
    66: (_listed("transaction_states", _Type.TRANSACTIONAL_ID),),
    68: (_READ_GROUP, _subscribed),
    69: (_groups(_Op.DESCRIBE, "group_ids", "groups"),),
    71: (),  # telemetry: what a client tells of itself
    72: (),
    74: _cluster(_Op.DESCRIBE_CONFIGS),
    75: (_topics(_Op.DESCRIBE), _HIDE_TOPICS),
}  # fmt: skip
