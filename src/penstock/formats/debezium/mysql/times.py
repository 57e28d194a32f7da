"""Dates and times: from the server's exact text to numbers since the epoch or ISO texts.

Zero dates, partial ones, and those that no calendar has are null.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from penstock.formats.debezium.numbers import Encode
from penstock.formats.debezium.times import DAY, epoch_days, time_micros
from penstock.formats.json import NULL

_TIME: Final = re.compile(rb"(-?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?")

_MOST: Final = (1 << 63) - 1

Adjust = Callable[[int], int]


def adjusted(year: int) -> int:
    """A year of two digits as the server itself reads one (``enable.time.adjuster``)."""
    if 0 <= year <= 69:
        return year + 2000
    return year + 1900 if 70 <= year <= 99 else year


def as_written(year: int) -> int:
    """The year that is there."""
    return year


@lru_cache(maxsize=4096)
def _date(text: bytes, adjust: Adjust) -> bytes | None:
    """``YYYY-MM-DD`` of the day that is meant; None where it is none."""
    year, month, day = map(int, text.split(b"-"))
    year = adjust(year)
    if not (1 <= month <= 12 and 1 <= day <= monthrange(year or 2000, month)[1]):
        return None
    return b"%04d-%02d-%02d" % (year, month, day)


@lru_cache(maxsize=4096)
def _days(date: bytes) -> int:
    return epoch_days(date)


def _micros(raw: bytes, adjust: Adjust) -> int | None:
    """Microseconds since the epoch of ``YYYY-MM-DD HH:MM:SS[.ffffff]``."""
    date = _date(raw[:10], adjust)
    return None if date is None else _days(date) * DAY + time_micros(raw[11:])


def days(adjust: Adjust) -> Encode:
    """A DATE as days since the epoch."""

    def encode(raw: bytes) -> bytes:
        date = _date(raw, adjust)
        return NULL if date is None else b"%d" % _days(date)

    return encode


def iso_date(adjust: Adjust) -> Encode:
    """A DATE as ``IsoDate``."""

    def encode(raw: bytes) -> bytes:
        date = _date(raw, adjust)
        return NULL if date is None else b'"%bZ"' % date

    return encode


def datetime_in(unit: int, adjust: Adjust) -> Encode:
    """A DATETIME as a number of units of ``unit`` nanoseconds since the epoch; null where 64 bits
    cannot hold it."""

    def encode(raw: bytes) -> bytes:
        micros = _micros(raw, adjust)
        if micros is None:
            return NULL
        units = micros * 1000 // unit
        return b"%d" % units if -_MOST <= units <= _MOST else NULL

    return encode


def iso_datetime(adjust: Adjust) -> Encode:
    """A DATETIME as ``IsoTimestamp``."""

    def encode(raw: bytes) -> bytes:
        date = _date(raw[:10], adjust)
        return NULL if date is None else b'"%bT%bZ"' % (date, _clock(raw[11:]))

    return encode


def _clock(time: bytes) -> bytes:
    """A time of day without the zeros at the end of its fraction."""
    return time.rstrip(b"0").rstrip(b".") if b"." in time else time


def zoned(digits: int) -> Encode:
    """A TIMESTAMP as ``ZonedTimestamp``, its fraction of so many digits."""

    def encode(raw: bytes) -> bytes:
        if not raw.endswith(b"+00"):
            if raw.startswith(b"0000"):
                return NULL
            raise ValueError("not in UTC")
        date, time = raw[:10], raw[11:-3]
        if digits:
            time = b"%b.%b" % (time[:8], time[9:].ljust(digits, b"0"))
        return b'"%bT%bZ"' % (date, time)

    return encode


def span_micros(raw: bytes) -> int:
    """Microseconds of a TIME, which may be negative, and more than a day."""
    found = _TIME.fullmatch(raw)
    if found is None:
        raise ValueError("not a TIME")
    sign, hours, minutes, seconds, fraction = found.groups()
    micros = ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000
    micros += int((fraction or b"").ljust(6, b"0"))
    return -micros if sign else micros


def span_in(unit: int) -> Encode:
    """A TIME as a number of units of ``unit`` nanoseconds."""
    return lambda raw: b"%d" % (span_micros(raw) * 1000 // unit)


def time_millis(raw: bytes) -> bytes:
    """A TIME in milliseconds of a day."""
    micros = span_micros(raw)
    return b"%d" % (micros // 1000) if 0 <= micros < DAY else NULL


def iso_time(raw: bytes) -> bytes:
    """A TIME as ``IsoTime``."""
    return b'"%bZ"' % _clock(raw) if 0 <= span_micros(raw) < DAY else NULL
