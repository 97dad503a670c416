"""Faults of a simulation: what is injected, where, and for how long."""

from __future__ import annotations

import errno

from tests.simulator.history import Trouble, TroubleOver
from tests.simulator.world import World

PATHS = ("", "-0/", "-1/", ".log", ".index", ".timeindex", "__consumer_offsets", "__cluster", "a-")
# (operation, error, weight). Reads, opens and the like fail too, if seldom.
FAULTS = (
    ("write", errno.ENOSPC, 20),
    ("allocate", errno.ENOSPC, 20),
    ("write", errno.EIO, 8),
    ("allocate", errno.EIO, 3),
    ("truncate", errno.EIO, 3),
    ("sync", errno.EIO, 15),
    ("write_back", errno.EIO, 15),
    ("sync_directory", errno.EIO, 6),
    ("sync_file_system", errno.EIO, 6),
    ("rename", errno.EIO, 4),
    ("rename", errno.ENOSPC, 2),
    ("unlink", errno.EIO, 4),
    ("open", errno.EIO, 3),
    ("open", errno.ENOSPC, 3),
    ("read", errno.EIO, 3),
    ("map", errno.ENOMEM, 2),
    ("list_directory", errno.EIO, 2),
    ("make_directory", errno.ENOSPC, 2),
    ("remove_tree", errno.EIO, 1),
)
SELDOM_CALLED = ("make_directory", "remove_tree")
UNUSUAL_WEIGHT = 40  # over the usual one


def inject_one(world: World) -> None:
    chance = world.chance
    world.is_troubled = True
    weights = [UNUSUAL_WEIGHT // weight if world.is_unusual else weight for *_, weight in FAULTS]
    operation, error, _ = chance.choices(FAULTS, weights)[0]
    path = chance.choice(PATHS)
    times = chance.choice((1, 1, 2, 5, None))
    after = chance.choice((0, 0, 1, 3, 8))
    if world.is_unusual and operation in SELDOM_CALLED:
        path, times, after = "", None, 0
    world.fs.inject(operation, error, path_contains=path, times=times, after=after)
    name = errno.errorcode[error]
    what = f"{operation} {name} {path!r} after={after} times={times}"
    world.history.add(Trouble(what, error == errno.ENOSPC))


def fill_disk(world: World) -> None:
    """Room for a little more, or none."""
    world.is_troubled = True
    room = world.chance.choice((0, 100, 5_000, 30_000))
    world.fs.capacity_bytes = world.fs.used_bytes + room
    world.history.add(Trouble(f"room for {room} bytes", is_full=True))


def is_untold(world: World) -> bool:
    """Whether a write-back failed of which nobody heard: who syncs that file next is told, in this
    life of the store or a later one, as Linux does."""
    return any(not node.is_failure_told for node in world.fs._root.files())


def end_all(world: World) -> None:
    world.fs.heal()
    world.fs.capacity_bytes = None
    world.history.add(TroubleOver())
