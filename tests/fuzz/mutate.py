"""Changes to valid inputs, chosen by a seeded generator: one seed, one sequence of inputs."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random

INTERESTING = (0, 1, 2, 3, 4, 5, 7, 8, 16, 60, 61, 62, 64, 100, 127, 128, 255, 256, 1000, 4096,
               32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63,
               2**64 - 1)  # fmt: skip
VARINTS = (b"\x80", b"\xff\xff\xff\xff\x0f", b"\xfe\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\x01",
           b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", b"\xff" * 9 + b"\x01", b"\xff" * 10,
           b"\x80\x00", b"\x00", b"\x01", b"\x02")  # fmt: skip
TEXTS = (b"\n", b" ", b"-1", b"0", b"_", b"9" * 20, b"\xe2\x80\xa8", b"\xff", b"=", b"..", b"/",
         b"[" * 40, b"{}", b"null", b"1e999", b"Infinity", b"\\ud800", b'"')  # fmt: skip
NUMBERS = tuple(
    struct.pack(order + layout, number & mask)
    for number in INTERESTING
    for layout, mask in (("H", 0xFFFF), ("I", 0xFFFFFFFF), ("Q", 2**64 - 1))
    for order in "><"
)
PIECE_BYTES_MAX = 40


class Mutator:
    """Owned by one loop. `mutate` needs a few microseconds."""

    def __init__(self, seed: object, bytes_max: int) -> None:
        self._random = Random(f"{seed}").random
        self._bytes_max = bytes_max
        self._ways: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._flip,
            self._byte,
            self._nudge,
            self._number,
            self._number,
            self._varint,
            self._text,
            self._cut,
            self._copy,
            self._noise,
            self._truncate,
        )

    def below(self, count: int) -> int:
        return int(self._random() * count)

    def pick(self, corpus: Sequence[bytes]) -> bytes:
        """Later finds as often as all that came before them together, every second time."""
        count = len(corpus)
        if self._random() < 0.5:
            return corpus[int(self._random() * count)]
        return corpus[-1 - int(self._random() ** 2 * count)]

    def mutate(self, data: bytes, corpus: Sequence[bytes]) -> bytearray:
        """Most often one change, at times a few; sometimes the rest of another input."""
        changed = bytearray(data)
        roll = self._random()
        if roll < 0.05:
            other = corpus[int(self._random() * len(corpus))]
            changed[self.below(len(changed) + 1) :] = other[self.below(len(other) + 1) :]
        ways = self._ways
        for _ in range(1 if roll < 0.6 else 2 if roll < 0.85 else 2 + self.below(6)):
            ways[int(self._random() * 12)](changed)
        del changed[self._bytes_max :]
        return changed

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.below(len(data))] ^= 1 << self.below(8)

    def _byte(self, data: bytearray) -> None:
        if data:
            data[self.below(len(data))] = self.below(256)

    def _nudge(self, data: bytearray) -> None:
        if data:
            at = self.below(len(data))
            data[at] = data[at] + (self.below(9) - 4) & 0xFF

    def _number(self, data: bytearray) -> None:
        number = NUMBERS[self.below(len(NUMBERS))]
        at = self.below(len(data) + 1)
        data[at : at + len(number)] = number

    def _varint(self, data: bytearray) -> None:
        """In the place of one byte: what follows moves."""
        at = self.below(len(data) + 1)
        data[at : at + 1] = VARINTS[self.below(len(VARINTS))]

    def _text(self, data: bytearray) -> None:
        at = self.below(len(data) + 1)
        data[at : at + self.below(3)] = TEXTS[self.below(len(TEXTS))]

    def _cut(self, data: bytearray) -> None:
        at = self.below(len(data) + 1)
        del data[at : at + 1 + self.below(PIECE_BYTES_MAX)]

    def _copy(self, data: bytearray) -> None:
        """A piece once more, in front or in the place of another."""
        start, at = self.below(len(data) + 1), self.below(len(data) + 1)
        piece = data[start : start + 1 + self.below(PIECE_BYTES_MAX)]
        data[at : at + (len(piece) if self._random() < 0.5 else 0)] = piece

    def _noise(self, data: bytearray) -> None:
        at = self.below(len(data) + 1)
        data[at:at] = bytes(self.below(256) for _ in range(1 + self.below(8)))

    def _truncate(self, data: bytearray) -> None:
        del data[self.below(len(data) + 1) :]
