"""Values in binary: a type's send form to the server's own text, exactly.

A type is known here only where its send form and the session's settings decide its text on every
server that we read from; of all other types the server is asked for the text. Left out, with
their reason: ``"char"`` (high bytes are written differently since PostgreSQL 16), ``pg_lsn`` (since
19), ``money`` (locale), ``reg*`` (names of today's catalog), composites and what extensions bring
(forms of their own).

Facts: PostgreSQL's ``*send`` and ``*out`` functions (src/backend/utils/adt).
"""

from penstock.sources.postgres.wire.binary.form import TextOf
from penstock.sources.postgres.wire.binary.registry import inexact, is_exact, text_of

__all__ = ["TextOf", "inexact", "is_exact", "text_of"]
