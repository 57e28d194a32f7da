"""The configuration of a MySQL or MariaDB source."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import ConfigDict, Field

from penstock.component import Component, SecretField

if TYPE_CHECKING:
    from penstock.sources.mysql.source import MySQLSource


class MySQL(Component):
    """The binlog of MySQL or MariaDB, by GTIDs.

    Parameters
    ----------
    dsn: ``mysql://user:password@host:3306/database``. Off loopback the server's certificate is
        verified unless it says ``sslmode`` (disable, require, verify-ca or verify-full;
        ``sslrootcert`` names the roots). The database need not be given.
    tables: patterns ``database.table``; ``*`` stands for any characters; case matters.
    snapshot: ``initial``: a copy of each table first, once; ``never``: only what comes from now
        on; ``always``: a new copy at each start; ``only``: the copy, then end.
    snapshot_connections: how many connections read the snapshot at the same time.
    server_id: our number among the server's replicas; by default made of the pipeline's name.
    heartbeat: seconds of silence after which the server says that it lives.
    lock_timeout: seconds to wait for the lock under which a snapshot begins.
    temporary: nothing is remembered: what is written while nobody reads is not seen.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    extra_name: ClassVar[str] = "mysql"

    type: Literal["mysql", "mariadb"] = "mysql"
    dsn: SecretField
    tables: tuple[str, ...] = ("*.*",)
    snapshot: Literal["initial", "never", "always", "only"] = "never"
    snapshot_connections: int = Field(default=2, ge=1, le=64)
    server_id: int | None = Field(default=None, ge=1, lt=1 << 32)
    heartbeat: float = Field(default=5.0, gt=0, le=3600)
    lock_timeout: float = Field(default=30.0, ge=1)
    temporary: bool = False

    def build(self) -> MySQLSource:
        """The working source. Raises ConfigError when the dsn cannot be read."""
        from penstock.sources.mysql.source import MySQLSource

        return MySQLSource(self)
