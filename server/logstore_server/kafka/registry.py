"""What this listener serves: one row for each API. Dispatch and ApiVersions both follow from it.

A row names the module in apis/ that has `handle`. Neither that nor the schemas are imported before
a client asks (Messages.load): start-up and an idle server stay as small as without Kafka.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """`version_min` to `version_max` are served; the schemas must have all of them.

    `advertised_min`: what ApiVersions says instead; a request of a version below `version_min`
    closes the connection, like any other that is not served.
    `overlaps`: requests of this API may be taken while earlier ones of such APIs are unanswered,
    once those called Request.taken; all others are handled one after the other, as Kafka does.
    """

    key: int
    name: str
    version_min: int
    version_max: int
    advertised_min: int = -1
    overlaps: bool = False

    @property
    def module(self) -> str:
        return f"logstore_server.kafka.apis.{self.name}"

    @property
    def first_version(self) -> int:
        return self.version_min if self.advertised_min < 0 else self.advertised_min


def _api(key: int, name: str, versions: tuple[int, int], **more: int) -> Api:
    overlaps = bool(more.get("overlaps", False))
    advertised_min = more.get("advertised_min", -1)
    return Api(
        key=key,
        name=name,
        version_min=versions[0],
        version_max=versions[1],
        advertised_min=advertised_min,
        overlaps=overlaps,
    )


APIS: tuple[Api, ...] = (
    # --- data ---------------------------------------------------------------------------------
    _api(0, "produce", (3, 13), advertised_min=0, overlaps=True),
    _api(1, "fetch", (4, 18)),
    _api(2, "list_offsets", (1, 11)),
    _api(21, "delete_records", (0, 2)),
    _api(23, "offset_for_leader_epoch", (2, 4)),
    # --- metadata -----------------------------------------------------------------------------
    _api(3, "metadata", (0, 13)),
    _api(10, "find_coordinator", (0, 6)),
    _api(18, "api_versions", (0, 4)),
    # --- groups -------------------------------------------------------------------------------
    _api(8, "offset_commit", (2, 10)),
    _api(9, "offset_fetch", (1, 10)),
    _api(11, "join_group", (0, 9)),
    _api(12, "heartbeat", (0, 4)),
    _api(13, "leave_group", (0, 5)),
    _api(14, "sync_group", (0, 5)),
    _api(15, "describe_groups", (0, 6)),
    _api(16, "list_groups", (0, 5)),
    _api(42, "delete_groups", (0, 2)),
    _api(47, "offset_delete", (0, 0)),
    _api(68, "consumer_group_heartbeat", (0, 1)),
    _api(69, "consumer_group_describe", (0, 1)),
    # --- producers and transactions -----------------------------------------------------------
    _api(22, "init_producer_id", (0, 6)),
    _api(24, "add_partitions_to_txn", (0, 5)),
    _api(25, "add_offsets_to_txn", (0, 4)),
    _api(26, "end_txn", (0, 5)),
    _api(27, "write_txn_markers", (1, 2)),
    _api(28, "txn_offset_commit", (0, 5)),
    _api(61, "describe_producers", (0, 0)),
    _api(65, "describe_transactions", (0, 0)),
    _api(66, "list_transactions", (0, 2)),
    # --- admin and configs --------------------------------------------------------------------
    _api(19, "create_topics", (2, 7)),
    _api(20, "delete_topics", (1, 6)),
    _api(32, "describe_configs", (1, 4)),
    _api(33, "alter_configs", (0, 2)),
    _api(34, "alter_replica_log_dirs", (1, 2)),
    _api(35, "describe_log_dirs", (1, 4)),
    _api(37, "create_partitions", (0, 3)),
    _api(43, "elect_leaders", (0, 2)),
    _api(44, "incremental_alter_configs", (0, 1)),
    _api(45, "alter_partition_reassignments", (0, 1)),
    _api(46, "list_partition_reassignments", (0, 0)),
    _api(55, "describe_quorum", (0, 2)),
    _api(60, "describe_cluster", (0, 2)),
    _api(74, "list_config_resources", (0, 1)),
    _api(75, "describe_topic_partitions", (0, 0)),
    # --- security and quotas ------------------------------------------------------------------
    _api(17, "sasl_handshake", (1, 1)),
    _api(29, "describe_acls", (1, 3)),
    _api(30, "create_acls", (1, 3)),
    _api(31, "delete_acls", (1, 3)),
    _api(36, "sasl_authenticate", (0, 2)),
    _api(48, "describe_client_quotas", (0, 1)),
    _api(49, "alter_client_quotas", (0, 1)),
    _api(50, "describe_user_scram_credentials", (0, 0)),
    _api(51, "alter_user_scram_credentials", (0, 0)),
    # --- telemetry ----------------------------------------------------------------------------
    _api(71, "get_telemetry_subscriptions", (0, 0)),
)

BY_KEY: dict[int, Api] = {api.key: api for api in APIS}
API_VERSIONS_KEY = 18


# Feature levels that are in force (KIP-584); a client uses a newer protocol only if it is here.
# name: (lowest, highest supported and finalized). A row is added when the feature works.
FEATURES: dict[str, tuple[int, int]] = {
    "group.version": (0, 1),  # KIP-848
    "transaction.version": (0, 2),  # KIP-890; clients of version 1 are served as well
}
