"""Consumer groups: who reads which partitions, and how far. See README.md."""

from logstore.group.coordinator import GroupCoordinator, Topics, check_group_id
from logstore.group.offset_manager import Journal

__all__ = ["GroupCoordinator", "Journal", "Topics", "check_group_id"]
