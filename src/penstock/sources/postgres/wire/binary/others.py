"""Texts, bytes, identifiers, network addresses, bit strings and geometry."""

from __future__ import annotations

from binascii import hexlify
from struct import unpack
from typing import Final

from penstock.sources.postgres.wire.binary.form import Parts, TextOf, fixed
from penstock.sources.postgres.wire.binary.numbers import float8

_INET, _INET6 = 2, 3
_ADDRESS_BYTES: Final = {_INET: 4, _INET6: 16}


def text(raw: bytes) -> bytes:
    """All kinds of text, and an enum's label: themselves."""
    return raw


def versioned(raw: bytes) -> bytes:
    """``jsonb`` and ``jsonpath``: the form's version, which is 1, and the text."""
    if raw[:1] != b"\1":
        raise ValueError("not of version 1")
    return raw[1:]


def bytea(raw: bytes) -> bytes:
    """``bytea``, with bytea_output=hex."""
    return b"\\x" + hexlify(raw)


def uuid(raw: bytes) -> bytes:
    """``uuid``."""
    fixed("16s")(raw)
    text = raw.hex().encode()
    return b"-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def hardware(size: int) -> TextOf:
    """``macaddr`` and ``macaddr8``."""
    unpack = fixed(f"{size}s")
    return lambda raw: unpack(raw)[0].hex(":").encode()


def tid(raw: bytes) -> bytes:
    """``tid``: block and offset."""
    return b"(%d,%d)" % fixed("IH")(raw)


def bits(raw: bytes) -> bytes:
    """``bit`` and ``varbit``: their number, then bytes."""
    parts = Parts(raw)
    length = parts.integer()
    if not 0 <= length <= 8 * parts.left or parts.left != -(-length // 8):
        raise ValueError(f"{length} bits in {parts.left} bytes")
    return b"".join(b"%s" % format(byte, "08b").encode() for byte in raw[4:])[:length]


def address(raw: bytes) -> bytes:
    """``inet`` and ``cidr``: family, bits of the mask, whether it is a cidr, length, address."""
    parts = Parts(raw)
    family, mask, network, size = parts.take(4)
    if size != _ADDRESS_BYTES.get(family) or network > 1 or mask > 8 * size:
        raise ValueError(f"an address of family {family}, {size} bytes and {mask} bits")
    packed = parts.take(size)
    parts.end()
    text = b"%d.%d.%d.%d" % tuple(packed) if family == _INET else _ipv6(packed)
    return text + b"/%d" % mask if network or mask < 8 * size else text


def _ipv6(packed: bytes) -> bytes:
    """The longest run of two zeros or more is left out; what embeds an IPv4 address ends in it."""
    words = unpack(">8H", packed)
    length, start = 0, 0
    for i in range(8):
        run = next((j for j in range(i, 8) if words[j]), 8) - i
        if run > length:
            length, start = run, i
    if length < 2:
        return b":".join(b"%x" % word for word in words)
    if start == 0 and (length == 6 or (length == 5 and words[5] == 0xFFFF)):
        return (b"::" if length == 6 else b"::ffff:") + b"%d.%d.%d.%d" % tuple(packed[12:])
    head, tail = words[:start], words[start + length :]
    return b"::".join(b":".join(b"%x" % word for word in side) for side in (head, tail))


def _floats(parts: Parts, count: int) -> list[bytes]:
    return [float8(parts.take(8)) for _ in range(count)]


def _points(parts: Parts, count: int) -> bytes:
    return b",".join(b"(" + b",".join(_floats(parts, 2)) + b")" for _ in range(count))


def points(count: int, form: bytes = b"%s") -> TextOf:
    """``point``, ``lseg`` and ``box``: so many points."""

    def text(raw: bytes) -> bytes:
        parts = Parts(raw)
        listed = form % _points(parts, count)
        parts.end()
        return listed

    return text


def line(raw: bytes) -> bytes:
    """``line``: the three numbers of its equation."""
    parts = Parts(raw)
    listed = b"{" + b",".join(_floats(parts, 3)) + b"}"
    parts.end()
    return listed


def circle(raw: bytes) -> bytes:
    """``circle``: centre and radius."""
    parts = Parts(raw)
    text = b"<" + _points(parts, 1) + b"," + _floats(parts, 1)[0] + b">"
    parts.end()
    return text


def polygon(raw: bytes) -> bytes:
    """``polygon``: the number of points, and the points."""
    return b"(" + _counted(Parts(raw)) + b")"


def path(raw: bytes) -> bytes:
    """``path``: whether it is closed, the number of points, and the points."""
    parts = Parts(raw)
    closed = parts.byte()
    if closed > 1:
        raise ValueError("neither open nor closed")
    return (b"(%s)" if closed else b"[%s]") % _counted(parts)


def _counted(parts: Parts) -> bytes:
    count = parts.integer()
    if count * 16 != parts.left:
        raise ValueError(f"{count} points in {parts.left} bytes")
    return _points(parts, count)
