"""The Kafka listener: Kafka's wire protocol on the same log. See README.md."""
