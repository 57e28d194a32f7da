"""Dates and times as the servers write them, zero and partial ones included.

https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html
https://dev.mysql.com/doc/internals/en/date-and-time-data-type-representation.html
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO: Final = b"0000-00-00 00:00:00"
DATETIME_OFFSET: Final = 0x8000000000
TIME_OFFSET: Final = 0x800000


def fraction_length(digits: int) -> int:
    """How many bytes a fraction of seconds takes."""
    return (digits + 1) // 2


def _fraction(value: int, digits: int) -> bytes:
    """Of so many digits, from an integer that has one more where their number is odd."""
    if not digits:
        return b""
    return b".%0*d" % (digits, value // 10 if digits & 1 else value)


def year_text(value: int) -> bytes:
    """A YEAR; zero is the year 0000."""
    return b"%d" % (value + 1900 if value else 0)


@lru_cache(maxsize=4096)
def date_text(value: int) -> bytes:
    """A DATE: day in 5 bits, month in 4, year."""
    return b"%04d-%02d-%02d" % (value >> 9, value >> 5 & 15, value & 31)


@lru_cache(maxsize=4096)
def _day(value: int) -> bytes:
    months = value >> 5
    return b"%04d-%02d-%02d" % (months // 13, months % 13, value & 31)


def datetime_text(value: int) -> bytes:
    """A DATETIME without its fraction: seconds in 6 bits, minutes in 6, hours in 5, days in 5, and
    months by thirteen."""
    value -= DATETIME_OFFSET
    return _day(value >> 17) + b" %02d:%02d:%02d" % (
        value >> 12 & 31,
        value >> 6 & 63,
        value & 63,
    )


def datetime_fraction_text(raw: bytes, digits: int) -> bytes:
    """A DATETIME and its fraction."""
    whole = datetime_text(int.from_bytes(raw[:5], "big"))
    return whole + _fraction(int.from_bytes(raw[5:], "big"), digits)


@lru_cache(maxsize=4096)
def _utc_day(days: int) -> bytes:
    return (_EPOCH + timedelta(days=days)).date().isoformat().encode()


def timestamp_text(seconds: int) -> bytes:
    """A TIMESTAMP without fraction in UTC, with its zone; zero has none."""
    if not seconds:
        return _ZERO
    days, rest = divmod(seconds, 86400)
    return _utc_day(days) + b" %02d:%02d:%02d+00" % (rest // 3600, rest // 60 % 60, rest % 60)


def timestamp_fraction_text(raw: bytes, digits: int) -> bytes:
    """A TIMESTAMP and its fraction."""
    seconds, fraction = int.from_bytes(raw[:4], "big"), int.from_bytes(raw[4:], "big")
    shown = _fraction(fraction, digits)
    if not seconds and not fraction:
        return _ZERO + shown
    days, rest = divmod(seconds, 86400)
    clock = clock_text(rest // 3600, rest // 60 % 60, rest % 60)
    return _utc_day(days) + b" " + clock + shown + b"+00"


def time_text(raw: bytes, digits: int) -> bytes:
    """A TIME and its fraction: together an integer whose negative values count down."""
    length = fraction_length(digits)
    value = int.from_bytes(raw, "big") - (TIME_OFFSET << 8 * length)
    sign, value = (b"-", -value) if value < 0 else (b"", value)
    whole, part = value >> 8 * length, value & (1 << 8 * length) - 1
    return (
        sign + clock_text(whole >> 12 & 1023, whole >> 6 & 63, whole & 63) + _fraction(part, digits)
    )


def clock_text(hours: int, minutes: int, seconds: int) -> bytes:
    """Hours, which may be more than a day, minutes and seconds."""
    return b"%02d:%02d:%02d" % (hours, minutes, seconds)


def old_datetime_text(value: int) -> bytes:
    """A DATETIME as servers before MySQL 5.6 wrote it: its digits."""
    day, clock = divmod(value, 1_000_000)
    return b"%04d-%02d-%02d %02d:%02d:%02d" % (
        day // 10000,
        day // 100 % 100,
        day % 100,
        clock // 10000,
        clock // 100 % 100,
        clock % 100,
    )


def old_time_text(value: int) -> bytes:
    """A TIME as servers before MySQL 5.6 wrote it: its digits."""
    sign, value = (b"-", -value) if value < 0 else (b"", value)
    return sign + clock_text(value // 10000, value // 100 % 100, value % 100)
