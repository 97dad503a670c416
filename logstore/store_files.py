"""The files at the root of a store: `meta`, `lock`, and the names of partition directories.

meta is text, one `key=value` a line, the last line the CRC-32C of all bytes before it:

    logstore=meta
    format_version=1
    compatible_features=0       a bit that an older version may ignore
    incompatible_features=0     a bit that an older version must refuse
    cluster_id=<22 characters, base64 of a UUID, as Kafka writes it>
    node_id=1
    crc32c=9c5b4f1e

It is read before anything else is touched; a store of a newer format is refused untouched.
A new format version: raise FORMAT_VERSION, keep reading the older ones, write a test that opens
a store made by each released version. A new feature that older code can ignore gets a
compatible bit instead, one that it would misread an incompatible bit.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from dataclasses import dataclass

import crc32c

from logstore.errors import StoreFormatError, StoreLockedError
from logstore.fs import FileSystem, Lock, replace_file

FORMAT_VERSION = 1
COMPATIBLE_FEATURES = 0
INCOMPATIBLE_FEATURES = 0
META_BYTES_MAX = 4096

META_FILE = "meta"
LOCK_FILE = "lock"
STATE_FILE = "state"
DELETED_SUFFIX = "-delete"
STRAY_SUFFIX = "-stray"
DIRECTORY_NAME_MAX = 255  # NAME_MAX of every file system in use


@dataclass(frozen=True, slots=True)
class Meta:
    cluster_id: str
    node_id: int
    format_version: int = FORMAT_VERSION
    compatible_features: int = COMPATIBLE_FEATURES
    incompatible_features: int = INCOMPATIBLE_FEATURES

    def encode(self) -> bytes:
        text = (
            "logstore=meta\n"
            f"format_version={self.format_version}\n"
            f"compatible_features={self.compatible_features}\n"
            f"incompatible_features={self.incompatible_features}\n"
            f"cluster_id={self.cluster_id}\n"
            f"node_id={self.node_id}\n"
        ).encode()
        return text + f"crc32c={crc32c.crc32c(text):08x}\n".encode()

    @classmethod
    def decode(cls, data: bytes, path: str) -> Meta:
        """Raises StoreFormatError, which names `path`."""
        body, marker, checksum = data.rpartition(b"crc32c=")
        if not data.startswith(b"logstore=meta\n") or not marker:
            raise StoreFormatError(f"{path} is not the meta file of a logstore", path=path)
        if checksum != f"{crc32c.crc32c(body):08x}\n".encode():
            raise StoreFormatError(f"{path} is damaged: its checksum does not match", path=path)
        try:
            fields = dict(line.split("=", 1) for line in body.decode("utf-8").splitlines())
            meta = cls(
                cluster_id=fields["cluster_id"],
                node_id=int(fields["node_id"]),
                format_version=int(fields["format_version"]),
                compatible_features=int(fields["compatible_features"]),
                incompatible_features=int(fields["incompatible_features"]),
            )
        except (KeyError, ValueError) as error:
            raise StoreFormatError(f"{path} is damaged: {error!r}", path=path) from error
        if meta.format_version < 1:
            raise StoreFormatError(f"{path} is damaged: it names no format version", path=path)
        meta._check_supported(path)
        return meta

    def _check_supported(self, path: str) -> None:
        if self.format_version > FORMAT_VERSION:
            raise StoreFormatError(
                f"{path}: the store has format version {self.format_version}, this logstore reads "
                f"up to {FORMAT_VERSION}; open it with the newer logstore that wrote it",
                path=path,
                format_version=self.format_version,
            )
        unknown = self.incompatible_features & ~INCOMPATIBLE_FEATURES
        if unknown:
            raise StoreFormatError(
                f"{path}: the store uses features that this logstore does not know "
                f"(bits {unknown:#x}); open it with the newer logstore that wrote it",
                path=path,
            )


def kafka_uuid(value: uuid.UUID) -> str:
    """A UUID as Kafka prints it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(value.bytes).decode().rstrip("=")


def parse_kafka_uuid(text: str) -> uuid.UUID:
    """The reverse; raises ValueError."""
    try:
        return uuid.UUID(bytes=base64.urlsafe_b64decode(text + "=="))
    except binascii.Error as error:
        raise ValueError(f"not a base64 UUID: {text!r}") from error


def make_root(fs: FileSystem, root: str) -> None:
    """The store's directory, made with its missing parents. Until it has a meta file all of them
    are synced, since a process before this one may have been cut short here."""
    missing = [path for path in _ancestry(root) if not fs.exists(path)]
    if missing:
        fs.make_directory(root)
    if fs.exists(f"{root}/{META_FILE}"):
        return
    for path in _ancestry(root):
        try:
            fs.sync_directory(_parent(path))
        except PermissionError:  # may not be read, so this user did not make the entry in it
            if path in missing:
                raise


def _ancestry(root: str) -> list[str]:
    """The directory itself, its parent, and so on: what may have to be made."""
    found = []
    path = root.rstrip("/")
    while path not in ("", "."):
        found.append(path)
        path = _parent(path).rstrip("/")
    return found


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or ("/" if path[0] == "/" else ".")


def read_meta(fs: FileSystem, root: str) -> Meta:
    path = f"{root}/{META_FILE}"
    if not fs.exists(path):
        raise StoreFormatError(f"{root} is not a logstore: it has no meta file", path=path)
    file = fs.open(path, write=False)
    try:
        return Meta.decode(file.read(META_BYTES_MAX, 0), path)
    finally:
        file.close()


def create_or_read_meta(fs: FileSystem, root: str, new_cluster_id: uuid.UUID) -> Meta:
    """The store's meta; a new one in a directory that is empty. Never adopts other files."""
    path = f"{root}/{META_FILE}"
    if fs.exists(path):
        return read_meta(fs, root)
    strangers = set(fs.list_directory(root)) - {LOCK_FILE, f"{META_FILE}.new"}
    if strangers:
        raise StoreFormatError(
            f"{root} is not a logstore and not empty (it holds {min(strangers)!r}); "
            "choose another directory",
            path=root,
        )
    meta = Meta(cluster_id=kafka_uuid(new_cluster_id), node_id=1)
    replace_file(fs, root, META_FILE, meta.encode())
    return meta


def take_lock(fs: FileSystem, root: str) -> Lock:
    lock = fs.lock(f"{root}/{LOCK_FILE}")
    if lock is None:
        raise StoreLockedError(
            f"{root} is open for writing in another process; connect to that one, "
            "or open it with read_only=True",
            path=root,
        )
    return lock


def partition_directory(topic: str, partition: int) -> str:
    return f"{topic}-{partition}"


def parse_partition_directory(name: str) -> tuple[str, int] | None:
    """(topic, partition) of a partition directory's name; None for any other name."""
    topic, dash, number = name.rpartition("-")
    if not dash or not topic or not number.isascii() or not number.isdigit():
        return None
    return (topic, int(number)) if number == str(int(number)) else None


def retired_directory(name: str, identity: str, suffix: str) -> str:
    """What a partition directory is renamed to: `<name>.<identity>-delete`, cut to fit."""
    ending = f".{identity}{suffix}"
    return name[: DIRECTORY_NAME_MAX - len(ending)] + ending
