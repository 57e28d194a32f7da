"""Dates and times: from the server's exact text (datestyle ISO, intervalstyle postgres, zone UTC)
to numbers since the epoch or ISO texts.

Days are those of the proleptic Gregorian calendar in any year, as PostgreSQL counts them; Python's
own dates end at the year 9999.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from penstock.formats.debezium.numbers import Encode
from penstock.formats.json import NULL

_INFINITE: Final = (b"infinity", b"-infinity")
# What Java makes of the driver's infinite dates, by overflow.
_DATE_INFINITY: Final = {b"infinity": -2147472692, b"-infinity": -2147472691}
_MICROS_INFINITY: Final = {b"infinity": 9223372036825200000, b"-infinity": -9223372036832400000}

_INT64_MAX: Final = 2**63 - 1

DAY: Final = 86_400_000_000
"""Microseconds."""


@lru_cache(maxsize=4096)
def _civil(text: bytes, before_christ: bool) -> tuple[int, int, int, int]:
    """Astronomical year, month, day, and days since 1970-01-01, of ``YYYY-MM-DD``."""
    year, month, day = map(int, text.split(b"-"))
    if before_christ:
        year = 1 - year
    shifted = year - (month <= 2)  # a year that begins in March ends with the leap day
    era, in_era = divmod(shifted, 400)
    in_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146_097 + in_era * 365 + in_era // 4 - in_era // 100 + in_year - 719_468
    return year, month, day, days


def _split(raw: bytes) -> tuple[bytes, bytes, bool]:
    """Date, time of day, and whether it is BC."""
    before_christ = raw.endswith(b" BC")
    if before_christ:
        raw = raw[:-3]
    date, _, time = raw.partition(b" ")
    return date, time, before_christ


def time_micros(raw: bytes) -> int:
    """Microseconds of ``HH:MM:SS[.ffffff]``."""
    seconds = int(raw[0:2]) * 3600 + int(raw[3:5]) * 60 + int(raw[6:8])
    return seconds * 1_000_000 + (int(raw[9:].ljust(6, b"0")) if len(raw) > 8 else 0)


def timestamp_micros(raw: bytes) -> int:
    """Microseconds since the epoch of ``YYYY-MM-DD HH:MM:SS[.ffffff][ BC]``."""
    if raw in _INFINITE:
        return _MICROS_INFINITY[raw]
    date, time, before_christ = _split(raw)
    return _civil(date, before_christ)[3] * DAY + time_micros(time)


def epoch_days(raw: bytes) -> int:
    """Days since the epoch of ``YYYY-MM-DD[ BC]``."""
    if raw in _INFINITE:
        return _DATE_INFINITY[raw]
    date, _, before_christ = _split(raw)
    return _civil(date, before_christ)[3]


def days(raw: bytes) -> bytes:
    """A date as days since the epoch."""
    return b"%d" % epoch_days(raw)


def time_in(unit: int) -> Encode:
    """A time of day as a number of units of ``unit`` nanoseconds."""

    def encode(raw: bytes) -> bytes:
        return b"%d" % (time_micros(raw) * 1000 // unit)

    return encode


def timestamp_in(unit: int) -> Encode:
    """A timestamp as a number of units of ``unit`` nanoseconds since the epoch."""
    if unit == 1000:
        return lambda raw: b"%d" % timestamp_micros(raw)
    if unit > 1000:
        return lambda raw: b"%d" % (timestamp_micros(raw) * 1000 // unit)
    return _timestamp_nanos


def _timestamp_nanos(raw: bytes) -> bytes:
    """What 64 bits cannot hold (before 1677, after 2262) is null, as Debezium has it."""
    if raw in _INFINITE:
        return b"%d" % (_INT64_MAX if raw == b"infinity" else -_INT64_MAX - 1)
    nanos = timestamp_micros(raw) * 1000
    return b"%d" % nanos if -_INT64_MAX <= nanos <= _INT64_MAX else NULL


def _iso_date(date: bytes, before_christ: bool) -> bytes:
    """As Java prints it: years above 9999 with a sign, years before 1 astronomical."""
    year, month, day, _ = _civil(date, before_christ)
    sign = "+" if year > 9999 else "-" if year < 0 else ""
    return f"{sign}{abs(year):04d}-{month:02d}-{day:02d}".encode()


def zoned_timestamp(digits: int) -> Encode:
    """``ZonedTimestamp`` in UTC; the fraction is padded to ``digits``, without any for 0."""

    def encode(raw: bytes) -> bytes:
        if raw in _INFINITE:
            return b'"%b"' % raw
        date, time, before_christ = _split(raw)
        if not time.endswith(b"+00"):
            raise ValueError("not in UTC")
        time = time[:-3]
        if digits:
            fraction = time[9:].ljust(digits, b"0")
            time = b"%b.%b" % (time[:8], fraction)
        if len(date) > 10 or before_christ:
            date = _iso_date(date, before_christ)
        return b'"%bT%bZ"' % (date, time)

    return encode


def zoned_time(raw: bytes) -> bytes:
    """``ZonedTime``: moved to UTC, as many digits as it has."""
    at = max(raw.rfind(b"+"), raw.rfind(b"-"))
    parts = [int(part) for part in raw[at + 1 :].split(b":")]
    offset = sum(part * size for part, size in zip(parts, (3600, 60, 1), strict=False))
    if raw[at : at + 1] == b"-":
        offset = -offset
    return b'"%bZ"' % _iso_time((time_micros(raw[:at]) - offset * 1_000_000) % DAY)


def _iso_time(micros: int) -> bytes:
    seconds, fraction = divmod(micros, 1_000_000)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return (text + (f".{fraction:06d}".rstrip("0") if fraction else "")).encode()


def iso_date(raw: bytes) -> bytes:
    """``IsoDate``, in UTC."""
    if raw in _INFINITE:
        return b'"%b"' % raw
    date, _, before_christ = _split(raw)
    return b'"%bZ"' % _iso_date(date, before_christ)


def iso_time(raw: bytes) -> bytes:
    """``IsoTime``, in UTC; the end of the day is its beginning."""
    return b'"%bZ"' % _iso_time(time_micros(raw) % DAY)


def iso_timestamp(raw: bytes) -> bytes:
    """``IsoTimestamp``, in UTC."""
    if raw in _INFINITE:
        return b'"%b"' % raw
    date, time, before_christ = _split(raw)
    return b'"%bT%bZ"' % (_iso_date(date, before_christ), _iso_time(time_micros(time)))


_INTERVAL: Final = re.compile(
    rb"(?:([+-]?\d+) years? ?)?(?:([+-]?\d+) mons? ?)?(?:([+-]?\d+) days? ?)?"
    rb"(?:([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?)?"
)


def _interval(raw: bytes) -> tuple[int, int, int]:
    """Months, days and microseconds."""
    found = _INTERVAL.fullmatch(raw)
    if found is None:
        raise ValueError("not an interval in the style postgres")
    years, months, days, sign, hours, minutes, seconds, fraction = found.groups()
    micros = ((int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)) * 1_000_000
    micros += int((fraction or b"").ljust(6, b"0"))
    return (
        int(years or 0) * 12 + int(months or 0),
        int(days or 0),
        -micros if sign == b"-" else micros,
    )


def interval_micros(raw: bytes) -> bytes:
    """``MicroDuration``: a month is a twelfth of 365.25 days."""
    months, days, micros = _interval(raw)
    return b"%d" % (months * 2_629_800_000_000 + days * DAY + micros)


def interval_text(raw: bytes) -> bytes:
    """``io.debezium.time.Interval``, e.g. ``P1Y2M3DT4H5M6.78S``: every part is there."""
    months, days, micros = _interval(raw)
    years, months = int(months / 12), months - int(months / 12) * 12
    sign = "-" if micros < 0 else ""
    seconds, fraction = divmod(abs(micros), 1_000_000)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    rest = f"{seconds % 60}" + (f".{fraction:06d}".rstrip("0") if fraction else "")

    def signed(part: int | str) -> str:
        return f"{sign if str(part) != '0' else ''}{part}"

    text = f"P{years}Y{months}M{days}DT{signed(hours)}H{signed(minutes)}M{signed(rest)}S"
    return b'"%b"' % text.encode()
