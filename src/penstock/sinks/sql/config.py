"""What the pipeline file says of the ``sql`` sink."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from penstock.component import SecretField, SinkComponent

if TYPE_CHECKING:
    from penstock.model import Table
    from penstock.sinks.sql.sink import SqlSink


class Sql(SinkComponent):
    """Keeps a replica of the source's tables in PostgreSQL, MySQL, MariaDB or SQLite.

    Target tables are created on first sight and widened as the source's tables grow. Rows are
    upserted and deleted by key, in whole source transactions.

    Parameters
    ----------
    url: a SQLAlchemy URL: ``postgresql://…``, ``mysql://…``, ``mariadb://…`` or
        ``sqlite:///path``.
    """

    extra_name: ClassVar[str] = "sql"

    type: Literal["sql"] = "sql"
    url: SecretField

    def build(self) -> SqlSink:
        """The sink. Raises ConfigError for a URL of a database that is no target."""
        from penstock.sinks.sql.dialect import dialect_of
        from penstock.sinks.sql.sink import SqlSink

        return SqlSink(dialect_of(self.url.get_secret_value()))

    def target_name(self, table: Table) -> str:
        """A source table's name in the target, quoted for SQL."""
        from penstock.sinks.sql.dialect import dialect_of

        return dialect_of(self.url.get_secret_value()).plain_name(table)
