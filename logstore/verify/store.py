"""A whole store: the files at its root, then every partition, then what belongs to none.

Nothing is changed and no lock is taken: the files are read through ReadOnlyFileSystem, a writer may
be at work. What it had promised when its state was read is what the files are held to; a partition
whose list of segments changed while it was read is read again.
"""

from __future__ import annotations

from collections.abc import Iterator

from logstore.catalog import CATALOG_TOPIC, CATALOG_TOPIC_ID, CatalogState, Topic
from logstore.config import StoreConfig
from logstore.errors import CorruptDataError, InvalidBatchError
from logstore.fs import FileSystem
from logstore.log.format import LOG_SUFFIX, REPLACING, offset_name, parse_offset_name
from logstore.log.salvage import FileBytes
from logstore.log.state_file import SlotValues, StateContents, read_state
from logstore.read_only_fs import ReadOnlyFileSystem
from logstore.record import check_batch_bytes, decode_records
from logstore.store_files import (
    DELETED_SUFFIX,
    LOCK_FILE,
    META_FILE,
    STATE_FILE,
    STRAY_SUFFIX,
    parse_partition_directory,
    partition_directory,
    read_meta,
)
from logstore.verify.findings import OnProgress, Report, Scan, Severity
from logstore.verify.internal import reader_of
from logstore.verify.partition import Expected, verify_partition

READ_AGAIN_MAX = 10  # of a partition whose segments come and go while it is read
ROOT_FILES = (META_FILE, LOCK_FILE, STATE_FILE)
NO_STATE = StateContents(None, {}, [], 0)


def verify_store(
    fs: FileSystem,
    root: str,
    *,
    limits: StoreConfig | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> Report:
    """Read everything in the store in directory `root`; what is wrong with it.

    Raises StoreFormatError if it is no store that this version reads, OSError if the directory
    itself cannot be read; whatever else is wrong is in the report.
    """
    scan = Scan(ReadOnlyFileSystem(fs), root.rstrip("/"), on_progress)
    return _StoreScan(scan, limits or StoreConfig()).run()


class _StoreScan:
    def __init__(self, scan: Scan, limits: StoreConfig) -> None:
        self._scan = scan
        self._limits = limits
        self._state = NO_STATE

    def run(self) -> Report:
        scan = self._scan
        read_meta(scan.fs, scan.root)
        scan.report.files += 1
        scan.bytes_total = self._size_of_partitions()
        self._read_state()
        self._partition(Topic(CATALOG_TOPIC, CATALOG_TOPIC_ID, 1), 0)
        topics = self._read_catalog()
        for topic in sorted(topics, key=lambda topic: topic.name):
            for partition in range(topic.partitions):
                self._partition(topic, partition)
        self._note_strangers(topics)
        return scan.report

    # --- the root ---------------------------------------------------------------------------

    def _size_of_partitions(self) -> int:
        total = 0
        for name in self._scan.fs.list_directory(self._scan.root):
            directory = f"{self._scan.root}/{name}"
            if parse_partition_directory(name) is not None:
                total += sum(size for _, size in self._logs(directory))
        return total

    def _logs(self, directory: str) -> Iterator[tuple[int, int]]:
        """(base offset, size) of the segments."""
        for name in self._scan.fs.list_directory(directory):
            base = parse_offset_name(name, LOG_SUFFIX)
            if base is not None:
                try:
                    file = self._scan.fs.open(f"{directory}/{name}", write=False)
                except OSError:
                    continue
                try:
                    yield base, file.size()
                finally:
                    file.close()

    def _read_state(self) -> None:
        path = f"{self._scan.root}/{STATE_FILE}"
        if not self._scan.fs.exists(path):
            self._scan.add(path, "is missing; the next opening checks every partition",
                           readable="everything")  # fmt: skip
            return
        with self._scan.reading(path):
            self._state = read_state(self._scan.fs, path)
        header = self._state.header
        if header is None:
            self._scan.add(path, "its header is damaged; the next opening checks every partition",
                           position=0, readable="everything")  # fmt: skip
        self._scan.report.is_closed_cleanly = header is not None and header.is_clean
        severity = Severity.DAMAGE if self._scan.report.is_closed_cleanly else Severity.REMARK
        for index in self._state.damaged:
            self._scan.add(
                path,
                f"slot {index} is damaged; the next opening checks its partition from the start",
                severity=severity,
                position=128 + 64 * index,
                readable="everything",
            )
        if self._state.odd_bytes:
            self._scan.add(path, f"{self._state.odd_bytes} bytes behind the last whole slot",
                           severity=severity)  # fmt: skip

    # --- topics -----------------------------------------------------------------------------

    def _partition(self, topic: Topic, partition: int) -> None:
        """Look at it; again, if its writer changed the list of segments meanwhile."""
        directory = f"{self._scan.root}/{partition_directory(topic.name, partition)}"
        key = topic.topic_id, partition
        slot = self._state.slots.get(key)
        is_closed = self._scan.report.is_closed_cleanly
        for _ in range(READ_AGAIN_MAX):
            mark = self._scan.mark()
            segments = self._segments(directory)
            verify_partition(
                self._scan,
                Expected(
                    directory=directory,
                    topic_id=topic.topic_id,
                    slot=slot,
                    is_closed=is_closed,
                    may_have_gaps="compact" in topic.overrides.get("cleanup_policy", ""),
                    decompressed_bytes_max=self._limits.decompressed_bytes_max,
                    read_record=reader_of(topic.name),
                ),
            )
            if is_closed or slot is None or not self._scan.has_news(mark):
                return
            now = self._state_now().slots.get(key)
            is_same = now is not None and now.generation == slot.generation
            if is_same and not _is_moving(slot) and self._segments(directory) == segments:
                return
            self._scan.rewind(mark)
            if now is None:
                return  # its topic was deleted meanwhile
            slot = now
        self._scan.add(
            directory,
            f"its segments changed all the while it was read, {READ_AGAIN_MAX} times; it could not "
            "be checked",
            severity=Severity.REMARK,
        )

    def _segments(self, directory: str) -> list[str]:
        if not self._scan.fs.is_directory(directory):
            return []
        names = self._scan.fs.list_directory(directory)
        return [name for name in names if name.endswith(LOG_SUFFIX)]

    def _state_now(self) -> StateContents:
        try:
            return read_state(self._scan.fs, f"{self._scan.root}/{STATE_FILE}")
        except OSError:
            return self._state

    def _read_catalog(self) -> list[Topic]:
        """The topics that the catalog names, by all of its records that can be read."""
        directory = f"{self._scan.root}/{partition_directory(CATALOG_TOPIC, 0)}"
        catalog = CatalogState()
        if not self._scan.fs.is_directory(directory):
            return []
        for base, size in sorted(self._logs(directory)):
            path = f"{directory}/{offset_name(base)}{LOG_SUFFIX}"
            with self._scan.reading(path):
                self._scan.report.files -= 1  # counted before
                file = self._scan.fs.open(path, write=False)
                try:
                    catalog = self._apply(catalog, FileBytes(file, size), path)
                finally:
                    file.close()
        return list(catalog.topics.values())

    def _apply(self, catalog: CatalogState, source: FileBytes, path: str) -> CatalogState:
        for position, header in source.headers(0):
            batch = source.at(position, header.size_bytes)
            if header.is_control or not check_batch_bytes(batch, 0, header):
                continue  # a damaged one was told of
            try:
                records = decode_records(
                    batch, decompressed_bytes_max=self._limits.decompressed_bytes_max
                )
                catalog = catalog.apply((record.key, record.value) for record in records)
            except (CorruptDataError, InvalidBatchError) as error:
                self._scan.add(
                    path,
                    error.message,
                    position=position,
                    offsets=(header.base_offset, header.last_offset),
                )
        return catalog

    # --- what belongs to nobody -------------------------------------------------------------

    def _note_strangers(self, topics: list[Topic]) -> None:
        known = {
            partition_directory(topic.name, partition)
            for topic in topics
            for partition in range(topic.partitions)
        } | {partition_directory(CATALOG_TOPIC, 0), *ROOT_FILES}
        for name in self._scan.fs.list_directory(self._scan.root):
            if name in known:
                continue
            if name.endswith(DELETED_SUFFIX):
                problem = "is of a deleted topic; the next opening removes it"
            elif name.endswith(STRAY_SUFFIX):
                problem = "was set aside: it belonged to no topic; delete it when it is settled"
            elif parse_partition_directory(name) is not None:
                problem = "belongs to no topic; the next opening sets it aside"
            elif name.endswith(".new"):
                problem = "left over from something that was cut short"
            else:
                problem = "is no file of a store"
            self._scan.add(f"{self._scan.root}/{name}", problem, severity=Severity.REMARK)


def _is_moving(slot: SlotValues) -> bool:
    """Whether its writer was replacing segments at that moment."""
    return bool(slot.generation & REPLACING)
