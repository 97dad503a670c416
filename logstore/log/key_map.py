"""Of each key the last offset it was seen at, in bounded memory: what a compaction knows.

Open addressing with linear probing in three flat arrays, 24 bytes a slot:

    slot   first half of the key's hash (uint64) | second half (uint64) | offset + 1 (0: free)

Keys are not kept, only 16 bytes of a keyed BLAKE2b of each, so two keys with one hash would be
taken for one, and the older record of them dropped. That cannot be made to happen: the hash is a
pseudo-random function whose secret is drawn at random when the store is opened and never leaves the
process, so nobody can choose keys that collide. By chance it does not happen either: among a
billion keys two collide with a probability of 2^-69, many orders below that of a bit flip that
passes CRC-32C. (murmur3 would be no such thing: collisions for any seed are easily made.)

Owned by one compaction.
"""

from __future__ import annotations

import hashlib
from array import array

SLOT_BYTES = 24
LOAD_MAX = 0.75  # of the slots; beyond it probing gets long
SLOTS_MIN = 64
NOT_SEEN = -1


class KeyMap:
    """`used` keys of at most `capacity`."""

    __slots__ = ("_first", "_hasher", "_offsets", "_second", "_slots", "capacity", "used")

    def __init__(self, *, memory_bytes: int, keys_max: int, secret: bytes) -> None:
        """Room for `keys_max` keys, or as many as fit into `memory_bytes`. `secret`: 64 bytes at
        most."""
        wanted = max(SLOTS_MIN, int(keys_max / LOAD_MAX) + 1)
        self._slots = slots = max(SLOTS_MIN, min(wanted, memory_bytes // SLOT_BYTES))
        self.capacity = int(slots * LOAD_MAX)
        self.used = 0
        self._first = array("Q", bytes(8 * slots))
        self._second = array("Q", bytes(8 * slots))
        self._offsets = array("Q", bytes(8 * slots))
        self._hasher = hashlib.blake2b(digest_size=16, key=secret)

    @property
    def is_full(self) -> bool:
        return self.used >= self.capacity

    def put(self, key: bytes, offset: int) -> None:
        """The key's last offset is `offset`. A map that is full takes no new key: the caller looks
        at `is_full` first."""
        slot, first, second = self._find(key)
        if self._offsets[slot] == 0:
            if self.is_full:
                raise OverflowError("the key map is full")
            self._first[slot], self._second[slot] = first, second
            self.used += 1
        self._offsets[slot] = offset + 1

    def get(self, key: bytes) -> int:
        """The last offset of the key, NOT_SEEN if it has none here."""
        return self._offsets[self._find(key)[0]] - 1

    def _find(self, key: bytes) -> tuple[int, int, int]:
        """(its slot or the free one where it belongs, both halves of its hash)"""
        hasher = self._hasher.copy()
        hasher.update(key)
        digest = hasher.digest()
        first = int.from_bytes(digest[:8], "little")
        second = int.from_bytes(digest[8:], "little")
        slots, firsts, offsets = self._slots, self._first, self._offsets
        slot = first % slots
        while offsets[slot] and not (firsts[slot] == first and self._second[slot] == second):
            slot = slot + 1 if slot + 1 < slots else 0
        return slot, first, second
