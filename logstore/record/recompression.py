"""A batch in another codec, all else kept: what a topic with a compression of its own stores.

before   none, 3 records, sequences 7..9, CreateTime     after   the same in zstd
"""

from __future__ import annotations

from logstore.record import format as fmt
from logstore.record.batch import pack_header, seal
from logstore.record.compression import CODEC_NONE, Block, compress
from logstore.record.format import BatchHeader


def recompress_batch(
    header: BatchHeader, body: Block, *, codec: int, level: int | None = None
) -> bytearray:
    """The batch of `header` and `body` (its records without compression, see
    batch.validated_body), compressed by `codec`; CODEC_NONE for none.

    Header fields but length, codec and CRC are kept, and the records byte for byte. Records that
    the codec makes larger are compressed all the same, as Kafka does: who asks for a codec reads
    it. `level`: see compression.compress. Raises InvalidRequestError over 2 GiB.
    """
    batch = bytearray(fmt.HEADER_BYTES)
    batch += body if codec == CODEC_NONE else compress(codec, body, level)
    pack_header(
        batch,
        header._replace(
            batch_length=len(batch) - fmt.LENGTH_END,
            attributes=header.attributes & ~fmt.COMPRESSION_MASK | codec,
        ),
    )
    seal(batch)
    return batch
