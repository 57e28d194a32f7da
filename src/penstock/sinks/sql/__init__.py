"""The ``sql`` sink: a replica of the source's tables in PostgreSQL, MySQL, MariaDB or SQLite.

Every source transaction is applied whole, and the checkpoint commits with the data, so a repeat
has no effect. What a table's row becomes in the target is told in
:mod:`penstock.sinks.sql.postgres`, :mod:`penstock.sinks.sql.mysql` and
:mod:`penstock.sinks.sql.sqlite`.
"""

from penstock.sinks.sql.config import Sql

__all__ = ["Sql"]
