"""Dates and times as the servers write them, zero and partial ones included.

https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html
https://dev.mysql.com/doc/internals/en/date-and-time-data-type-representation.html
"""

from __future__ import annotations

from collections.abc import Callable
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


def _fraction_form(digits: int) -> tuple[bytes, int, int]:
    """How a fraction is shown, how many bits it has, and by what it is divided for that: of an odd
    number of digits there is one more."""
    form = b".%%0%dd" % digits if digits else b"%.0a"  # which shows nothing
    return form, 8 * fraction_length(digits), 10 if digits & 1 else 1


def datetime_reader(digits: int) -> Callable[[bytes], bytes]:
    """What makes the text of a DATETIME: seconds in 6 bits, minutes in 6, hours in 5, days in 5,
    months by thirteen; and behind that the fraction."""
    form, bits, divisor = _fraction_form(digits)
    mask = (1 << bits) - 1
    offset = DATETIME_OFFSET << bits
    day, shown = _day, b"%b %02d:%02d:%02d" + form

    def text(raw: bytes) -> bytes:
        packed = int.from_bytes(raw, "big") - offset
        value = packed >> bits
        return shown % (
            day(value >> 17),
            value >> 12 & 31,
            value >> 6 & 63,
            value & 63,
            (packed & mask) // divisor,
        )

    return text


@lru_cache(maxsize=4096)
def _utc_day(days: int) -> bytes:
    return (_EPOCH + timedelta(days=days)).date().isoformat().encode()


def timestamp_text(seconds: int) -> bytes:
    """A TIMESTAMP without fraction in UTC, with its zone; zero has none."""
    if not seconds:
        return _ZERO
    days, rest = divmod(seconds, 86400)
    return _utc_day(days) + b" %02d:%02d:%02d+00" % (rest // 3600, rest // 60 % 60, rest % 60)


def timestamp_reader(digits: int) -> Callable[[bytes], bytes]:
    """What makes the text of a TIMESTAMP: seconds since 1970, and the fraction."""
    form, bits, divisor = _fraction_form(digits)
    mask = (1 << bits) - 1
    zero, shown = _ZERO + form % 0, b"%b %02d:%02d:%02d" + form + b"+00"

    def text(raw: bytes) -> bytes:
        packed = int.from_bytes(raw, "big")
        if not packed:
            return zero
        days, rest = divmod(packed >> bits, 86400)
        minutes, second = divmod(rest, 60)
        hour, minute = divmod(minutes, 60)
        return shown % (_utc_day(days), hour, minute, second, (packed & mask) // divisor)

    return text


def time_reader(digits: int) -> Callable[[bytes], bytes]:
    """What makes the text of a TIME: with its fraction an integer whose negative values count
    down."""
    form, bits, divisor = _fraction_form(digits)
    mask = (1 << bits) - 1
    offset = TIME_OFFSET << bits
    shown = b"%b%02d:%02d:%02d" + form

    def text(raw: bytes) -> bytes:
        packed = int.from_bytes(raw, "big") - offset
        sign, packed = (b"-", -packed) if packed < 0 else (b"", packed)
        value = packed >> bits
        part = (packed & mask) // divisor
        return shown % (sign, value >> 12 & 1023, value >> 6 & 63, value & 63, part)

    return text


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
