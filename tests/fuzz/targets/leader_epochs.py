"""Invariant: a leader-epoch checkpoint is missing, or epochs that a log can go on from."""

from __future__ import annotations

from itertools import pairwise

from logstore.log.checkpoint import EPOCH_MAX, LeaderEpochs
from logstore.log.format import LEADER_EPOCH_FILE
from logstore.record import header_prefix
from tests.fuzz.files import one_file
from tests.fuzz.target import Target, promised, require

INT64_MAX = 2**63 - 1


def seeds() -> list[bytes]:
    some = (((0, 0),), ((0, 0), (1, 1204)), ((0, 0), (4, 9), (5, 9), (2**31 - 3, INT64_MAX)))
    return [LeaderEpochs(entries).encode().encode() for entries in some]


def check(data: bytes) -> object:
    epochs = LeaderEpochs.read(one_file(f"t-0/{LEADER_EPOCH_FILE}", data), "t-0")
    if epochs is None:
        return None
    for (epoch, start), (later, behind) in pairwise(epochs.entries):
        require(epoch < later and start <= behind, "both ascend")
    require(epochs.entries[0][0] >= 0 and epochs.entries[0][1] >= 0, "neither is negative")
    require(epochs.entries[-1][1] <= INT64_MAX, "an offset is an int64")
    files = one_file(f"t-0/{LEADER_EPOCH_FILE}", b"")
    following = epochs.with_next(epochs.entries[-1][1])
    with promised:
        header_prefix(49, base_offset=0, leader_epoch=following.current)
        following.write(files, "t-0")
        again = LeaderEpochs.read(files, "t-0")
    if following.current < EPOCH_MAX:  # with that one the numbers end
        require(again is not None and again.entries == following.entries, "a round trip")
    for epoch in (-1, 0, 1, epochs.current, epochs.current + 1):
        found, end = epochs.end_offset(epoch, INT64_MAX)
        require(found <= epoch and -1 <= end <= INT64_MAX, "an answer within bounds")
    return min(len(epochs.entries), 4)


TARGET = Target("leader_epochs", seeds, check, bytes_max=256)
