"""The codec that a topic asks for (compression_type), applied to one valid batch."""

from __future__ import annotations

from logstore.config import TopicConfig
from logstore.record import BatchHeader, codec_code, parse_header, recompress_batch
from logstore.record.compression import Block

SENDERS_CHOICE = "producer"
UNCOMPRESSED = "uncompressed"
GZIPS_CHOICE = -1


def in_topics_codec(
    view: memoryview, header: BatchHeader, body: Block, config: TopicConfig
) -> tuple[memoryview, BatchHeader]:
    """The batch as the topic stores it. `header` and `body` are what validated_body says of `view`.

    Only the codec is compared, as in Kafka: what was sent in it keeps the sender's bytes, whatever
    the level. Takes as long as compressing does; call it under no lock.
    """
    name = config.compression_type
    codec = codec_code("none" if name == UNCOMPRESSED else name)
    if header.compression == codec:
        return view, header
    stored = memoryview(recompress_batch(header, body, codec=codec, level=_level(config)))
    return stored, parse_header(stored)


def _level(config: TopicConfig) -> int | None:
    if config.compression_type == "zstd":
        return config.compression_zstd_level
    if config.compression_type == "gzip" and config.compression_gzip_level != GZIPS_CHOICE:
        return config.compression_gzip_level
    return None
