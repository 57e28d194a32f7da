"""Questions to a target outside of a run: may we write there, and forget what we stored."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from penstock.errors import PenstockError
from penstock.ports import Finding
from penstock.sinks.sql.checkpoints import Checkpoints
from penstock.sinks.sql.dialect import Dialect
from penstock.sinks.sql.failures import failure, unreachable
from penstock.sinks.sql.session import connect


def check(dialect: Dialect, checkpoints: Checkpoints) -> list[Finding]:
    """What would keep the sink from working. Blocking; changes nothing in the target, but for the
    sink's own empty tables, which stay where DDL is not rolled back."""
    try:
        if dialect.url.get_backend_name() == "sqlite":
            _check_file(dialect)
            return []
        return _check_server(dialect, checkpoints)
    except PenstockError as error:
        return [Finding("error", error.message, error.hint, error.code)]


def _check_file(dialect: Dialect) -> None:
    path = Path(dialect.url.database or "")
    if path.name in ("", ":memory:") or not path.exists():
        return
    try:
        file = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            file.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            file.close()
    except sqlite3.Error as error:
        raise unreachable(error, dialect.where) from None


def _check_server(dialect: Dialect, checkpoints: Checkpoints) -> list[Finding]:
    with connect(dialect) as connection:
        try:
            dialect.prepare(connection)
            checkpoints.create(connection, dialect)
            if dialect.transactional_ddl:
                connection.exec_driver_sql("CREATE TABLE penstock_probe (id integer)")
            return dialect.doubts(connection)
        except dialect.errors as error:
            raise failure(error, f"create a table in {dialect.where}") from None
        finally:
            connection.rollback()


def forget(dialect: Dialect, checkpoints: Checkpoints) -> list[str]:
    """Remove the sink's checkpoints; what was removed, in words. Blocking."""
    with connect(dialect) as connection, connection.begin():
        try:
            dialect.prepare(connection)
            checkpoints.create(connection, dialect)
            removed = checkpoints.remove(connection, dialect)
        except dialect.errors as error:
            raise failure(error, f"forget the checkpoints in {dialect.where}") from None
    return [f"{removed} checkpoints in {dialect.where}"] if removed else []
