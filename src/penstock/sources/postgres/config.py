"""The configuration of a PostgreSQL source."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from penstock.component import Component, SecretField

if TYPE_CHECKING:
    from penstock.sources.postgres.source import PostgresSource


ALL_TABLES: Final = ("*.*",)


class Postgres(Component):
    """PostgreSQL's write-ahead log, by logical replication (pgoutput).

    Parameters
    ----------
    dsn: a libpq connection string or URL. Off loopback the server's certificate is verified
        unless it says ``sslmode``.
    tables: patterns ``schema.table``; ``*`` stands for any characters; case matters.
    snapshot: ``initial``: a copy of each table first, once; ``never``: only what comes from now
        on; ``always``: a new copy at each start; ``only``: the copy, then end.
    snapshot_connections: how many connections read the snapshot at the same time.
    slot: the replication slot; ``penstock_<pipeline>`` by default.
    publication: the publication; ``penstock_<pipeline>`` by default. One that exists is used as
        it is; else it is created, and extended when tables are added.
    temporary: leave nothing on the server: the slot goes with the connection, and changes made
        while nobody reads are not seen. Unless ``tables`` names some, those whose updates would
        fail once they are published are left out, with a warning.
    messages: prefixes of the logical messages to read (``*`` for all).
    slot_timeout: seconds to wait for older transactions when the slot is made.
    binary: let the server send values in binary where that is faster and loses nothing.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    extra_name: ClassVar[str] = "postgres"

    type: Literal["postgres"] = "postgres"
    dsn: SecretField
    tables: tuple[str, ...] = ALL_TABLES
    snapshot: Literal["initial", "never", "always", "only"] = "never"
    snapshot_connections: int = Field(default=2, ge=1, le=64)
    slot: str | None = Field(default=None, pattern=r"^[a-z0-9_]{1,63}$")
    publication: str | None = Field(default=None, min_length=1)
    temporary: bool = False
    messages: tuple[str, ...] = ()
    slot_timeout: float = Field(default=60.0, gt=0)
    binary: bool = True

    def build(self) -> PostgresSource:
        """The working source. Raises ConfigError when the dsn cannot be read."""
        from penstock.sources.postgres.source import PostgresSource

        return PostgresSource(self)
