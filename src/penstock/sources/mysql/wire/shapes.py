"""Shapes of tables for a log that does not tell them (``binlog_row_metadata`` other than FULL).

They are remembered by the transactions that altered them. A statement that may alter a table ends
what was known of it: its new shape is read from the catalog, and holds only if no other such
statement is in the log before the moment of that reading. So yesterday's rows are never read by
today's catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeAlias

from penstock.errors import SchemaError
from penstock.model.table import qualified
from penstock.sources.mysql.wire.alterations import Name, altered, renamed
from penstock.sources.mysql.wire.charsets import BINARY
from penstock.sources.mysql.wire.tablemap import Code, MappedColumn, TableMap

_QUOTED: Final = 200  # characters of a statement
_CURE: Final = (
    "SET GLOBAL binlog_row_metadata = FULL, so that the log itself tells; what was written before "
    "cannot be read: `penstock teardown` and a new snapshot"
)


@dataclass(slots=True)
class Version:
    """A table from one statement to the next that may alter it.

    Parameters
    ----------
    at: the statement's transaction; empty where none is known.
    shape: None where it is not known.
    """

    at: str
    statement: str = ""
    shape: TableMap | None = None


_UNKNOWN: Final = Version("")

History: TypeAlias = dict[Name, list[Version]]
"""The versions of tables, in the order of the log."""


class ShapesNeeded(Exception):
    """The catalog must be asked for the shapes of tables as they are after a statement.

    Attributes
    ----------
    versions: by table and transaction.
    """

    def __init__(self, versions: Iterable[tuple[Name, str]]) -> None:
        self.versions = frozenset(versions)
        super().__init__(*self.versions)

    @property
    def tables(self) -> list[Name]:
        """The tables."""
        return sorted({name for name, _ in self.versions})


class Schemas(Protocol):
    """Who is told the statements of the log."""

    def statement(self, transaction: str, database: str, statement: str) -> list[Name]:
        """The tables whose shapes are others from here on."""

    def complete(self, mapped: TableMap) -> TableMap:
        """The description with all that the log does not tell."""


class Shapes:
    """The shapes of a session.

    Parameters
    ----------
    history: what is remembered; extended in place.
    covers: whether the session begins behind a transaction.
    asked: versions, by table and transaction, for which the catalog has been asked.

    Attributes
    ----------
    news: whether the history was extended; whoever saves it says no.
    """

    def __init__(
        self, history: History, covers: Callable[[str], bool], asked: Set[tuple[Name, str]]
    ) -> None:
        self.news = False
        self._history = history
        self._asked = asked
        self._current = {name: current(versions, covers) for name, versions in history.items()}

    def statement(self, transaction: str, database: str, statement: str) -> list[Name]:
        """A statement of the log: the tables that it may have altered.

        Raises ShapesNeeded where the catalog has not been asked for one of them yet.
        """
        names = altered(statement, database, self._current)
        pairs = renamed(statement, database)
        after = _renamed({name: self._current[name].shape for name in names}, pairs)
        for _, name in pairs:
            if name not in self._current and after.get(name) is not None:
                self._current[name] = Version("")
                self._history[name] = [self._current[name]]
                names.append(name)
        for name in names:
            versions, before = self._history[name], self._current[name]
            known = next((v for v in versions if v.at == transaction), None)
            if known is None:
                known = Version(transaction, statement[:_QUOTED])
                versions.insert(versions.index(before) + 1, known)
                self.news = True
            if known.shape is None and (shape := after.get(name)) is not None:
                known.shape = shape
                self.news = True
            self._current[name] = known
        self._need(names)
        return names

    def complete(self, mapped: TableMap) -> TableMap:
        """The description with all that the log does not tell.

        Raises
        ------
        ShapesNeeded: the catalog has not been asked.
        SchemaError: it could not tell any more, or what it told does not fit.
        """
        name = (mapped.schema, mapped.name)
        self._need([name])
        version = self._current.get(name)
        if version is None or version.shape is None:
            raise _lost(name, version, self._history.get(name, ()))
        return completed(mapped, version)

    def _need(self, names: Iterable[Name]) -> None:
        versions = [(name, self._current.get(name, _UNKNOWN)) for name in names]
        unknown = {(name, version.at) for name, version in versions if version.shape is None}
        if needed := unknown - self._asked:
            raise ShapesNeeded(needed)


def current(versions: Sequence[Version], covers: Callable[[str], bool]) -> Version:
    """The version that holds behind the transactions that are covered."""
    behind = [version for version in versions if not version.at or covers(version.at)]
    return behind[-1] if behind else versions[0]


def _lost(name: Name, version: Version | None, versions: Sequence[Version]) -> SchemaError:
    text = qualified(*name)
    why = "it is gone from the catalog, or was altered again since"
    if version is not None and version.at:
        why = f"{version.statement!r} in {version.at} altered it, and {why}"
        later = versions[versions.index(version) + 1 :]
        if later:
            why += f", by {later[0].statement!r} in {later[0].at}"
    return SchemaError(
        f"what {text} was like when these rows were written is not known: the log does not tell "
        f"its columns, {why}",
        hint=_CURE,
        table=text,
    )


def _renamed(
    shapes: Mapping[Name, TableMap | None], pairs: Sequence[tuple[Name, Name]]
) -> dict[Name, TableMap | None]:
    """The shapes after a renaming; unknown of tables that it does not name."""
    names = {name for pair in pairs for name in pair}
    after = {name: shape for name, shape in shapes.items() if name in names}
    for old, new in pairs:
        after[new] = _moved(after.pop(old, None), new)
    return after


def _moved(shape: TableMap | None, name: Name) -> TableMap | None:
    return None if shape is None else replace(shape, schema=name[0], name=name[1])


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the log that may alter tables."""

    transaction: str
    database: str
    text: str


@dataclass(slots=True)
class Statements:
    """Collects what a log says, and decodes no rows."""

    found: list[Statement] = field(default_factory=list)

    def statement(self, transaction: str, database: str, statement: str) -> list[Name]:
        """Keep a statement."""
        self.found.append(Statement(transaction, database, statement))
        return []

    def complete(self, mapped: TableMap) -> TableMap:
        """Nobody wants rows."""
        return mapped


def extend(
    history: History,
    covers: Callable[[str], bool],
    statements: Sequence[Statement],
    shapes: Mapping[Name, TableMap | None],
) -> None:
    """Note what tables were like after each of the statements, and before them.

    Parameters
    ----------
    covers: whether a transaction is before the first of the statements.
    statements: all of the log from there up to the moment at which the shapes were read.
    shapes: all tables that the statements may have altered; None for those that are gone.
    """
    now = dict(shapes)
    remembered = {
        (name, version.at): version.shape for name in shapes for version in history.get(name, ())
    }
    after: dict[Name, list[Version]] = {name: [] for name in shapes}
    for statement in reversed(statements):
        at, names = statement.transaction, altered(statement.text, statement.database, shapes)
        for name in names:
            now[name] = now[name] or remembered.get((name, at))
            if not after[name] or after[name][-1].at != at:
                after[name].append(Version(at, statement.text[:_QUOTED], now[name]))
        pairs = [(new, old) for old, new in reversed(renamed(statement.text, statement.database))]
        before = _renamed({name: now[name] for name in names}, pairs)
        now |= {name: before.get(name) for name in names}
    for name, later in after.items():
        known = history.get(name) or [Version("")]
        last = current(known, covers)
        if last.shape is None:
            last.shape = now[name]
        history[name] = [*known[: known.index(last) + 1], *reversed(later)]


# -- what the log and a shape say of the same column

_SAME: Final = {
    Code.TIMESTAMP: Code.TIMESTAMP2,
    Code.DATETIME: Code.DATETIME2,
    Code.TIME: Code.TIME2,
    Code.BLOB_COMPRESSED: Code.BLOB,
    Code.VARCHAR_COMPRESSED: Code.VARCHAR,
    Code.VAR_STRING: Code.VARCHAR,
}
_SIZED: Final = frozenset(
    {Code.VARCHAR, Code.STRING, Code.BLOB, Code.NEWDECIMAL, Code.BIT, Code.ENUM, Code.SET}
    | {Code.TIMESTAMP2, Code.DATETIME2, Code.TIME2}
)


def completed(mapped: TableMap, version: Version) -> TableMap:
    """The log's description with what the shape knows. Raises SchemaError where they differ."""
    shape = version.shape
    assert shape is not None
    text = qualified(mapped.schema, mapped.name)
    if len(mapped.columns) != len(shape.columns):
        raise _differs(
            text, f"{len(mapped.columns)} columns", f"{len(shape.columns)} columns", version
        )
    columns = []
    for logged, known in zip(mapped.columns, shape.columns, strict=True):
        if not _fits(logged, known):
            raise _differs(
                f"{text}.{known.name}", _words(logged), _words(known), version, table=text
            )
        columns.append(
            replace(known, code=logged.code, size=logged.size, scale=logged.scale, visible=True)
        )
    return TableMap(mapped.schema, mapped.name, tuple(columns), shape.key)


def _fits(logged: MappedColumn, known: MappedColumn) -> bool:
    code = _SAME.get(Code(logged.code), Code(logged.code))
    if code != known.code or logged.nullable != known.nullable:
        return False
    if logged.code in (Code.TIMESTAMP, Code.DATETIME, Code.TIME):
        return known.size == 0
    if logged.collation and logged.collation != known.collation and not known.labels:
        return False
    if logged.unsigned and not known.unsigned and code != Code.YEAR:
        return False
    # A compressed value has a byte more, which says how it is compressed.
    size = _size(known) + (logged.code == Code.VARCHAR_COMPRESSED)
    return code not in _SIZED or (logged.size, logged.scale) == (size, known.scale)


def _size(known: MappedColumn) -> int:
    """The bytes of a column in the log."""
    count = len(known.labels)
    if known.code == Code.ENUM:
        return 1 if count < 256 else 2
    if known.code == Code.SET:
        return 8 if count > 32 else (1, 1, 2, 3, 4)[(count + 7) // 8]
    return known.size


def _words(column: MappedColumn) -> str:
    null = "" if column.nullable else " not null"
    kind = "binary " if column.collation == BINARY else ""
    return f"{kind}type {column.code} of size {_size(column)}{null}"


def _differs(what: str, logged: str, known: str, version: Version, table: str = "") -> SchemaError:
    since = f" since {version.statement!r} in {version.at}" if version.at else ""
    return SchemaError(
        f"{what}: the log has {logged} where the table was known to have {known}{since}",
        hint=_CURE,
        table=table or what,
    )
