"""Dates, times and intervals: from numbers and ISO texts to the exact texts of our types.

Days are those of the proleptic Gregorian calendar in any year; Python's own dates end at 9999.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

Text = Callable[[Any], bytes]
"""From a value of a record to a column's exact text. Raises ValueError or TypeError for a value
that its schema does not allow."""

_DAY: Final = 86_400_000_000  # µs
# What Debezium has for infinite dates and moments, which no calendar reaches.
_DATES: Final = {-2147472692: b"infinity", -2147472691: b"-infinity"}
_MOMENTS: Final = {9223372036825200000: b"infinity", -9223372036832400000: b"-infinity"}
_NANOS: Final = {2**63 - 1: b"infinity", -(2**63): b"-infinity"}
_INFINITE: Final = ("infinity", "-infinity")


def _civil(days: int) -> tuple[int, int, int]:
    """Astronomical year, month and day of days since 1970-01-01."""
    days += 719_468  # from 0000-03-01, since a year that begins in March ends with the leap day
    era, in_era = divmod(days, 146_097)
    year = (in_era - in_era // 1460 + in_era // 36_524 - in_era // 146_096) // 365
    in_year = in_era - (365 * year + year // 4 - year // 100)
    month = (5 * in_year + 2) // 153
    day = in_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + era * 400 + (month <= 2), month, day


def _dated(year: int, month: int, day: int, rest: str = "") -> bytes:
    if year > 0:
        return f"{year:04d}-{month:02d}-{day:02d}{rest}".encode()
    return f"{1 - year:04d}-{month:02d}-{day:02d}{rest} BC".encode()


def date(days: Any) -> bytes:
    """Days since the epoch."""
    return _DATES.get(days) or _dated(*_civil(_whole(days)))


def _whole(number: Any) -> int:
    if type(number) is not int:
        raise TypeError(f"{number!r} is no whole number")
    return number


def _clock(amount: int, digits: int) -> str:
    """``HH:MM:SS[.f]`` of a number of units, ``digits`` of them after the point of a second."""
    seconds, fraction = divmod(amount, 10**digits)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return text + (f".{fraction:0{digits}d}".rstrip("0") if fraction else "")


def time_of(digits: int) -> Text:
    """A time of day (or MySQL's span of time) in units of a second's ``digits``-th part of ten."""

    def text(amount: Any) -> bytes:
        sign = "-" if _whole(amount) < 0 else ""
        return (sign + _clock(abs(amount), digits)).encode()

    return text


def timestamp_of(digits: int) -> Text:
    """A moment in such units since the epoch."""
    infinite = _NANOS if digits == 9 else _MOMENTS
    day = 86_400 * 10**digits

    def text(amount: Any) -> bytes:
        if amount in infinite:
            return infinite[amount]
        days, rest = divmod(_whole(amount), day)
        return _dated(*_civil(days), " " + _clock(rest, digits))

    return text


_ISO: Final = re.compile(r"([+-]?\d{4,})-(\d\d)-(\d\d)(?:T(\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?)?(Z?)")
_ISO_TIME: Final = re.compile(r"(\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?Z?")


def iso_date(value: Any) -> bytes:
    """``IsoDate``."""
    if value in _INFINITE:
        return str(value).encode()
    year, month, day, _, _, _ = _parts(value)
    return _dated(int(year), int(month), int(day))


def iso_timestamp(value: Any) -> bytes:
    """``IsoTimestamp``: its ``Z`` says nothing."""
    return _moment(value, "")


def zoned_timestamp(value: Any) -> bytes:
    """``ZonedTimestamp``, in UTC."""
    return _moment(value, "+00")


def _moment(value: Any, zone: str) -> bytes:
    if value in _INFINITE:
        return str(value).encode()
    year, month, day, clock, fraction, utc = _parts(value)
    if clock is None or not utc:
        raise ValueError(f"{value!r} is no moment in UTC")
    return _dated(int(year), int(month), int(day), f" {_timed(clock, fraction)}{zone}")


def _parts(value: Any) -> tuple[str, ...]:
    found = _ISO.fullmatch(value)
    if found is None:
        raise ValueError(f"{value!r} is no ISO date")
    return found.groups()


def _timed(clock: str, fraction: str | None) -> str:
    fraction = (fraction or "").rstrip("0")
    seconds = clock if len(clock) == 8 else clock + ":00"
    return f"{seconds}.{fraction}" if fraction else seconds


def iso_time(value: Any) -> bytes:
    """``IsoTime``."""
    return _time(value).encode()


def zoned_time(value: Any) -> bytes:
    """``ZonedTime``, in UTC."""
    return (_time(value) + "+00").encode()


def _time(value: Any) -> str:
    found = _ISO_TIME.fullmatch(value)
    if found is None:
        raise ValueError(f"{value!r} is no ISO time")
    return _timed(*found.groups())


def duration_of(digits: int) -> Text:
    """A span of time as a number: what was months or days is hours by now."""
    return time_of(digits)


_PERIOD: Final = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?"
    r"(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?)(\d+)(?:\.(\d+))?S)?)?"
)


def interval(value: Any) -> bytes:
    """``P1Y2M3DT4H5M6.78S`` as PostgreSQL's intervalstyle ``postgres`` has it."""
    found = _PERIOD.fullmatch(value)
    if found is None:
        raise ValueError(f"{value!r} is no ISO interval")
    years, months, days, hours, minutes, sign, seconds, fraction = found.groups()
    pieces: list[str] = []
    negative = False
    for text, unit in ((years, "year"), (months, "mon"), (days, "day")):
        number = int(text or 0)
        if number:
            plus = "+" if negative and number > 0 else ""
            pieces.append(f"{plus}{number} {unit}{'' if number == 1 else 's'}")
            negative = number < 0
    whole = int(seconds or 0) * 1_000_000 + int((fraction or "").ljust(6, "0")[:6])
    micros = (int(hours or 0) * 60 + int(minutes or 0)) * 60_000_000
    micros += -whole if sign else whole
    if micros or not pieces:
        before = "-" if micros < 0 else "+" if negative else ""
        pieces.append(before + _clock(abs(micros), 6))
    return " ".join(pieces).encode()
