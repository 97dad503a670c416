"""Directories of MemoryFileSystem, and the journal of their changes that are not yet on disk.

A change sets or removes names. It needs those before it that touched one of its names in the same
directory, and whatever it was told to need: no power loss and no sync keeps a change without what
it needs. So a file is never without both of its names in the middle of a rename, and a directory
is not gone while a file in it is there.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from logstore.testing.file_node import FileNode


class DirectoryNode:
    """`entries`: as programs see them. `on_disk`: as the next boot would, with no luck at all."""

    def __init__(self) -> None:
        self.entries: dict[str, FileNode | DirectoryNode] = {}
        self.on_disk: dict[str, FileNode | DirectoryNode] = {}
        self.latest: dict[str, Change] = {}  # by name, of those that are not on disk

    def files(self) -> Iterator[FileNode]:
        """All files in it and below."""
        for node in self.entries.values():
            if isinstance(node, FileNode):
                yield node
            else:
                yield from node.files()

    def directories(self) -> Iterator[DirectoryNode]:
        """It and all below."""
        yield self
        for node in self.entries.values():
            if isinstance(node, DirectoryNode):
                yield from node.directories()


class Edit(NamedTuple):
    """`name` in `directory` becomes `node`, or goes."""

    directory: DirectoryNode
    name: str
    node: FileNode | DirectoryNode | None


class Change:
    """Edits that reach the disk together. `kind`: create, rename or unlink."""

    __slots__ = ("edits", "kind", "needs", "number", "on_disk")

    def __init__(
        self, number: int, kind: str, edits: Sequence[Edit], needs: Sequence[Change]
    ) -> None:
        self.number = number
        self.kind = kind
        self.edits = tuple(edits)
        self.needs = tuple(needs)
        self.on_disk = False


class Journal:
    """All changes of directories that are not on disk, in order.

    `strict`: POSIX's promise, no more: a change is durable by a sync of its own directory, and
    independent ones reach the disk in any order. Otherwise as a journalling file system in ordered
    mode (ext4): the disk has all changes up to some point, and any sync brings it to now.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._count = 0
        self._pending: dict[int, Change] = {}

    def change(self, kind: str, *edits: Edit, needs: Sequence[Change] = ()) -> Change:
        """Make the edits, in order, as programs see them; the disk follows with a sync."""
        before = [
            edit.directory.latest[edit.name] for edit in edits if edit.name in edit.directory.latest
        ]
        change = Change(self._count, kind, edits, (*needs, *before))
        self._count += 1
        self._pending[change.number] = change
        for edit in edits:
            _edit(edit.directory.entries, edit)
            edit.directory.latest[edit.name] = change
        return change

    def sync(self, directory: DirectoryNode) -> None:
        if not self._strict:
            self.sync_all()
            return
        for change in sorted(set(directory.latest.values()), key=lambda each: each.number):
            self._commit(change)

    def file_synced(self) -> None:
        if not self._strict:
            self.sync_all()

    def sync_all(self) -> None:
        for change in list(self._pending.values()):
            self._commit(change)

    def _commit(self, last: Change) -> None:
        """Put a change and all that it needs on disk, in order."""
        wanted: dict[int, Change] = {}
        stack = [last]
        while stack:  # not recursive: a name may have changed thousands of times
            change = stack.pop()
            if not change.on_disk and change.number not in wanted:
                wanted[change.number] = change
                stack += change.needs
        for number in sorted(wanted):
            change = wanted[number]
            change.on_disk = True
            change.needs = ()
            del self._pending[number]
            for edit in change.edits:
                _edit(edit.directory.on_disk, edit)
                if edit.directory.latest.get(edit.name) is change:
                    del edit.directory.latest[edit.name]

    def power_loss(self, chance: random.Random, statistics: Counter[str]) -> None:
        """Put a legal part of the changes on disk."""
        pending = list(self._pending.values())
        kept: set[int] = set()
        cut = chance.randint(0, len(pending))
        likely = chance.choice((0.0, 0.5, 0.5, 0.8, 1.0))
        for place, change in enumerate(pending):
            if not self._strict:
                keep = place < cut
            else:
                possible = all(need.on_disk or need.number in kept for need in change.needs)
                keep = possible and chance.random() < likely
            statistics[f"{change.kind}_{'kept' if keep else 'lost'}"] += 1
            if keep:
                kept.add(change.number)
        for number in sorted(kept):
            self._commit(self._pending[number])


def after_power_loss(
    root: DirectoryNode, chance: random.Random, statistics: Counter[str]
) -> DirectoryNode:
    """The tree as the next boot finds it, after Journal.power_loss."""
    files: dict[int, FileNode] = {}  # by the id of the old: one in a rename may have two names

    def survivor(directory: DirectoryNode) -> DirectoryNode:
        result = DirectoryNode()
        for name, node in directory.on_disk.items():
            if isinstance(node, DirectoryNode):
                result.entries[name] = survivor(node)
            else:
                if id(node) not in files:
                    files[id(node)] = node.after_power_loss(chance, statistics)
                result.entries[name] = files[id(node)]
        result.on_disk = dict(result.entries)
        return result

    return survivor(root)


def _edit(entries: dict[str, FileNode | DirectoryNode], edit: Edit) -> None:
    if edit.node is None:
        entries.pop(edit.name, None)
    else:
        entries[edit.name] = edit.node
