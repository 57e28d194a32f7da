"""Exact texts as values of Arrow types.

Each function takes a server's text and gives what pyarrow stores for it. It raises Misfit for a
value that the Arrow type cannot hold, and ValueError for a text that the column's type does not
allow. Dates and timestamps are held from the year 1 to 9999: Arrow could count further, but the
libraries that read it fail there.
"""

from __future__ import annotations

import re
import struct
from binascii import unhexlify
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from importlib import import_module
from math import inf, isinf, nextafter
from typing import Any, Final, TypeAlias

from penstock.model.table import Type

Convert: TypeAlias = Callable[[bytes], Any]


class Misfit(Exception):
    """The Arrow type has no such value."""


def boolean(raw: bytes) -> bool:
    """``t`` or ``f``."""
    if raw not in (b"t", b"f"):
        raise ValueError("neither t nor f")
    return raw == b"t"


_INTEGER: Final = re.compile(rb"-?[0-9]+")


def integer(low: int, high: int) -> Convert:
    """Whole numbers of a range."""

    def convert(raw: bytes) -> int:
        if not _INTEGER.fullmatch(raw) or not low <= int(raw) <= high:
            raise ValueError(f"not a whole number from {low} to {high}")
        return int(raw)

    return convert


_FLOAT: Final = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]{1,3})?")
_SPECIAL: Final = (b"NaN", b"Infinity", b"-Infinity")


def float64(raw: bytes) -> float:
    """The nearest number of 64 bits."""
    if raw in _SPECIAL:
        return float(raw)
    if not _FLOAT.fullmatch(raw) or isinf(value := float(raw)):
        raise ValueError("not a number")
    return value


def float32(raw: bytes) -> float:
    """The nearest number of 32 bits.

    Rounding twice could miss it, so the first time what is not exact is rounded to odd.
    """
    value = float64(raw)
    if raw in _SPECIAL:
        return value
    exact = Decimal(raw.decode())
    if exact != value and not struct.unpack("<q", struct.pack("<d", value))[0] & 1:
        value = nextafter(value, inf if exact > value else -inf)
    try:
        nearest: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        raise ValueError("not a number of 32 bits") from None
    return nearest


_NUMERIC: Final = re.compile(rb"-?([0-9]+)(?:\.([0-9]+))?")


def decimal(precision: int, scale: int) -> Convert:
    """Numbers of so many digits, ``scale`` of them behind the point."""

    def convert(raw: bytes) -> Decimal:
        match = _NUMERIC.fullmatch(raw)
        if match is None or len(match[2] or b"") > scale:
            raise Misfit
        if len(match[1].lstrip(b"0")) > precision - scale:
            raise Misfit
        return Decimal(raw.decode())

    return convert


def text(raw: bytes) -> str:
    """The text itself."""
    return raw.decode()


def binary(raw: bytes) -> bytes:
    """The bytes of ``\\x…``."""
    if raw[:2] != b"\\x":
        raise ValueError("not in hex form")
    return unhexlify(raw[2:])


_UUID: Final = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def uuid(raw: bytes) -> bytes:
    """Its 16 bytes."""
    if not _UUID.fullmatch(raw):
        raise ValueError("not a uuid")
    return unhexlify(raw.replace(b"-", b""))


_DAY = rb"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_CLOCK = rb"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?"
_ZONE = rb"([-+])([0-9]{2})(?::([0-5][0-9]))?(?::([0-5][0-9]))?"
_DATE: Final = re.compile(_DAY)
_TIME: Final = re.compile(_CLOCK)
_TIMESTAMP: Final = re.compile(_DAY + b" " + _CLOCK)
_TIMESTAMPTZ: Final = re.compile(_DAY + b" " + _CLOCK + _ZONE)


def _matched(pattern: re.Pattern[bytes], raw: bytes) -> tuple[bytes, ...]:
    match = pattern.fullmatch(raw)
    if match is None:
        raise Misfit
    return match.groups()


def day(raw: bytes) -> date:
    """A day of the years 1 to 9999."""
    return _date(*_matched(_DATE, raw))


def clock(raw: bytes) -> time:
    """A time of the day, before 24:00."""
    return _time(*_matched(_TIME, raw))


def timestamp(raw: bytes) -> datetime:
    """A moment of the years 1 to 9999, without a zone."""
    parts = _matched(_TIMESTAMP, raw)
    return datetime.combine(_date(*parts[:3]), _time(*parts[3:]))


def timestamptz(raw: bytes) -> datetime:
    """A moment of the years 1 to 9999 in UTC."""
    *parts, sign, hours, minutes, seconds = _matched(_TIMESTAMPTZ, raw)
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
    moment = datetime.combine(_date(*parts[:3]), _time(*parts[3:]))
    try:
        zone = timezone(-offset if sign == b"-" else offset)
        return moment.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Misfit from None


def _date(year: bytes, month: bytes, day: bytes) -> date:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        raise Misfit from None


def _time(hour: bytes, minute: bytes, second: bytes, fraction: bytes | None) -> time:
    try:
        return time(int(hour), int(minute), int(second), int((fraction or b"0").ljust(6, b"0")))
    except ValueError:
        raise Misfit from None


def array(type: Type, convert: Convert) -> Convert:
    """Lists of one dimension that are counted from 1; an element that does not fit is a misfit.

    The text is taken apart by the source's own parser, made anew for these elements.
    """
    assert type.element is not None
    module, _, name = type.codec.partition(":")
    make = getattr(import_module(module), name)
    parse: Convert = make(replace(type, element=replace(type.element, parse=convert)))

    def read(raw: bytes) -> list[Any]:
        if raw[:1] == b"[":
            raise Misfit
        try:
            values: list[Any] = parse(raw)
        except ValueError:
            raise Misfit from None
        if any(isinstance(value, list) for value in values):
            raise Misfit
        return values

    return read
