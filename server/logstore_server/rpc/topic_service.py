"""TopicService: create, delete, describe, alter topics, add partitions. All first version."""

from __future__ import annotations

from logstore.api import TopicSpec
from logstore.v1 import topic_service_pb2 as pb
from logstore_server.rpc.calls import Context, Serving
from logstore_server.rpc.values import topic_message


class TopicService:
    descriptor = pb.DESCRIPTOR.services_by_name["TopicService"]

    def __init__(self, serving: Serving) -> None:
        self._store = serving.store
        self._call = serving.bridge.call

    async def create_topic(
        self, request: pb.CreateTopicRequest, _context: Context
    ) -> pb.CreateTopicResponse:
        spec = TopicSpec(
            name=request.name, partitions=request.partitions or 1, configs=dict(request.configs)
        )
        info = await self._call(self._store.create_topic, spec, validate_only=request.validate_only)
        return pb.CreateTopicResponse(topic=topic_message(info))

    async def delete_topic(
        self, request: pb.DeleteTopicRequest, _context: Context
    ) -> pb.DeleteTopicResponse:
        await self._call(self._store.delete_topic, request.name)
        return pb.DeleteTopicResponse()

    async def describe_topics(
        self, request: pb.DescribeTopicsRequest, _context: Context
    ) -> pb.DescribeTopicsResponse:
        infos = self._store.describe_topics(
            list(request.topics.names) if request.HasField("topics") else None,
            include_internal=request.include_internal,
        )
        return pb.DescribeTopicsResponse(topics=[topic_message(info) for info in infos])

    async def alter_topic(
        self, request: pb.AlterTopicRequest, _context: Context
    ) -> pb.AlterTopicResponse:
        info = await self._call(
            self._store.alter_topic,
            request.name,
            set_configs=dict(request.set_configs),
            reset_configs=list(request.reset_configs),
        )
        return pb.AlterTopicResponse(topic=topic_message(info))

    async def add_partitions(
        self, request: pb.AddPartitionsRequest, _context: Context
    ) -> pb.AddPartitionsResponse:
        info = await self._call(self._store.add_partitions, request.name, total=request.total)
        return pb.AddPartitionsResponse(topic=topic_message(info))
