"""PostgreSQL's replication stream and COPY texts: bytes in, batches out. No I/O."""

from penstock.sources.postgres.wire.decoder import Decoder
from penstock.sources.postgres.wire.kernels import LogDecoder, make_decoder
from penstock.sources.postgres.wire.lsn import format_lsn, parse_lsn
from penstock.sources.postgres.wire.messages import Keepalive, Relation
from penstock.sources.postgres.wire.relations import ColumnFacts, RelationFacts
from penstock.sources.postgres.wire.types import builtin, make_type

__all__ = [
    "ColumnFacts",
    "Decoder",
    "Keepalive",
    "LogDecoder",
    "Relation",
    "RelationFacts",
    "builtin",
    "format_lsn",
    "make_decoder",
    "make_type",
    "parse_lsn",
]
