"""Which endpoint serves a partition or a group, as far as is known here.

Learnt from GetMetadata, FindGroup and the redirects of WrongEndpointError; forgotten when it turns
out wrong. Before anything is known, and whenever an endpoint says "" (it serves that itself), the
endpoints given by the user are asked, in turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from logstore.errors import LogStoreError, UnknownPartitionError, WrongEndpointError
from logstore.remote.connections import A, Connection, Connections, Method
from logstore.remote.errors import error_from_message
from logstore.v1 import common_pb2, group_service_pb2, store_service_pb2


class Router:
    """Thread-safe; calls are made without holding the lock."""

    def __init__(self, connections: Connections, endpoints: list[str]) -> None:
        self._connections = connections
        self._given = endpoints
        self._turn = 0
        self._lock = threading.Lock()
        self._partitions: dict[tuple[str, int], str] = {}
        self._groups: dict[str, str] = {}

    # --- calls ------------------------------------------------------------------------------

    def deadline(self, extra_s: float = 0.0) -> float:
        return time.monotonic() + self._connections.config.request_timeout_ms / 1000 + extra_s

    def call_any(
        self, method: Method[A], *, twice: bool = True, deadline: float | None = None
    ) -> A:
        """For what any endpoint can answer: goes to the next one whenever one is not reached."""
        tries = self._turn - 1

        def endpoint() -> str:
            nonlocal tries
            tries += 1
            return self._given[tries % len(self._given)]

        answer = self._connections.call(
            endpoint, method, twice=twice, deadline=deadline or self.deadline()
        )
        self._turn = tries  # stay with the one that answered
        return answer

    def any_endpoint(self) -> str:
        return self._given[self._turn % len(self._given)]

    def call_partition(
        self, topic: str, partition: int, method: Method[A], *, twice: bool = True
    ) -> A:
        """At the endpoint that serves the partition, wherever that turns out to be."""
        deadline = self.deadline()
        return self._call_routed(
            lambda: self.partition(topic, partition, deadline=deadline),
            lambda error: self.redirect_partition(topic, partition, error),
            method,
            twice=twice,
            deadline=deadline,
        )

    def call_group(
        self, group_id: str, method: Method[A], *, twice: bool = True, extra_s: float = 0.0
    ) -> A:
        """At the endpoint that serves the group. `extra_s`: what the answer may take longer."""
        deadline = self.deadline(extra_s)
        return self._call_routed(
            lambda: self.group(group_id, deadline=deadline),
            lambda error: self.redirect_group(group_id, error),
            method,
            twice=twice,
            deadline=deadline,
        )

    def _call_routed(
        self,
        endpoint: Callable[[], str],
        redirect: Callable[[LogStoreError], None],
        method: Method[A],
        *,
        twice: bool,
        deadline: float,
    ) -> A:
        redirects = 0
        while True:
            try:
                return self._connections.call(
                    endpoint,
                    method,
                    twice=twice,
                    deadline=deadline,
                    unreachable=self.unreachable,
                )
            except WrongEndpointError as error:
                redirect(error)
                if redirects == self._connections.config.redirects_max:
                    raise
                redirects += 1

    # --- partitions -------------------------------------------------------------------------

    def partition(self, topic: str, partition: int, *, deadline: float | None = None) -> str:
        """The endpoint that serves it. Raises UnknownTopicError, UnknownPartitionError, ..."""
        known = self._partitions.get((topic, partition))
        if known is not None:
            return known
        self.learn_topic(topic, deadline=deadline)
        known = self._partitions.get((topic, partition))
        if known is None:
            raise UnknownPartitionError(
                f"topic {topic} has no partition {partition}", topic=topic, partition=partition
            )
        return known

    def learn_topic(self, topic: str, *, deadline: float | None = None) -> None:
        request = store_service_pb2.GetMetadataRequest(topics=common_pb2.TopicNames(names=[topic]))
        asked = ""

        def get(connection: Connection, timeout: float) -> store_service_pb2.GetMetadataResponse:
            nonlocal asked
            asked = connection.endpoint
            answer: store_service_pb2.GetMetadataResponse
            answer = connection.store.GetMetadata(request, timeout=timeout)
            return answer

        answer = self.call_any(get, deadline=deadline)
        (metadata,) = answer.topics
        if metadata.HasField("error"):
            raise error_from_message(metadata.error)
        with self._lock:
            for item in metadata.partitions:
                self._partitions[topic, item.partition] = item.endpoint or asked

    def redirect_partition(self, topic: str, partition: int, error: LogStoreError) -> None:
        """Take the endpoint that a WrongEndpointError names, or forget the one we had."""
        with self._lock:
            if endpoint := error.details.get("endpoint"):
                self._partitions[topic, partition] = endpoint
            else:
                self._partitions.pop((topic, partition), None)

    def forget_topic(self, topic: str) -> None:
        with self._lock:
            for key in [key for key in self._partitions if key[0] == topic]:
                del self._partitions[key]

    # --- groups -----------------------------------------------------------------------------

    def group(self, group_id: str, *, deadline: float | None = None) -> str:
        known = self._groups.get(group_id)
        if known is not None:
            return known
        asked = ""

        def find(connection: Connection, timeout: float) -> group_service_pb2.FindGroupResponse:
            nonlocal asked
            asked = connection.endpoint
            request = group_service_pb2.FindGroupRequest(group_id=group_id)
            answer: group_service_pb2.FindGroupResponse
            answer = connection.groups.FindGroup(request, timeout=timeout)
            return answer

        answer = self.call_any(find, deadline=deadline)
        with self._lock:
            self._groups[group_id] = answer.endpoint or asked
        return answer.endpoint or asked

    def redirect_group(self, group_id: str, error: LogStoreError) -> None:
        with self._lock:
            if endpoint := error.details.get("endpoint"):
                self._groups[group_id] = endpoint
            else:
                self._groups.pop(group_id, None)

    def unreachable(self, endpoint: str) -> None:
        """Ask again where things are before going there, unless it is one the user named."""
        if endpoint in self._given:
            return
        with self._lock:
            for key in [key for key, at in self._partitions.items() if at == endpoint]:
                del self._partitions[key]
            for group_id in [name for name, at in self._groups.items() if at == endpoint]:
                del self._groups[group_id]
