"""PostgreSQL as a target.

Tables keep their schema and name. Values go as the source's exact text with no type of their own,
so the server reads them as it reads its own output: nothing is lost, nothing is rounded. A column
has the source's type in the source's spelling; a type that the target lacks (an enum, a domain, a
composite, an extension's type) becomes ``text``, as do types whose texts name objects of one
server (``regclass`` and its kin, ``aclitem``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from penstock.errors import SchemaError
from penstock.model import Column, Table, Type
from penstock.registry import driver
from penstock.sinks.sql.dialect import Binder, Dialect, Target, too_long
from penstock.sinks.sql.mysqlwords import in_postgres
from penstock.sinks.sql.widening import widens

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

NAME_BYTES: Final = 63
LOCAL_TYPES: Final = frozenset(
    {
        *("aclitem", "gtsvector", "regclass", "regcollation", "regconfig", "regdictionary"),
        *("regnamespace", "regoper", "regoperator", "regproc", "regprocedure", "regrole"),
        "regtype",
    }
)
_SETTINGS: Final = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "lc_monetary": "C",
    "xmloption": "content",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read committed",
    # A copy that is frozen, or cut off, in a transaction must not keep its locks from others.
    "idle_in_transaction_session_timeout": "60s",
}
_LOCAL_HOSTS: Final = ("", "localhost", "127.0.0.1", "::1")


class PostgresDialect(Dialect):
    """See the module."""

    placeholder: ClassVar[str] = "%s"
    has_schemas: ClassVar[bool] = True
    bulk: ClassVar[int | None] = 50

    def __init__(self, url: Any) -> None:
        super().__init__(url)
        self._declared: dict[str, str] = {}

    def engine(self) -> Engine:
        sqlalchemy = driver("sqlalchemy", "sql")
        engine: Engine = sqlalchemy.create_engine(
            self.url,
            poolclass=sqlalchemy.pool.NullPool,
            connect_args=self._connect_args(),
            use_native_hstore=False,
            hide_parameters=True,
        )
        sqlalchemy.event.listen(engine, "connect", _set_up)
        return engine

    def _connect_args(self) -> dict[str, Any]:
        given = self.url.query
        arguments: dict[str, Any] = {
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "application_name": "penstock",
        }
        host = self.url.host or str(given.get("host") or os.environ.get("PGHOST") or "")
        if "sslmode" not in given and host not in _LOCAL_HOSTS and not host.startswith("/"):
            arguments |= {"sslmode": "verify-full"}
            if "sslrootcert" not in given:
                arguments |= {"sslrootcert": "system"}
        return {name: value for name, value in arguments.items() if name not in given}

    def interrupt(self, connection: Connection) -> None:
        connection.connection.driver_connection.cancel_safe(timeout=5)  # type: ignore[union-attr]

    def plain(self, statement: str) -> str:
        return statement.replace("%%", "%")

    def check_name(self, name: str) -> None:
        if len(name.encode()) > NAME_BYTES:
            raise too_long(name, NAME_BYTES)

    def check_table(self, connection: Connection, table: Table) -> None:
        if table.name == "penstock_checkpoint":
            raise SchemaError(f"{table.text} is the sink's own table", table=table.text)

    def prepare(self, connection: Connection) -> None:
        """Let one sink at a time create the checkpoint table."""
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('penstock_checkpoint'))")

    def exists(self, connection: Connection, table: Table) -> bool:
        return self._oid(connection, table) is not None

    def _oid(self, connection: Connection, table: Table) -> int | None:
        found = connection.exec_driver_sql(
            "SELECT to_regclass(%s)::oid::bigint", (self.plain_name(table),)
        )
        oid: int | None = found.scalar()
        return oid

    def describe(self, connection: Connection, table: Table) -> Target | None:
        oid = self._oid(connection, table)
        if oid is None:
            return None
        columns = connection.exec_driver_sql(
            "SELECT attname, attnum, CASE typtype WHEN 'd' THEN format_type(typbasetype, typtypmod)"
            " ELSE format_type(atttypid, atttypmod) END "
            "FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid "
            "WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (oid,),
        ).all()
        names = {number: name for name, number, _ in columns}
        keys = connection.exec_driver_sql(
            "SELECT indkey::int2[] FROM pg_index WHERE indrelid = %s AND indisunique "
            "AND indimmediate AND indpred IS NULL AND indexprs IS NULL AND indnatts = indnkeyatts",
            (oid,),
        ).scalars()
        return Target(
            self.name(table),
            {name: declared for name, _, declared in columns},
            [frozenset(names[number] for number in key) for key in keys],
        )

    def declare(self, connection: Connection, table: Table, column: Column) -> str:
        spelling = in_postgres(column.type)
        declared = self._declared.get(spelling)
        if declared is None:
            declared = self._declared[spelling] = self._resolve(connection, spelling)
        return declared

    def _resolve(self, connection: Connection, spelling: str) -> str:
        if spelling.removesuffix("[]") in LOCAL_TYPES:
            return "text"
        known = connection.exec_driver_sql("SELECT to_regtype(%s)::oid::bigint", (spelling,))
        if known.scalar() is None:
            return "text"
        text = spelling.replace("%", "%%")
        cursor = connection.exec_driver_sql(f"SELECT NULL::{text} LIMIT 0").cursor
        result = cursor.pgresult
        declared: str = connection.exec_driver_sql(
            "SELECT format_type(%s, %s)", (result.ftype(0), result.fmod(0))
        ).scalar_one()
        return declared

    def create_schema(self, connection: Connection, schema: str) -> None:
        name = self.plain(self.quote(schema))
        if connection.exec_driver_sql("SELECT to_regnamespace(%s)::oid", (name,)).scalar() is None:
            connection.exec_driver_sql(f"CREATE SCHEMA {self.quote(schema)}")

    def alter_type(self, target: Target, column: str, definition: str) -> str | None:
        return f"ALTER TABLE {target.name} ALTER COLUMN {self.quote(column)} TYPE {definition}"

    def holds(self, declared: str, wanted: str) -> bool:
        return declared == "text" or widens(wanted, declared)

    def literal(self, raw: bytes, type: Type) -> str:
        return "'" + raw.decode().replace("'", "''").replace("%", "%%") + "'"

    def truncate(self, target: Target) -> str:
        return f"TRUNCATE {target.name}"

    def binders(
        self, connection: Connection, definition: Table, target: Target
    ) -> Sequence[Binder] | None:
        return None

    def lock_checkpoints(self, connection: Connection) -> str:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
        return " FOR UPDATE"

    def load(self, connection: Connection, into: str, columns: str, text: bytes) -> None:
        raw_connection: Any = connection.connection.driver_connection
        statement = self.plain(f"COPY {into} ({columns}) FROM STDIN")
        with raw_connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(text)


def _set_up(connection: Any, _: object) -> None:
    psycopg = driver("psycopg", "postgres")

    class RawText(psycopg.adapt.Dumper):  # type: ignore[misc, name-defined]
        """Bytes are text of a type that the server infers: it reads its own output."""

        oid = 0

        def dump(self, obj: bytes) -> bytes:
            return obj

    connection.adapters.register_dumper(bytes, RawText)
    with connection.cursor() as cursor:
        for setting, value in _SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, false)", (setting, value))
        # A commit that is reported must not be lost in the server's crash.
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'local', false) "
            "WHERE current_setting('synchronous_commit') = 'off'"
        )
    connection.commit()
