"""Consumer groups: who reads which partitions, and how far. See README.md."""

from logstore.group.coordinator import GroupCoordinator, Journal, Topics

__all__ = ["GroupCoordinator", "Journal", "Topics"]
