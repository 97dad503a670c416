"""`logstore.open` and `logstore.connect`, and the Store that both return."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from logstore import api
from logstore.client.consumer import Consumer
from logstore.client.driver import DriverThread
from logstore.client.producer import Producer
from logstore.client.transactional_producer import TransactionalProducer
from logstore.clock import Clock, SystemClock
from logstore.config import StoreConfig
from logstore.errors import TopicExistsError
from logstore.follower import FollowerStore
from logstore.fs import FileSystem
from logstore.store import LocalLogStore

if TYPE_CHECKING:
    from types import TracebackType

    from logstore.remote import RemoteConfig

C = TypeVar("C", bound=Producer | Consumer)


def open(  # noqa: A001
    path: str | os.PathLike[str],
    *,
    read_only: bool = False,
    config: StoreConfig | None = None,
    driver: Literal["thread"] | None = "thread",
    fs: FileSystem | None = None,
    clock: Clock | None = None,
) -> Store:
    """Open the store in directory `path`, made if missing, in this process.

    One process writes at a time. Starts two daemon threads, which flush, keep time and compact;
    `driver=None` starts none, and the caller drives `store.log_store` (see ServedLogStore).
    With `read_only` it follows what another process writes, or reads what one has left: topics
    and records, no groups; the directory must be a store, nothing in it is changed.

    Raises StoreLockedError, StoreFormatError, CorruptDataError, OSError.
    """
    if read_only:
        return Store(FollowerStore(os.fspath(path), config=config, fs=fs))
    clock = clock or SystemClock()
    local = LocalLogStore.open(os.fspath(path), config=config, fs=fs, clock=clock)
    return Store(local, driver=DriverThread(local, clock) if driver else None)


def connect(endpoint: str, *, config: RemoteConfig | None = None) -> Store:
    """Use the store that a server at `endpoint` ("host:port") serves over gRPC.

    Raises UnavailableError if nobody answers within the config's connect_timeout_ms.
    """
    from logstore.remote import connect_store

    return Store(connect_store(endpoint, config=config))


class Store:
    """A store, embedded or remote: topics, groups, producers, consumers.

    Thread-safe. Close it, or use it in a with statement; that closes the producers and consumers
    it made too. `log_store` is the seam below (api.LogStore).
    """

    def __init__(self, log_store: api.LogStore, *, driver: DriverThread | None = None) -> None:
        self.log_store = log_store
        self._driver = driver
        self._clients: dict[Producer | Consumer, None] = {}
        self._closed = False

    # --- topics -----------------------------------------------------------------------------

    def create_topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        configs: Mapping[str, str] | None = None,
        exist_ok: bool = False,
    ) -> api.TopicInfo:
        """Durable when it returns. Raises TopicExistsError but with `exist_ok`."""
        try:
            return self.log_store.create_topic(api.TopicSpec(name, partitions, configs or {}))
        except TopicExistsError:
            if exist_ok:
                return self.describe_topic(name)
            raise

    def delete_topic(self, name: str) -> None:
        self.log_store.delete_topic(name)

    def describe_topic(self, name: str) -> api.TopicInfo:
        (info,) = self.log_store.describe_topics([name])
        return info

    def describe_topics(
        self, names: Sequence[str] | None = None, *, include_internal: bool = False
    ) -> list[api.TopicInfo]:
        """The named topics, or all."""
        return self.log_store.describe_topics(names, include_internal=include_internal)

    def alter_topic(
        self,
        name: str,
        *,
        set_configs: Mapping[str, str] | None = None,
        reset_configs: Sequence[str] = (),
    ) -> api.TopicInfo:
        return self.log_store.alter_topic(
            name, set_configs=set_configs or {}, reset_configs=reset_configs
        )

    def add_partitions(self, name: str, *, total: int) -> api.TopicInfo:
        return self.log_store.add_partitions(name, total=total)

    # --- records ----------------------------------------------------------------------------

    def producer(self, **options: Any) -> Producer:
        """A new producer; `options` are those of Producer."""
        return self._keep(Producer(self.log_store, **options))

    def transactional_producer(
        self, transactional_id: str, **options: Any
    ) -> TransactionalProducer:
        """A new producer that sends in transactions; `options` are its own and Producer's."""
        return self._keep(TransactionalProducer(self.log_store, transactional_id, **options))

    def consumer(self, *topics: str, **options: Any) -> Consumer:
        """A new consumer of these topics; `options` are those of Consumer."""
        return self._keep(Consumer(self.log_store, *topics, **options))

    def list_offsets(self, queries: Iterable[tuple[str, int, int]]) -> list[api.OffsetAnswer]:
        """For each (topic, partition, timestamp in ms or api.OffsetSpec) the offset there."""
        return self.log_store.list_offsets([api.OffsetQuery(*query) for query in queries])

    def delete_records(self, topic: str, partition: int, *, before_offset: int) -> int:
        """Forget records below the offset (-1: all); returns the new log start offset."""
        return self.log_store.delete_records(topic, partition, before_offset=before_offset)

    # --- groups -----------------------------------------------------------------------------

    def list_groups(self) -> list[api.GroupSummary]:
        return self.log_store.list_groups()

    def describe_group(self, group_id: str) -> api.GroupInfo:
        return self.log_store.describe_group(group_id)

    def delete_group(self, group_id: str) -> None:
        self.log_store.delete_group(group_id)

    def committed_offsets(
        self, group_id: str, partitions: Iterable[tuple[str, int]] | None = None
    ) -> list[api.CommittedOffset]:
        """Of the named partitions, or all that have one."""
        named = None if partitions is None else [api.TopicPartition(*part) for part in partitions]
        return self.log_store.committed_offsets(group_id, named)

    def delete_offsets(self, group_id: str, partitions: Iterable[tuple[str, int]]) -> None:
        self.log_store.delete_offsets(group_id, [api.TopicPartition(*part) for part in partitions])

    def reset_offsets(
        self,
        group_id: str,
        to: api.ResetTo | str,
        value: int = 0,
        *,
        topics: Iterable[str] = (),
        partitions: Iterable[tuple[str, int]] = (),
        dry_run: bool = False,
    ) -> list[api.CommittedOffset]:
        """Move the committed offsets of a group without members; see api.OffsetReset."""
        reset = api.OffsetReset(
            group_id,
            api.ResetTo(to),
            value,
            topics=tuple(topics),
            partitions=tuple(api.TopicPartition(*part) for part in partitions),
            dry_run=dry_run,
        )
        return self.log_store.reset_offsets(reset)

    # --- the end ----------------------------------------------------------------------------

    def _keep(self, client: C) -> C:
        self._clients = {known: None for known in self._clients if not known.closed}
        self._clients[client] = None
        return client

    def close(self) -> None:
        """Close its consumers and producers, then the store. Idempotent.

        All are closed whatever fails; the last error is raised at the end.
        """
        if self._closed:
            return
        self._closed = True
        with contextlib.ExitStack() as closing:
            closing.callback(self.log_store.close)
            if self._driver is not None:
                closing.callback(self._driver.stop)
            for client in self._clients:
                closing.callback(client.close)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
