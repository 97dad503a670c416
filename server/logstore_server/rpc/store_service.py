"""StoreService: who answers here, and where partitions are served.

DescribeStore  first version
GetMetadata    first version; a topic that is not there has an error of its own
"""

from __future__ import annotations

from logstore.api import TopicInfo
from logstore.errors import LogStoreError
from logstore.v1 import store_service_pb2 as pb
from logstore_server.rpc.calls import Context, Serving
from logstore_server.rpc.errors import error_message


class StoreService:
    descriptor = pb.DESCRIPTOR.services_by_name["StoreService"]

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def describe_store(
        self, _request: pb.DescribeStoreRequest, _context: Context
    ) -> pb.DescribeStoreResponse:
        info = self._serving.store.describe_store()
        return pb.DescribeStoreResponse(
            cluster_id=info.cluster_id,
            node_id=info.node_id,
            endpoints=[endpoint for endpoint in info.endpoints if endpoint],
            version=info.version,
        )

    async def get_metadata(
        self, request: pb.GetMetadataRequest, _context: Context
    ) -> pb.GetMetadataResponse:
        store = self._serving.store
        if request.HasField("topics"):
            topics = [self._metadata(name) for name in request.topics.names]
        else:
            topics = [_metadata(info) for info in store.describe_topics()]
        return pb.GetMetadataResponse(cluster_id=store.describe_store().cluster_id, topics=topics)

    def _metadata(self, name: str) -> pb.TopicMetadata:
        try:
            (info,) = self._serving.store.describe_topics([name])
        except LogStoreError as error:
            return pb.TopicMetadata(topic=name, error=error_message(error))
        return _metadata(info)


def _metadata(info: TopicInfo) -> pb.TopicMetadata:
    return pb.TopicMetadata(
        topic=info.name,
        topic_id=info.topic_id.bytes,
        partitioner=info.partitioner,
        partitions=[
            pb.PartitionMetadata(
                partition=item.partition, endpoint=item.endpoint, leader_epoch=item.leader_epoch
            )
            for item in info.partitions
        ],
    )
