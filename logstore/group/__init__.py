"""Consumer groups: who reads which partitions, and how far. See README.md."""

from logstore.group.coordination import Coordination
from logstore.group.coordinator import GroupCoordinator, check_group_id
from logstore.group.group_table import Topics
from logstore.group.offset_manager import Journal

__all__ = ["Coordination", "GroupCoordinator", "Journal", "Topics", "check_group_id"]
