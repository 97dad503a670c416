"""ElectLeaders (key 43), versions 0 to 2: another leader for partitions.

What each version added
    1  preferred or unclean; an error of the whole        2  flexible

Each partition has one replica, which leads: an election is never needed.
"""

from __future__ import annotations

from logstore_server.kafka.admin import find_topic, has_partition
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode


def handle(request: Request) -> Values:
    results = []
    for asked in request.body.topic_partitions or ():  # null: all that need one, which are none
        topic = find_topic(request, asked.topic)
        answers = []
        for partition in asked.partitions:
            if has_partition(topic, partition):
                code, message = ErrorCode.ELECTION_NOT_NEEDED, "its only replica leads already"
            else:
                code, message = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "there is no such partition"
            answers.append(
                {"partition_id": partition, "error_code": code, "error_message": message}
            )
        results.append({"topic": asked.topic, "partition_result": answers})
    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE,
        "replica_election_results": results,
    }
