"""Python values of exact texts.

Values equal what PyMySQL gives for a query's result, with these exceptions, all of them loss-free:

* a TIMESTAMP is a moment, so it has the zone UTC; PyMySQL gives it in the session's zone, which it
  does not tell;
* a FLOAT has all its digits, where servers show six.

What Python cannot hold, zero and partial dates, is the exact text, as PyMySQL gives it. A saved
type names :func:`parser` in its ``codec``.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

from penstock.model import Kind, Type

Parse: TypeAlias = Callable[[bytes], object]


def parser(type: Type) -> Parse:
    """The parse function of a type, by its kind."""
    return _BY_KIND.get(type.kind, _text)


def _text(raw: bytes) -> str:
    return raw.decode()


def _decimal(raw: bytes) -> Decimal:
    return Decimal(raw.decode())


def _bytes(raw: bytes) -> bytes:
    if raw[:2] != b"\\x":
        raise ValueError("not in hex form")
    return unhexlify(raw[2:])


_DATETIME: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(\+00)?")
_TIME: Final = re.compile(r"(-?)(\d{2,3}):(\d\d):(\d\d)(?:\.(\d{1,6}))?")


def _date(raw: bytes) -> date | str:
    text = raw.decode()
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text


def _datetime(raw: bytes) -> datetime | str:
    text = raw.decode()
    match = _DATETIME.fullmatch(text)
    if match is None:
        return text
    try:
        whole = datetime.fromisoformat(f"{match[1]} {match[2]}")
    except ValueError:
        return text
    return whole.replace(microsecond=_micros(match[3]), tzinfo=UTC if match[4] else None)


def _time(raw: bytes) -> timedelta | str:
    text = raw.decode()
    match = _TIME.fullmatch(text)
    if match is None:
        return text
    sign, hours, minutes, seconds, fraction = match.groups()
    amount = timedelta(
        hours=int(hours), minutes=int(minutes), seconds=int(seconds), microseconds=_micros(fraction)
    )
    return -amount if sign else amount


def _micros(fraction: str | None) -> int:
    return int((fraction or "").ljust(6, "0"))


_BY_KIND: Final[dict[Kind, Parse]] = {
    Kind.INTEGER: int,
    Kind.FLOAT: float,
    Kind.NUMERIC: _decimal,
    Kind.BYTES: _bytes,
    Kind.DATE: _date,
    Kind.INTERVAL: _time,
    Kind.TIMESTAMP: _datetime,
    Kind.TIMESTAMPTZ: _datetime,
}
