"""Connections to the server that a dsn names: PyMySQL, verified, and set up for exact texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from penstock import tls
from penstock.component import Secret
from penstock.errors import (
    ConfigError,
    ConnectionLostError,
    PenstockError,
    PrivilegeError,
    SourceError,
)
from penstock.registry import driver

if TYPE_CHECKING:
    import pymysql

Connection: TypeAlias = "pymysql.Connection[Any]"

_SCHEMES: Final = ("mysql", "mariadb")
_OPTIONS: Final = ("connect_timeout", *tls.OPTIONS, "unix_socket")
# https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html
_DENIED: Final = frozenset({1044, 1045, 1142, 1143, 1227, 1370, 1698})
_AGAIN: Final = frozenset({1040, 1053, 1077, 1129, 1203, 1226, 2002, 2003, 2006, 2013, 4031})
_SETTINGS: Final = (
    # What ordinary queries write is then the same text everywhere.
    "SET SESSION time_zone = '+00:00', sql_mode = '', sql_big_selects = 1,"
    " character_set_results = utf8mb4, wait_timeout = 28800"
    # What MySQL knows of a table's size may be of yesterday. MariaDB passes over this comment.
    " /*!80000 , information_schema_stats_expiry = 0 */"
)


class Server:
    """The server that a dsn names.

    Raises
    ------
    ConfigError: the dsn cannot be read.
    MissingExtraError: PyMySQL is not installed.
    """

    def __init__(self, dsn: Secret) -> None:
        driver("pymysql", "mysql")
        hint = (
            "mysql://user:password@host:3306/database; characters like @ / : ? # % in the "
            "password must be percent-encoded"
        )
        try:
            url = urlsplit(dsn.get_secret_value())
            port = url.port or 3306
        except ValueError:  # its message may quote the dsn, password included
            raise ConfigError("the dsn is no MySQL URL", hint=hint) from None
        if url.scheme.partition("+")[0] not in _SCHEMES or "@" in (url.path + url.query):
            raise ConfigError("the dsn is no MySQL URL", hint=hint)
        given = dict(parse_qsl(url.query))
        unknown = sorted(given.keys() - set(_OPTIONS))
        if unknown:
            raise ConfigError(
                f"the dsn has unknown parameters: {', '.join(unknown)}",
                hint=f"known: {', '.join(_OPTIONS)}",
            )
        self._password = unquote(url.password or "")
        self._user = unquote(url.username or "")
        self.host = url.hostname or "127.0.0.1"
        self.port = port
        self.database = unquote(url.path.strip("/"))
        self.local = "unix_socket" in given or tls.is_local(self.host)
        self.sslmode = tls.mode(given, local=self.local)
        self._given = given
        self._reached = False

    def __str__(self) -> str:
        """Host, port and database, without secrets."""
        return f"{self._given.get('unix_socket') or self.host}:{self.port}/{self.database}"

    @property
    def user(self) -> str:
        """The name that we log in by."""
        return self._user

    @property
    def weak(self) -> str:
        """What the dsn's sslmode leaves open; empty for nothing."""
        if self.local or self.sslmode == "verify-full":
            return ""
        return f"sslmode={self.sslmode}: the server's identity is not verified"

    def connect(self, **options: Any) -> Connection:
        """A connection in autocommit, for texts as the server writes them in UTC.

        Raises
        ------
        ConnectionLostError: the server, which was there before, cannot be reached.
        PrivilegeError: it does not let us in.
        SourceError: it cannot be reached, or refuses us.
        """
        pymysql = driver("pymysql", "mysql")
        parameters: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "unix_socket": self._given.get("unix_socket"),
            "user": self._user,
            "password": self._password,
            "charset": "utf8mb4",
            "autocommit": True,
            "local_infile": False,
            "connect_timeout": int(self._given.get("connect_timeout", 10)),
            **tls.driver_arguments(self._given, local=self.local),
        }
        try:
            connection: Connection = pymysql.connect(**{**parameters, **options})
            with connection.cursor() as cursor:
                cursor.execute(_SETTINGS)
        except (pymysql.Error, OSError, RuntimeError) as error:
            raise self.explain(error) from None
        self._reached = True
        return connection

    def explain(self, error: Exception) -> PenstockError:
        """Our error for the driver's."""
        number = error_number(error)
        text = self.scrub(error_text(error))
        if number in _DENIED:
            return PrivilegeError(
                f"{self} refuses {self._user}: {text}",
                hint=f"check the password; GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT, "
                f"RELOAD ON *.* TO {self._user}",
            )
        if "certificate" in text.lower() or "ssl" in text.lower():
            return SourceError(
                f"cannot connect to {self}: {text}",
                hint="penstock verifies the server's certificate off loopback: add "
                "sslrootcert=/path/to/ca.pem to the dsn; or sslmode=require (encrypted, not "
                "verified); or sslmode=disable (in clear, only on a network that you trust)",
            )
        if self._reached and (number in _AGAIN or number == 0):
            return ConnectionLostError(f"the connection to {self} broke: {text}")
        hint = "is the server running, and host and port right?" if number in _AGAIN else ""
        return SourceError(f"cannot use {self}: {text}", hint=hint)

    def scrub(self, text: str) -> str:
        """The text without the password."""
        return text.replace(self._password, "***") if self._password else text


def error_number(error: Exception) -> int:
    """The server's number of an error; 0 for those that have none."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def error_text(error: Exception) -> str:
    """The server's words."""
    return str(error.args[1] if len(error.args) > 1 else error).strip()


def rows(connection: Connection, sql: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
    """The rows of a query. Raises the driver's error."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        found: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return found


def one(connection: Connection, sql: str, *parameters: Any) -> Any:
    """The only value of a query."""
    return rows(connection, sql, *parameters)[0][0]


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return "`" + name.replace("`", "``") + "`"
