"""What differs between targets: one class a database, behind one base."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from penstock.errors import ConfigError, SchemaError
from penstock.model import Column, Table, Type
from penstock.ports import Finding
from penstock.registry import driver

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

Binder: TypeAlias = Callable[[bytes], Any]
"""Makes the driver's value of a raw text."""


@dataclass(slots=True)
class Target:
    """A table as it stands in the target.

    Parameters
    ----------
    name: quoted, ready for a statement.
    columns: name to declared type.
    keys: the column sets that the target keeps unique.
    """

    name: str
    columns: dict[str, str]
    keys: list[frozenset[str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Statement:
    """What is to be done with each of many rows.

    Parameters
    ----------
    text: for one row, with a placeholder for each of its values.
    many: what stands before and behind rows in parentheses, where several fit in one statement.
    """

    text: str
    many: tuple[str, str] | None = None


class Dialect(ABC):
    """A target database's ways.

    Names pass :meth:`quote`, values are parameters; a value stands in a statement's text only as
    a column's default, through :meth:`literal`.
    """

    placeholder: ClassVar[str]
    has_schemas: ClassVar[bool]
    bulk: ClassVar[int | None] = None
    """From how many rows on :meth:`load` pays; None where there is none."""
    transactional_ddl: ClassVar[bool] = True
    """Whether DDL is part of the open transaction; else it has a connection of its own."""

    def __init__(self, url: URL) -> None:
        self.url = url

    @property
    def where(self) -> str:
        """The target in words, without any secret."""
        url = self.url
        server = f"{url.host or 'localhost'}:{url.port or 5432}/" if self.has_schemas else ""
        return f"{url.get_backend_name()} {server}{url.database or ''}"

    @cached_property
    def _preparer(self) -> Any:
        return self.url.get_dialect()().identifier_preparer

    def quote(self, name: str) -> str:
        """An identifier for a statement's text, as the driver's parameter style needs it."""
        self.check_name(name)
        quoted: str = self._preparer.quote_identifier(name)
        return quoted

    def name(self, table: Table) -> str:
        """The target table's name for a statement's text."""
        schema = self.schema(table)
        return (
            f"{self.quote(schema)}.{self.quote(table.name)}" if schema else self.quote(table.name)
        )

    def plain_name(self, table: Table) -> str:
        """The target table's name for a statement without parameters, and for people."""
        return self.plain(self.name(table))

    def plain(self, statement: str) -> str:
        """A statement's text as the server sees it."""
        return statement

    def schema(self, table: Table) -> str:
        """The target's schema of a table; empty for the default one, or where there are none."""
        return table.schema if self.has_schemas else ""

    @cached_property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises, wrapped by SQLAlchemy or not."""
        error: type[Exception] = driver("sqlalchemy.exc", "sql").SQLAlchemyError
        return error, self.url.get_dialect().import_dbapi().Error

    @abstractmethod
    def engine(self) -> Engine:
        """An engine without a pool, whose connections are set up for exact texts."""

    @abstractmethod
    def interrupt(self, connection: Connection) -> None:
        """Make the statement that another thread runs on the connection fail now."""

    def revive(self, connection: Connection) -> None:  # noqa: B027 - most need not
        """Connect again where the server has ended an idle connection; nothing is open on it."""

    @abstractmethod
    def check_name(self, name: str) -> None:
        """Raises SchemaError for a name that the target cannot keep as it is."""

    @abstractmethod
    def check_table(self, connection: Connection, table: Table) -> None:
        """Raises SchemaError where the table would share its target with another's."""

    @abstractmethod
    def prepare(self, connection: Connection) -> None:
        """Create what the dialect itself remembers in the target."""

    @abstractmethod
    def exists(self, connection: Connection, table: Table) -> bool:
        """Whether the target has the table."""

    @abstractmethod
    def describe(self, connection: Connection, table: Table) -> Target | None:
        """The table as it stands; None when there is none."""

    def key_hint(self, connection: Connection, name: str, key: str) -> str:
        """The statement by which a table keeps a key unique."""
        return f"CREATE UNIQUE INDEX ON {name} ({key})"

    @abstractmethod
    def declare(self, connection: Connection, table: Table, column: Column) -> str:
        """The target's type of a column, in the target's own spelling."""

    def define(self, connection: Connection, declared: str) -> str:
        """A declared type as a column's definition says it, for people."""
        return declared

    def table_options(self) -> str:
        """What ends a CREATE TABLE."""
        return ""

    def own_text(self, connection: Connection, length: int | None = None) -> str:
        """The type of a text in our own tables.

        Parameters
        ----------
        length: the most characters of one that is part of a key.
        """
        return "TEXT"

    @abstractmethod
    def create_schema(self, connection: Connection, schema: str) -> None:
        """Create the schema unless it is there."""

    @abstractmethod
    def alter_type(self, target: Target, column: str, definition: str) -> str | None:
        """The statement that widens a column; None where nothing needs to be done."""

    @abstractmethod
    def holds(self, declared: str, wanted: str) -> bool:
        """Whether a column declared so keeps every text of the wanted type as it is."""

    @abstractmethod
    def literal(self, raw: bytes, type: Type) -> str:
        """A constant for a statement's text."""

    @abstractmethod
    def truncate(self, target: Target) -> str:
        """The statement that repeats a TRUNCATE."""

    @abstractmethod
    def binders(
        self, connection: Connection, definition: Table, target: Target
    ) -> Sequence[Binder] | None:
        """How each column's raw text becomes a parameter; None when it is one as it stands.

        A binder raises ValueError for a value that the target's type has not.
        """

    def on_conflict(
        self, connection: Connection, target: Target, keys: Sequence[str], rest: Sequence[str]
    ) -> str:
        """What makes an INSERT update the row of the same key.

        Parameters
        ----------
        keys, rest: the quoted names of the columns.
        """
        assignments = ", ".join(f"{name} = excluded.{name}" for name in rest)
        action = f"DO UPDATE SET {assignments}" if rest else "DO NOTHING"
        return f" ON CONFLICT ({', '.join(keys)}) {action}"

    def claim(self, connection: Connection, statement: str, values: tuple[Any, ...]) -> bool:
        """Run an INSERT; False where a row of that key is there."""
        done = connection.exec_driver_sql(f"{statement} ON CONFLICT DO NOTHING", values)
        return done.rowcount > 0

    def execute(
        self, connection: Connection, statement: Statement, rows: Sequence[tuple[Any, ...]]
    ) -> int:
        """Do a statement with each of the rows; how many rows of the target it met."""
        parameters: Any = rows[0] if len(rows) == 1 else rows
        return connection.exec_driver_sql(statement.text, parameters).rowcount

    def doubts(self, connection: Connection) -> list[Finding]:
        """What about the target's settings endangers what was committed."""
        return []

    def lock_checkpoints(self, connection: Connection) -> str:
        """What ends the SELECT of our checkpoints, so that it waits for an unfinished commit."""
        return ""

    def load(self, connection: Connection, into: str, columns: str, text: bytes) -> None:
        """Add rows of raw texts, in COPY's text format."""
        raise NotImplementedError


def dialect_of(url: str) -> Dialect:
    """The dialect of a URL.

    Raises ConfigError for a URL that is none or names a database that is no target.
    """
    sqlalchemy = driver("sqlalchemy", "sql")
    from penstock.sinks.sql.mysql import MysqlDialect
    from penstock.sinks.sql.postgres import PostgresDialect
    from penstock.sinks.sql.sqlite import SqliteDialect

    hint = (
        "give postgresql://user@host/database, mysql://user@host/database or "
        "sqlite:///path/to/file.db"
    )
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigError("the sql sink's url is not a SQLAlchemy URL", hint=hint) from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        driver("psycopg", "postgres")
        return PostgresDialect(parsed.set(drivername="postgresql+psycopg"))
    if parsed.drivername in ("mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"):
        driver("pymysql", "mysql")
        return MysqlDialect(parsed.set(drivername="mysql+pymysql"))
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return SqliteDialect(parsed)
    raise ConfigError(f"the sql sink cannot write to {parsed.drivername!r}", hint=hint)


def too_long(name: str, limit: int) -> SchemaError:
    """The error for a name that the target would cut."""
    return SchemaError(
        f"the name {name!r} has {len(name.encode())} bytes, the target allows {limit}",
        hint="rename it with a transform",
    )
