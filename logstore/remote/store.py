"""RemoteLogStore: the verbs of api.LogStore, each a call to the endpoint that serves it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from logstore import api
from logstore.api import (
    Acks,
    Appended,
    CommittedOffset,
    GroupAssignment,
    GroupHeartbeat,
    OffsetAnswer,
    OffsetQuery,
    TopicInfo,
    TopicPartition,
)
from logstore.errors import (
    InvalidPartitionCountError,
    InvalidRequestError,
)
from logstore.pending import Pending
from logstore.remote import values
from logstore.remote.appender import Appender
from logstore.remote.commits import Commits
from logstore.remote.config import RemoteConfig
from logstore.remote.connections import Connections
from logstore.remote.offsets import list_offsets
from logstore.remote.reader import RemoteReader
from logstore.remote.routing import Router
from logstore.v1 import (
    common_pb2,
    consume_service_pb2,
    group_service_pb2,
    topic_service_pb2,
    transaction_service_pb2,
)
from logstore.v1.produce_service_pb2 import InitProducerRequest
from logstore.v1.store_service_pb2 import DescribeStoreRequest

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def connect_store(endpoint: str, *, config: RemoteConfig | None = None) -> RemoteLogStore:
    """Connect to "host:port", or several of one store separated by commas.

    Raises UnavailableError if none answers within `connect_timeout_ms`.
    """
    endpoints = [part.strip() for part in endpoint.split(",") if part.strip()]
    for part in endpoints:
        host, _, port = part.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= 65_535:
            raise InvalidRequestError(f"{part!r} is not an endpoint: it takes host:port")
    if not endpoints:
        raise InvalidRequestError("an endpoint, host:port, is missing")
    store = RemoteLogStore(endpoints, config or RemoteConfig())
    try:
        store.check_connection()
    except BaseException:
        store.close()
        raise
    return store


class RemoteLogStore:
    """api.LogStore over gRPC. Thread-safe; make one with `connect_store`, end it with `close`."""

    def __init__(self, endpoints: list[str], config: RemoteConfig) -> None:
        self._connections = Connections(config)
        self._router = Router(self._connections, endpoints)
        self._appender = Appender(self._connections, self._router)
        self._commits = Commits(config.commit_threads)
        self._lock = threading.Lock()
        self._readers: set[RemoteReader] = set()
        self._endpoints_known = 1

    def check_connection(self) -> None:
        """One round trip, in time."""
        timeout_s = self._connections.config.connect_timeout_ms / 1000
        info = self._describe_store(time.monotonic() + timeout_s)
        self._endpoints_known = max(1, len(info.endpoints))

    # --- the store and its topics -----------------------------------------------------------

    def describe_store(self) -> api.StoreInfo:
        return self._describe_store(self._router.deadline())

    def _describe_store(self, deadline: float) -> api.StoreInfo:
        answer = self._router.call_any(
            lambda at, timeout: at.store.DescribeStore(DescribeStoreRequest(), timeout=timeout),
            deadline=deadline,
        )
        return api.StoreInfo(
            answer.cluster_id, answer.node_id, tuple(answer.endpoints), answer.version
        )

    def create_topic(self, spec: api.TopicSpec, *, validate_only: bool = False) -> TopicInfo:
        if spec.partitions == 0:  # "the default" on the wire
            raise InvalidPartitionCountError("partitions=0 is not valid: a topic has at least 1")
        request = topic_service_pb2.CreateTopicRequest(
            name=spec.name,
            partitions=spec.partitions,
            configs=spec.configs,
            validate_only=validate_only,
        )
        answer = self._router.call_any(
            lambda at, timeout: at.topics.CreateTopic(request, timeout=timeout), twice=False
        )
        self._router.forget_topic(spec.name)
        return values.topic_info(answer.topic)

    def delete_topic(self, name: str) -> None:
        request = topic_service_pb2.DeleteTopicRequest(name=name)
        self._router.call_any(
            lambda at, timeout: at.topics.DeleteTopic(request, timeout=timeout), twice=False
        )
        self._router.forget_topic(name)

    def describe_topics(
        self, names: Sequence[str] | None = None, *, include_internal: bool = False
    ) -> list[TopicInfo]:
        request = topic_service_pb2.DescribeTopicsRequest(
            topics=None if names is None else common_pb2.TopicNames(names=names),
            include_internal=include_internal,
        )
        answer = self._router.call_any(
            lambda at, timeout: at.topics.DescribeTopics(request, timeout=timeout)
        )
        return [values.topic_info(topic) for topic in answer.topics]

    def alter_topic(
        self, name: str, *, set_configs: Mapping[str, str], reset_configs: Sequence[str] = ()
    ) -> TopicInfo:
        request = topic_service_pb2.AlterTopicRequest(
            name=name, set_configs=set_configs, reset_configs=reset_configs
        )
        answer = self._router.call_any(
            lambda at, timeout: at.topics.AlterTopic(request, timeout=timeout)
        )
        return values.topic_info(answer.topic)

    def add_partitions(self, name: str, *, total: int) -> TopicInfo:
        request = topic_service_pb2.AddPartitionsRequest(name=name, total=total)
        answer = self._router.call_any(
            lambda at, timeout: at.topics.AddPartitions(request, timeout=timeout), twice=False
        )
        return values.topic_info(answer.topic)

    # --- records ----------------------------------------------------------------------------

    def init_producer(
        self,
        transactional_id: str | None = None,
        *,
        transaction_timeout_ms: int = api.TRANSACTION_TIMEOUT_MS,
    ) -> api.ProducerIdentity:
        request = InitProducerRequest(
            transactional_id=transactional_id or "",
            transaction_timeout_ms=transaction_timeout_ms,
        )
        answer = self._router.call_any(
            lambda at, timeout: at.produce.InitProducer(request, timeout=timeout)
        )
        return api.ProducerIdentity(answer.producer_id, answer.producer_epoch)

    def commit_offsets_in_transaction(
        self,
        transactional_id: str,
        producer: api.ProducerIdentity,
        group_id: str,
        offsets: Sequence[api.OffsetToCommit],
        *,
        member_id: str = "",
        member_epoch: int = -1,
    ) -> None:
        request = transaction_service_pb2.AddOffsetsRequest(
            producer=values.transactional_producer(transactional_id, producer),
            group_id=group_id,
            member_id=member_id,
            member_epoch=member_epoch,
            offsets=values.commit_messages(offsets),
        )
        self._router.call_any(
            lambda at, timeout: at.transactions.AddOffsets(request, timeout=timeout)
        )

    def end_transaction(
        self, transactional_id: str, producer: api.ProducerIdentity, *, commit: bool
    ) -> api.ProducerIdentity:
        request = transaction_service_pb2.EndTransactionRequest(
            producer=values.transactional_producer(transactional_id, producer), commit=commit
        )
        answer = self._router.call_any(
            lambda at, timeout: at.transactions.EndTransaction(request, timeout=timeout)
        )
        return api.ProducerIdentity(answer.producer_id, answer.producer_epoch)

    def append(
        self, topic: str, partition: int, batch: ReadableBuffer, *, acks: Acks = Acks.ALL
    ) -> Pending[Appended]:
        return self._appender.append(topic, partition, batch, acks)

    def open_reader(
        self, *, bytes_max: int, partition_bytes_max: int, read_committed: bool = False
    ) -> RemoteReader:
        reader = RemoteReader(
            self._connections,
            self._router,
            bytes_max=bytes_max,
            partition_bytes_max=partition_bytes_max,
            read_committed=read_committed,
            lanes_expected=self._endpoints_known,
            on_close=self._reader_closed,
        )
        with self._lock:
            self._connections.check_open()
            self._readers.add(reader)
        return reader

    def _reader_closed(self, reader: RemoteReader) -> None:
        with self._lock:
            self._readers.discard(reader)

    def list_offsets(self, queries: Sequence[OffsetQuery]) -> list[OffsetAnswer]:
        return list_offsets(self._connections, self._router, queries)

    def delete_records(self, topic: str, partition: int, *, before_offset: int) -> int:
        request = consume_service_pb2.DeleteRecordsRequest(
            topic=topic, partition=partition, before_offset=before_offset
        )
        answer = self._router.call_partition(
            topic,
            partition,
            lambda at, timeout: at.consume.DeleteRecords(request, timeout=timeout),
            twice=before_offset >= 0,
        )
        return int(answer.log_start_offset)

    # --- groups -----------------------------------------------------------------------------

    def group_heartbeat(self, heartbeat: GroupHeartbeat, *, wait: float = 0.0) -> GroupAssignment:
        request = values.heartbeat_message(heartbeat, int(wait * 1000))
        answer = self._router.call_group(
            heartbeat.group_id,
            lambda at, timeout: at.groups.Heartbeat(request, timeout=timeout),
            twice=bool(heartbeat.member_id),  # else a second call would join a second member
            extra_s=max(0.0, wait),
        )
        return values.group_assignment(answer)

    def commit_offsets(
        self,
        group_id: str,
        offsets: Sequence[api.OffsetToCommit],
        *,
        member_id: str = "",
        member_epoch: int = -1,
    ) -> Pending[None]:
        request = group_service_pb2.CommitOffsetsRequest(
            group_id=group_id,
            member_id=member_id,
            member_epoch=member_epoch,
            offsets=values.commit_messages(offsets),
        )

        def commit() -> None:
            self._router.call_group(
                group_id, lambda at, timeout: at.groups.CommitOffsets(request, timeout=timeout)
            )

        return self._commits.submit(group_id, commit)

    def committed_offsets(
        self, group_id: str, partitions: Sequence[TopicPartition] | None = None
    ) -> list[CommittedOffset]:
        request = group_service_pb2.FetchOffsetsRequest(
            group_id=group_id,
            partitions=(
                None
                if partitions is None
                else common_pb2.TopicPartitions(partitions=values.partition_messages(partitions))
            ),
        )
        answer = self._router.call_group(
            group_id, lambda at, timeout: at.groups.FetchOffsets(request, timeout=timeout)
        )
        return values.committed_offsets(answer.offsets)

    def list_groups(self) -> list[api.GroupSummary]:
        """Of all endpoints of the store."""
        request = group_service_pb2.ListGroupsRequest()
        groups: dict[str, api.GroupSummary] = {}
        for endpoint in self.describe_store().endpoints or (self._router.any_endpoint(),):
            answer = self._connections.call(
                lambda endpoint=endpoint: endpoint,  # type: ignore[misc]
                lambda at, timeout: at.groups.ListGroups(request, timeout=timeout),
                twice=True,
                deadline=self._router.deadline(),
            )
            for group in answer.groups:
                groups[group.group_id] = values.group_summary(group)
        return [groups[name] for name in sorted(groups)]

    def describe_group(self, group_id: str) -> api.GroupInfo:
        request = group_service_pb2.DescribeGroupRequest(group_id=group_id)
        answer = self._router.call_group(
            group_id, lambda at, timeout: at.groups.DescribeGroup(request, timeout=timeout)
        )
        return values.group_info(answer.group)

    def delete_group(self, group_id: str) -> None:
        request = group_service_pb2.DeleteGroupRequest(group_id=group_id)
        self._router.call_group(
            group_id,
            lambda at, timeout: at.groups.DeleteGroup(request, timeout=timeout),
            twice=False,
        )

    def delete_offsets(self, group_id: str, partitions: Sequence[TopicPartition]) -> None:
        request = group_service_pb2.DeleteOffsetsRequest(
            group_id=group_id, partitions=values.partition_messages(partitions)
        )
        self._router.call_group(
            group_id, lambda at, timeout: at.groups.DeleteOffsets(request, timeout=timeout)
        )

    def reset_offsets(self, reset: api.OffsetReset) -> list[CommittedOffset]:
        request = values.reset_message(reset)
        answer = self._router.call_group(
            reset.group_id,
            lambda at, timeout: at.groups.ResetOffsets(request, timeout=timeout),
            twice=reset.to is not api.ResetTo.SHIFT,
        )
        return values.committed_offsets(answer.offsets)

    def find_group(self, group_id: str) -> str:
        return self._router.group(group_id)

    # --- the end ----------------------------------------------------------------------------

    def close(self) -> None:
        """Readers end, commits made are finished, unanswered appends fail. Idempotent."""
        with self._lock:
            readers = list(self._readers)
        for reader in readers:
            reader.close()
        self._commits.close()
        self._appender.close()
        self._connections.close()
