"""MySQL and MariaDB as a target: tables of one database, the URL's.

There are no schemas in a database, so a table keeps its name only; two source tables of one name
are refused. How columns are kept is told in :mod:`penstock.sinks.sql.mysqltypes`.

DDL commits what is open. So it has a connection of its own, and happens between two transactions:
what alters a table rolls ours back, which is then fed again. The checkpoint never moves with it,
and a crash leaves at most a table that is wider than its rows need.

https://dev.mysql.com/doc/refman/en/implicit-commit.html
"""

from __future__ import annotations

import re
import socket
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from penstock.errors import ConfigError, SchemaError
from penstock.model import Column, Table, Type
from penstock.ports import Finding
from penstock.registry import driver
from penstock.sinks.sql.dialect import Binder, Dialect, Statement, Target
from penstock.sinks.sql.mysqltypes import TEXT, storage
from penstock.sinks.sql.widening import widens
from penstock.tls import OPTIONS, driver_arguments, is_local

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

NAME_CHARACTERS: Final = 64
STATEMENT_BYTES: Final = 1 << 20
"""How long a statement of many rows grows; a longer row has one for itself."""
NO_SUCH_TABLE: Final = 1146
DUPLICATE: Final = 1062
TOO_LARGE: Final = 1153
SETTINGS: Final = (
    # What does not fit is refused; zero dates and such are values like any other.
    "sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,"
    "NO_ENGINE_SUBSTITUTION'",
    "time_zone = '+00:00'",
    "sql_notes = 1",
    "sql_safe_updates = 0",
    # Rows come in an order that knows nothing of them, and what they cascade is in the log itself.
    "foreign_key_checks = 0",
    # A copy that is frozen, or cut off, in a transaction must not keep its locks from others.
    "wait_timeout = 60",
    "innodb_lock_wait_timeout = 10",
    "lock_wait_timeout = 60",
)
_WIDTH: Final = re.compile(r"(smallint|mediumint|int|bigint|year|tinyint)\((?:\d{2,}|[2-9])\)")
_TABLE: Final = "penstock_table"


class MysqlDialect(Dialect):
    """See the module."""

    placeholder: ClassVar[str] = "%s"
    has_schemas: ClassVar[bool] = False
    transactional_ddl: ClassVar[bool] = False

    def __init__(self, url: Any) -> None:
        super().__init__(url)
        if not url.database:
            raise ConfigError(
                "the sql sink's url names no database",
                hint="mysql+pymysql://user@host/database; all tables go into that one",
            )
        rest = {name: value for name, value in url.query.items() if name not in OPTIONS}
        local = "unix_socket" in rest or is_local(url.host)
        self._arguments = driver_arguments(url.query, local=local)
        self.url = url.set(query=rest)

    @property
    def where(self) -> str:
        return f"mysql {self.url.host or 'localhost'}:{self.url.port or 3306}/{self.url.database}"

    def engine(self) -> Engine:
        sqlalchemy = driver("sqlalchemy", "sql")
        engine: Engine = sqlalchemy.create_engine(
            self.url,
            poolclass=sqlalchemy.pool.NullPool,
            connect_args={
                "charset": "utf8mb4",
                "local_infile": False,
                "connect_timeout": 10,
                **self._arguments,
            },
            hide_parameters=True,
        )
        sqlalchemy.event.listen(engine, "connect", _set_up)
        return engine

    def interrupt(self, connection: Connection) -> None:
        raw: Any = connection.connection.driver_connection
        number = raw.thread_id()
        with suppress(*self.errors), self.engine().connect() as other:
            other.exec_driver_sql(f"KILL QUERY {int(number)}")

    def revive(self, connection: Connection) -> None:
        """The server ends a connection that was idle for a minute."""
        with suppress(*self.errors):
            connection.rollback()
            raw: Any = connection.connection.driver_connection
            raw.ping(reconnect=False)
            return
        connection.invalidate()
        connection.rollback()  # of what went with it

    def plain(self, statement: str) -> str:
        return statement.replace("%%", "%")

    def check_name(self, name: str) -> None:
        # https://dev.mysql.com/doc/refman/en/identifiers.html
        if (
            not name
            or len(name) > NAME_CHARACTERS
            or name.endswith(" ")
            or any(c == "\0" or c > "\uffff" for c in name)
        ):
            raise SchemaError(
                f"MySQL takes no name {name!r}: it has 1 to {NAME_CHARACTERS} characters up to "
                "U+FFFF and no space at the end",
                hint="rename it with a transform",
            )

    def check_table(self, connection: Connection, table: Table) -> None:
        folded: dict[str, str] = {}
        for name in table.names:
            twin = folded.setdefault(name.lower(), name)
            if twin != name:
                raise SchemaError(
                    f"{table.text}: MySQL takes the columns {twin!r} and {name!r} for one",
                    hint="rename one of them with a transform",
                    table=table.text,
                )
        folds = connection.exec_driver_sql("SELECT @@lower_case_table_names").scalar()
        name = table.name.lower() if folds else table.name
        if name.lower() in (_TABLE, "penstock_checkpoint"):
            raise SchemaError(f"{table.text} is the sink's own table", table=table.text)
        look = f"SELECT source FROM {_TABLE} WHERE name = %s"
        owner = connection.exec_driver_sql(look, (name,)).scalar()
        if owner is None:
            insert = f"INSERT INTO {_TABLE} (name, source) VALUES (%s, %s)"
            self.claim(connection, insert, (name, table.text))
            owner = connection.exec_driver_sql(look, (name,)).scalar_one()
        if owner != table.text:
            raise SchemaError(
                f"{owner} and {table.text} would both be the table {table.name!r} in MySQL",
                hint="rename one of them with a transform, or give each schema a sink of its own",
                table=table.text,
            )

    def prepare(self, connection: Connection) -> None:
        """Whose table is whose: two source tables of one name must not meet, now or later."""
        if not self.exists(connection, Table("", _TABLE, ())):
            connection.exec_driver_sql(
                f"CREATE TABLE IF NOT EXISTS {_TABLE} (name {self.own_text(connection, 64)} "
                f"PRIMARY KEY, source {self.own_text(connection, 300)} NOT NULL) ENGINE=InnoDB"
            )

    def own_text(self, connection: Connection, length: int | None = None) -> str:
        kind = "LONGTEXT" if length is None else f"VARCHAR({length})"
        return f"{kind} CHARACTER SET utf8mb4 COLLATE {_exact(connection)}"

    def exists(self, connection: Connection, table: Table) -> bool:
        return bool(self._columns(connection, table))

    def _columns(self, connection: Connection, table: Table) -> Sequence[Any]:
        try:
            return connection.exec_driver_sql(f"SHOW FULL COLUMNS FROM {self.name(table)}").all()
        except self.errors as error:
            if _number(error) == NO_SUCH_TABLE:
                return ()
            raise

    def describe(self, connection: Connection, table: Table) -> Target | None:
        rows = self._columns(connection, table)
        if not rows:
            return None
        name = self.name(table)
        self._check_engine(connection, table)
        blurred = {row[0] for row in rows if row[2] not in (None, _exact(connection), "binary")}
        parts: dict[str, list[str]] = defaultdict(list)
        for row in connection.exec_driver_sql(f"SHOW INDEX FROM {name}"):
            _, repeats, index, _, column, _, _, prefix = row[:8]
            # of part of a value, or of values that it takes for one, it keeps no two apart
            exact = not repeats and column is not None and prefix is None and column not in blurred
            parts[index].append(column if exact else "")
        return Target(
            name,
            {row[0]: _spelling(row[1]) for row in rows},
            [frozenset(columns) for columns in parts.values() if "" not in columns],
        )

    def _check_engine(self, connection: Connection, table: Table) -> None:
        engines = connection.exec_driver_sql(
            "SELECT t.table_name, t.engine, e.transactions FROM information_schema.tables t "
            "LEFT JOIN information_schema.engines e ON e.engine = t.engine "
            "WHERE t.table_schema = DATABASE() AND t.table_name = %s",
            (table.name,),
        ).all()
        for _, engine, transactions in engines:
            if transactions != "YES":
                raise SchemaError(
                    f"the target's {table.name} is of {engine or 'no engine'}, which has no "
                    "transactions",
                    hint=f"ALTER TABLE {self.plain_name(table)} ENGINE=InnoDB",
                    table=table.text,
                )

    def key_hint(self, connection: Connection, name: str, key: str) -> str:
        return (
            f"ALTER TABLE {name} ADD UNIQUE ({key}), where all texts are of "
            f"CHARACTER SET utf8mb4 COLLATE {_exact(connection)}"
        )

    def declare(self, connection: Connection, table: Table, column: Column) -> str:
        return storage(table, column, mariadb=_is_mariadb(connection)).declared

    def define(self, connection: Connection, declared: str) -> str:
        """Labels with their backslashes doubled, texts with their collation."""
        if declared.endswith("text") or declared.startswith(("char", "varchar", "enum", "set")):
            text = declared.replace("\\", "\\\\")
            return f"{text} CHARACTER SET utf8mb4 COLLATE {_exact(connection)}"
        return declared + " NULL" if declared.startswith("timestamp") else declared

    def table_options(self) -> str:
        return " ENGINE=InnoDB ROW_FORMAT=DYNAMIC"

    def create_schema(self, connection: Connection, schema: str) -> None:
        raise AssertionError("a database of MySQL has no schemas")

    def alter_type(self, target: Target, column: str, definition: str) -> str | None:
        return f"ALTER TABLE {target.name} MODIFY COLUMN {self.quote(column)} {definition}"

    def holds(self, declared: str, wanted: str) -> bool:
        given, asked = (text.replace("tinyint(1)", "tinyint") for text in (declared, wanted))
        return declared == TEXT.declared or widens(asked, given)

    def literal(self, raw: bytes, type: Type) -> str:
        value = storage(Table("", "", ()), Column("", type), mariadb=False).bind(raw)
        text: str = driver("pymysql", "mysql").converters.escape_item(value, "utf8mb4")
        return "(" + text.replace("%", "%%") + ")"

    def truncate(self, target: Target) -> str:
        return f"DELETE FROM {target.name}"

    def binders(
        self, connection: Connection, definition: Table, target: Target
    ) -> Sequence[Binder] | None:
        mariadb = _is_mariadb(connection)
        kept = (storage(definition, column, mariadb=mariadb) for column in definition.columns)
        return [
            TEXT.bind if target.columns[column.name] == TEXT.declared else one.bind
            for column, one in zip(definition.columns, kept, strict=True)
        ]

    def on_conflict(
        self, connection: Connection, target: Target, keys: Sequence[str], rest: Sequence[str]
    ) -> str:
        """The row of that key is updated. Where a row of another key is in the way of a further
        unique index, its key is to become null, which fails."""
        if _is_mariadb(connection):
            alias, new = "", "VALUES({})"
        else:
            row = "other" if target.name.lower() == "`new`" else "new"
            alias, new = f" AS `{row}`", f"`{row}`.{{}}"
        # not by format: names may have braces
        value = {name: new.replace("{}", name) for name in (*keys, *rest)}
        old = {name: f"{target.name}.{name}" for name in keys}
        same = [f"{old[k]} = IF({old[k]} <=> {value[k]}, {old[k]}, NULL)" for k in keys]
        assignments = [f"{target.name}.{name} = {value[name]}" for name in rest]
        return f"{alias} ON DUPLICATE KEY UPDATE {', '.join((*same, *assignments))}"

    def claim(self, connection: Connection, statement: str, values: tuple[Any, ...]) -> bool:
        try:
            connection.exec_driver_sql(statement, values)
        except self.errors as error:
            if _number(error) == DUPLICATE:
                return False
            raise
        return True

    def execute(
        self, connection: Connection, statement: Statement, rows: Sequence[tuple[Any, ...]]
    ) -> int:
        """Many rows go in one statement; what the server altered to make it fit is an error."""
        raw: Any = connection.connection.driver_connection
        done = 0
        with raw.cursor() as cursor:
            for text in self._texts(raw, statement, rows):
                done += cursor.execute(text)
                if cursor.warning_count:
                    _refuse(raw)
        return done

    def _texts(
        self, raw: Any, statement: Statement, rows: Sequence[tuple[Any, ...]]
    ) -> Iterator[bytes]:
        """The statements for all rows, none longer than the server takes.

        One row has the plain one: of `(a, b) IN ((1, 2))` MariaDB makes a scan of the table.
        """
        escape = raw.escape
        most = raw.penstock_packet
        if statement.many is None or len(rows) == 1:
            for row in rows:
                text = statement.text % tuple(map(escape, row))
                yield _fitting(text.encode("utf-8", "surrogateescape"), most)
            return
        head, tail = (self.plain(part).encode() for part in statement.many)
        limit = min(STATEMENT_BYTES, most // 2)
        parts: list[bytes] = []
        size = first = 0
        for number, row in enumerate(rows):
            text = "(" + ", ".join(map(escape, row)) + ")"
            parts.append(text.encode("utf-8", "surrogateescape"))
            size += len(parts[-1])
            if size > limit or number == len(rows) - 1:
                if len(parts) == 1:
                    yield from self._texts(raw, statement, rows[first : first + 1])
                else:
                    yield _fitting(head + b", ".join(parts) + tail, most)
                parts, size, first = [], 0, number + 1

    def doubts(self, connection: Connection) -> list[Finding]:
        setting = connection.exec_driver_sql("SELECT @@innodb_flush_log_at_trx_commit").scalar()
        if setting == 1:
            return []
        return [
            Finding(
                "warning",
                f"{self.where} may lose its last commits when its machine dies "
                f"(innodb_flush_log_at_trx_commit is {setting}); that is then a GAP",
                "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
            )
        ]

    def lock_checkpoints(self, connection: Connection) -> str:
        return " FOR UPDATE"


def _set_up(connection: Any, _: object) -> None:
    with suppress(AttributeError, OSError):  # what a machine does not have
        for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            connection._sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {', '.join(SETTINGS)}")
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute("SELECT @@max_allowed_packet")
        (connection.penstock_packet,) = cursor.fetchone()


def _is_mariadb(connection: Connection) -> bool:
    return bool(getattr(connection.dialect, "is_mariadb", False))


def _exact(connection: Connection) -> str:
    """The collation that tells all texts apart, also by the spaces at their end."""
    return "utf8mb4_nopad_bin" if _is_mariadb(connection) else "utf8mb4_0900_bin"


def _number(error: Exception) -> int | None:
    original = getattr(error, "orig", None) or error
    number = original.args[0] if original.args else None
    return number if isinstance(number, int) else None


def _spelling(declared: str) -> str:
    """A type as a server shows it, without widths that only say how to show numbers."""
    if declared.startswith(("enum", "set")):
        return declared.replace("\\\\", "\\")
    return _WIDTH.sub(r"\1", declared).replace("geomcollection", "geometrycollection")


def _fitting(text: bytes, most: int) -> bytes:
    """A statement that the server takes: a longer one it would answer by hanging up."""
    if len(text) >= most:
        error = driver("pymysql", "mysql").err.DataError
        raise error(TOO_LARGE, f"{len(text)} bytes are more than max_allowed_packet, {most}")
    return text


def _refuse(raw: Any) -> None:
    """Raise the driver's error for the first warning."""
    for _, number, text in raw.show_warnings():
        raise driver("pymysql", "mysql").err.DataError(number, text)
