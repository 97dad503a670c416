"""The partitions of a stopped Kafka broker, taken into a store: `adopt`. See README.md."""

from logstore.adopt.adoption import Adopted, Adoption, adopt

__all__ = ["Adopted", "Adoption", "adopt"]
