"""list_offsets: queries are sorted by the endpoint that serves them, redirects followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from logstore.api import OffsetAnswer, OffsetQuery
from logstore.errors import ClientClosedError, LogStoreError, UnavailableError, WrongEndpointError
from logstore.remote import values
from logstore.remote.connections import Connection, Connections
from logstore.remote.routing import Router
from logstore.v1 import consume_service_pb2 as pb


def list_offsets(
    connections: Connections, router: Router, queries: Sequence[OffsetQuery]
) -> list[OffsetAnswer]:
    """One answer per query, in order; errors of a partition are in its answer."""
    answers: dict[int, OffsetAnswer] = {}
    asked = dict(enumerate(queries))
    for _ in range(connections.config.redirects_max + 1):
        answers.update(_ask(connections, router, asked))
        moved: dict[int, OffsetQuery] = {}
        for number, query in asked.items():
            error = answers[number].error
            if isinstance(error, WrongEndpointError):
                router.redirect_partition(query.topic, query.partition, error)
                moved[number] = query
        if not moved:
            break
        asked = moved
    return [answers[number] for number in range(len(queries))]


def _ask(
    connections: Connections, router: Router, asked: Mapping[int, OffsetQuery]
) -> dict[int, OffsetAnswer]:
    """One call per endpoint."""
    answers: dict[int, OffsetAnswer] = {}
    numbers_at: dict[str, list[int]] = {}
    for number, query in asked.items():
        try:
            endpoint = router.partition(query.topic, query.partition)
        except (UnavailableError, ClientClosedError):
            raise
        except LogStoreError as error:
            answers[number] = OffsetAnswer(query.topic, query.partition, -1, -1, -1, error)
        else:
            numbers_at.setdefault(endpoint, []).append(number)
    for endpoint, numbers in numbers_at.items():
        found = _ask_endpoint(connections, router, endpoint, [asked[number] for number in numbers])
        answers.update(zip(numbers, found, strict=True))
    return answers


def _ask_endpoint(
    connections: Connections, router: Router, endpoint: str, queries: list[OffsetQuery]
) -> list[OffsetAnswer]:
    request = pb.ListOffsetsRequest(queries=[values.query_message(query) for query in queries])

    def call(connection: Connection, timeout: float) -> pb.ListOffsetsResponse:
        answer: pb.ListOffsetsResponse
        answer = connection.consume.ListOffsets(request, timeout=timeout)
        return answer

    answer = connections.call(
        lambda: endpoint,
        call,
        twice=True,
        deadline=router.deadline(),
        unreachable=router.unreachable,
    )
    return [values.offset_answer(item) for item in answer.answers]
