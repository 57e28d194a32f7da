"""Dates and times, as a session with DateStyle ISO, IntervalStyle postgres and TimeZone UTC
writes them. The server counts days and microseconds from 2000-01-01."""

from __future__ import annotations

from typing import Final

from penstock.sources.postgres.wire.binary.form import TextOf, fixed

_DAY: Final = 86_400_000_000
_SECOND: Final = 1_000_000
_JULIAN_2000: Final = 2_451_545
_LAST_DATE: Final = 2_145_031_948  # 5874897-12-31
_FIRST_MOMENT: Final = -211_813_488_000_000_000  # 4714-11-24 BC
_END_OF_MOMENTS: Final = 9_223_371_331_200_000_000  # 294277-01-01
_INT4: Final = 0x7FFF_FFFF
_INT8: Final = 0x7FFF_FFFF_FFFF_FFFF

_DATE, _TIME, _TIMETZ, _INTERVAL = fixed("i"), fixed("q"), fixed("qi"), fixed("qii")


def _infinity(value: int, largest: int) -> bytes:
    """The text of the two values that stand for the ends of time; else nothing."""
    if value == largest:
        return b"infinity"
    return b"-infinity" if value == -largest - 1 else b""


def date(raw: bytes) -> bytes:
    """``date``: days."""
    (days,) = _DATE(raw)
    if infinity := _infinity(days, _INT4):
        return infinity
    if not -_JULIAN_2000 <= days <= _LAST_DATE:
        raise ValueError(f"a date {days} days from 2000-01-01")
    day, era = _day(days)
    return day + era


def time(raw: bytes) -> bytes:
    """``time``: microseconds."""
    return _clock_of_day(*_TIME(raw))


def timetz(raw: bytes) -> bytes:
    """``timetz``: microseconds, and seconds to the west of Greenwich."""
    micros, west = _TIMETZ(raw)
    if not -16 * 3600 < west < 16 * 3600:
        raise ValueError(f"a zone {west} seconds from UTC")
    minutes, seconds = divmod(abs(west), 60)
    hours, minutes = divmod(minutes, 60)
    zone = (b"+" if west <= 0 else b"-") + b"%02d" % hours
    if minutes or seconds:
        zone += b":%02d" % minutes
    if seconds:
        zone += b":%02d" % seconds
    return _clock_of_day(micros) + zone


def timestamp(zone: bytes) -> TextOf:
    """``timestamp`` and ``timestamptz``: microseconds; ``zone`` follows the clock."""

    def text(raw: bytes) -> bytes:
        (micros,) = _TIME(raw)
        if infinity := _infinity(micros, _INT8):
            return infinity
        if not _FIRST_MOMENT <= micros < _END_OF_MOMENTS:
            raise ValueError(f"a moment {micros} microseconds from 2000-01-01")
        days, clock = divmod(micros, _DAY)
        day, era = _day(days)
        return day + b" " + _clock(clock) + zone + era

    return text


def interval(raw: bytes) -> bytes:
    """``interval``: microseconds, days, months; each has a sign of its own.

    All three at an end of their range are an infinite interval, since PostgreSQL 17.
    """
    micros, days, months = _INTERVAL(raw)
    infinity = _infinity(micros, _INT8)
    if infinity and infinity == _infinity(days, _INT4) == _infinity(months, _INT4):
        return infinity
    sign = -1 if months < 0 else 1
    years, rest = divmod(abs(months), 12)
    parts = []
    negative = False
    for count, unit in ((sign * years, b"year"), (sign * rest, b"mon"), (days, b"day")):
        if count:
            plus = b"+" if negative and count > 0 else b""
            parts.append(plus + b"%d %s" % (count, unit) + (b"s" if count != 1 else b""))
            negative = count < 0
    if micros or not parts:
        head = b"-" if micros < 0 else b"+" if negative else b""
        parts.append(head + _clock(abs(micros)))
    return b" ".join(parts)


def _clock_of_day(micros: int) -> bytes:
    if not 0 <= micros <= _DAY:
        raise ValueError(f"a time {micros} microseconds after midnight")
    return _clock(micros)


def _clock(micros: int) -> bytes:
    seconds, fraction = divmod(micros, _SECOND)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = b"%02d:%02d:%02d" % (hours, minutes, seconds)
    return text + (b".%06d" % fraction).rstrip(b"0") if fraction else text


def _day(days: int) -> tuple[bytes, bytes]:
    """Year, month and day in the proleptic Gregorian calendar, and the era's mark.

    Years are counted from March, so that the leap day is a year's last.
    """
    centuries, day = divmod(days + 730_425, 146_097)  # since 0000-03-01, in 400 years
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    year += 400 * centuries + (month >= 10)
    month = month + 3 if month < 10 else month - 9
    shown, era = (year, b"") if year > 0 else (1 - year, b" BC")
    return b"%04d-%02d-%02d" % (shown, month, day + 1), era
