"""Python values of PostgreSQL's text forms.

Values equal what psycopg gives for a text-format result in a session with DateStyle ISO,
IntervalStyle postgres and TimeZone UTC, with these exceptions, all of them loss-free:

* what Python cannot hold (infinite, BC or five-digit years, ``24:00:00``, intervals beyond
  timedelta) is the exact text, where psycopg raises;
* ranges, multiranges and composites are their exact text: psycopg's own classes are not known
  here, and a composite's columns are not in the stream;
* hstore is a dict, as after ``psycopg.types.hstore.register_hstore``.

``*_parser`` functions make the parse function of a type; a saved type names its own in ``codec``.
"""

from __future__ import annotations

import ipaddress
import json
import re
from binascii import unhexlify
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Final, TypeAlias
from uuid import UUID

from penstock.model.table import Kind, Type

Parse: TypeAlias = Callable[[bytes], object]


def parser(type: Type) -> Parse:
    """The parse function of a type, by its kind."""
    if type.kind is Kind.ARRAY:
        assert type.element is not None
        return _array_parser(type.element.parse, b",")
    return _BY_KIND.get(type.kind, _text)


def box_array_parser(type: Type) -> Parse:
    """Arrays whose elements hold commas are delimited by semicolons: of built-in types, box."""
    assert type.element is not None
    return _array_parser(type.element.parse, b";")


def inet_parser(type: Type) -> Parse:
    """``inet``: an address, or an interface where there is a netmask."""
    return _inet


def cidr_parser(type: Type) -> Parse:
    """``cidr``: a network."""
    return _cidr


def hstore_parser(type: Type) -> Parse:
    """``hstore``: a dict of texts and nulls."""
    return _hstore


def _text(raw: bytes) -> str:
    return raw.decode()


def _boolean(raw: bytes) -> bool:
    if raw not in (b"t", b"f"):
        raise ValueError("neither t nor f")
    return raw == b"t"


def _numeric(raw: bytes) -> Decimal:
    return Decimal(raw.decode())


def _bytes(raw: bytes) -> bytes:
    if raw[:2] != b"\\x":
        raise ValueError("not in hex form: the session must have bytea_output=hex")
    return unhexlify(raw[2:])


def _json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except RecursionError:
        raise ValueError("nested too deeply for Python's json") from None


def _uuid(raw: bytes) -> UUID:
    return UUID(raw.decode())


def _inet(raw: bytes) -> object:
    text = raw.decode()
    return ipaddress.ip_interface(text) if "/" in text else ipaddress.ip_address(text)


def _cidr(raw: bytes) -> object:
    return ipaddress.ip_network(raw.decode())


_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_TIME: Final = re.compile(
    r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:([-+])(\d\d)(?::(\d\d))?(?::(\d\d))?)?"
)
_TIMESTAMP: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\S+)")
_INTERVAL: Final = re.compile(
    r"(?:([-+]?\d+) years? ?)?(?:([-+]?\d+) mons? ?)?(?:([-+]?\d+) days? ?)?"
    r"(?:([-+]?)(\d+):(\d\d):(\d\d(?:\.\d+)?))?"
)


def _date(raw: bytes) -> date | str:
    text = raw.decode()
    return date.fromisoformat(text) if _DATE.fullmatch(text) else text


def _time(raw: bytes) -> time | str:
    text = raw.decode()
    match = _TIME.fullmatch(text)
    if match is None:
        return text
    hour, minute, second, fraction, sign, *offset = match.groups()
    zone = None
    if sign:
        hours, minutes, seconds = (int(part or 0) for part in offset)
        distance = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        zone = timezone(-distance if sign == "-" else distance)
    if hour == "24":
        return text
    return time(int(hour), int(minute), int(second), int((fraction or "").ljust(6, "0")), zone)


def _timestamp(raw: bytes) -> datetime | str:
    text = raw.decode()
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return text
    clock = _time(match[2].encode())
    return text if isinstance(clock, str) else datetime.combine(_iso(match[1]), clock)


def _iso(text: str) -> date:
    return date.fromisoformat(text)


def _timestamptz(raw: bytes) -> datetime | str:
    moment = _timestamp(raw)
    if isinstance(moment, str) or moment.tzinfo is None:
        return raw.decode()
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return moment


def _interval(raw: bytes) -> timedelta | str:
    text = raw.decode()
    match = _INTERVAL.fullmatch(text)
    if match is None or not text:
        return text
    years, months, days, sign, hours, minutes, seconds = match.groups()
    clock = timedelta()
    try:
        if hours:
            micros = round(float(seconds) * 1_000_000)
            clock = timedelta(hours=int(hours), minutes=int(minutes), microseconds=micros)
        whole = 365 * int(years or 0) + 30 * int(months or 0) + int(days or 0)
        return timedelta(days=whole) + (-clock if sign == "-" else clock)
    except OverflowError:
        return text


_BY_KIND: Final[dict[Kind, Parse]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: int,
    Kind.FLOAT: float,
    Kind.NUMERIC: _numeric,
    Kind.BYTES: _bytes,
    Kind.JSON: _json,
    Kind.UUID: _uuid,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.TIMESTAMP: _timestamp,
    Kind.TIMESTAMPTZ: _timestamptz,
    Kind.INTERVAL: _interval,
}

_BOUNDS: Final = re.compile(rb"(?:\[[-+]?\d+:[-+]?\d+\])+=")
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_DEPTH: Final = 6  # the server's own limit of dimensions


def _array_parser(parse: Parse, delimiter: bytes) -> Parse:
    """Nested lists of parsed elements; lower bounds other than 1 are dropped, as psycopg does.

    Form: the manual's *Array Input and Output Syntax*.
    """
    stop = re.escape(delimiter)
    token = re.compile(
        rb'(?P<open>\{)|(?P<close>\})|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^{}"\\'
        + stop
        + rb"]+)"
        rb"|(?P<next>" + stop + rb")",
        re.DOTALL,
    )

    def array(raw: bytes) -> list[object]:
        bounds = _BOUNDS.match(raw)
        at = bounds.end() if bounds else 0
        result: list[object] | None = None
        open_: list[list[object]] = []
        value_allowed = True
        while at < len(raw):
            match = token.match(raw, at)
            if match is None or (result is not None and not open_):
                raise ValueError(f"not an array, at byte {at}")
            at = match.end()
            kind = match.lastgroup
            if kind == "next" or kind == "close":
                if not open_ or (value_allowed and (kind == "next" or open_[-1])):
                    raise ValueError(f"not an array, at byte {at}")
                value_allowed = kind == "next"
                if kind == "close":
                    open_.pop()
                continue
            if not value_allowed or (kind != "open" and not open_) or len(open_) > _DEPTH:
                raise ValueError(f"not an array, at byte {at}")
            if kind == "open":
                inner: list[object] = []
                if open_:
                    open_[-1].append(inner)
                else:
                    result = inner
                open_.append(inner)
                continue
            value_allowed = False
            if kind == "quoted":
                open_[-1].append(parse(_ESCAPE.sub(rb"\1", match["quoted"])))
            else:
                bare = match["bare"]
                open_[-1].append(None if bare == b"NULL" else parse(bare))
        if result is None or open_:
            raise ValueError("an array that does not end")
        return result

    return array


_HSTORE: Final = re.compile(
    r'"((?:[^"\\]|\\.)*)"=>(?:(NULL)|"((?:[^"\\]|\\.)*)")(?:, |$)', re.DOTALL
)
_HSTORE_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def _hstore(raw: bytes) -> dict[str, str | None]:
    text = raw.decode()
    result: dict[str, str | None] = {}
    at = 0
    while at < len(text):
        match = _HSTORE.match(text, at)
        if match is None:
            raise ValueError(f"not an hstore, at character {at}")
        at = match.end()
        key, null, value = match.groups()
        result[_HSTORE_ESCAPE.sub(r"\1", key)] = None if null else _HSTORE_ESCAPE.sub(r"\1", value)
    return result
