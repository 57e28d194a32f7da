"""Texts of all character sets as UTF-8, with the characters that the servers themselves show.

What Python's codecs make of bytes differs from what MySQL and MariaDB make of them in a few places;
those are listed here, as both servers' ``CONVERT(… USING utf8mb4)`` gives them. A byte that is no
character of a set is ``?`` there, and so it is here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

ToUtf8: TypeAlias = Callable[[bytes], bytes]

BINARY: Final = 63
"""The collation of bytes."""


class Charset(NamedTuple):
    """A character set.

    Parameters
    ----------
    widest: most bytes of a character.
    to_utf8: makes UTF-8 of a text, raising ValueError for what is none; None where it is UTF-8.
    """

    name: str
    widest: int
    to_utf8: ToUtf8 | None


@lru_cache(maxsize=1024)
def charset_of(collation: int) -> Charset | None:
    """The character set of a collation's number; None for one that we do not know."""
    name = _name(collation)
    if name is None:
        return None
    if name in ("utf8mb3", "utf8mb4", "binary"):
        return Charset(name, {"utf8mb3": 3, "utf8mb4": 4}.get(name, 1), None)
    if name in _SINGLE:
        return Charset(name, 1, _single(*_SINGLE[name]))
    if name in _WIDE:
        widest, codec, shown = _WIDE[name]
        return Charset(name, widest, _wide(codec, shown))
    return Charset(name, 3, _unknown(name))


def _name(collation: int) -> str | None:
    if 2048 <= collation < 2048 + 256 * len(_UCA1400):
        return _UCA1400[(collation - 2048) // 256]
    if 1024 < collation < 2048:  # MariaDB: the same without padding
        collation -= 1024
    return _BY_NUMBER.get(collation)


def _single(codec: str, shown: dict[int, str]) -> ToUtf8:
    characters = list(bytes(range(256)).decode(codec, "replace").replace("\ufffd", "?"))
    for first, text in shown.items():
        characters[first : first + len(text)] = text
    table = [character.encode() for character in characters]
    if all(table[i] == bytes((i,)) for i in range(128)):
        return lambda raw: raw if raw.isascii() else b"".join([table[byte] for byte in raw])
    return lambda raw: b"".join([table[byte] for byte in raw])


def _wide(codec: str, shown: dict[str, str]) -> ToUtf8:
    translation = str.maketrans(shown)

    def to_utf8(raw: bytes) -> bytes:
        try:
            text = raw.decode(codec)
        except UnicodeDecodeError:
            if codec.startswith("utf"):  # half a pair, which the servers keep and show
                return raw.decode(codec, "surrogatepass").encode("utf-8", "surrogatepass")
            if codec == "euc_jp":  # characters of users' own, which the servers know
                raise
            return raw.decode(codec, "replace").replace("\ufffd", "?").encode()
        return text.translate(translation).encode()

    return to_utf8


def _unknown(name: str) -> ToUtf8:
    def refuse(raw: bytes) -> bytes:
        if raw.isascii():
            return raw
        raise ValueError(f"the character set {name} is not known")

    return refuse


_SINGLE: Final[dict[str, tuple[str, dict[int, str]]]] = {
    # name: (Python's codec, what the servers show otherwise from a byte on)
    "dec8": (
        "latin_1",
        {
            0xA4: "?",
            0xA6: "?",
            0xA8: "¤",
            0xAC: "????",
            0xB4: "?",
            0xB8: "?",
            0xBE: "?",
            0xD0: "?",
            0xD7: "Œ",
            0xDD: "Ÿ?",
            0xF0: "?",
            0xF7: "œ",
            0xFD: "ÿ??",
        },
    ),
    "cp850": ("cp850", {}),
    "hp8": ("hp_roman8", {}),
    "koi8r": ("koi8_r", {}),
    "latin1": ("cp1252", {0x81: "\x81", 0x8D: "\x8d", 0x8F: "\x8f\x90", 0x9D: "\x9d"}),
    "latin2": ("iso8859_2", {}),
    "swe7": ("ascii", {0x40: "É", 0x5B: "ÄÖÅÜ", 0x60: "é", 0x7B: "äöåü?"}),
    "ascii": ("ascii", {}),
    "hebrew": ("iso8859_8", {0xAF: "‾"}),
    "tis620": ("iso8859_11", {0xA0: "�", 0xDB: "����", 0xFC: "����"}),
    "koi8u": ("koi8_u", {0x95: "•"}),
    "greek": ("iso8859_7", {0xA1: "ʽʼ", 0xA4: "??", 0xAA: "?"}),
    "cp1250": ("cp1250", {}),
    "latin5": ("iso8859_9", {}),
    "armscii8": (
        "latin_1",
        {
            0xA1: "❁§։)(»«—.՝,-՟…՜՛՞ԱաԲբԳգԴդԵեԶզԷէԸըԹթԺժԻիԼլԽխԾծԿկՀհ"
            "ՁձՂղՃճՄմՅյՆնՇշՈոՉչՊպՋջՌռՍսՎվՏտՐրՑցՒւՓփՔքՕօՖֆ’'",
        },
    ),
    "cp866": ("cp866", {0xFC: "ⁿ²"}),
    "keybcs2": (
        "cp437",
        {
            0x80: "Č",
            0x83: "ď",
            0x85: "ĎŤčěĚĹÍľĺ",
            0x8F: "Á",
            0x91: "žŽ",
            0x95: "ÓůÚý",
            0x9B: "ŠĽÝŘť",
            0xA4: "ňŇŮÔšřŕŔ",
        },
    ),
    "macce": ("mac_latin2", {}),
    "macroman": ("mac_roman", {}),
    "cp852": ("cp852", {}),
    "latin7": ("iso8859_13", {}),
    "cp1251": ("cp1251", {}),
    "cp1256": (
        "cp1256",
        {0x8A: "?", 0x8F: "?", 0x98: "?", 0x9A: "?", 0x9F: "?", 0xAA: "?", 0xC0: "?", 0xFF: "?"},
    ),
    "cp1257": ("cp1257", {}),
    "geostd8": (
        "cp1252",
        {
            0x83: "?",
            0x88: "?",
            0x8A: "?",
            0x8C: "?",
            0x8E: "?",
            0x98: "???",
            0x9C: "?",
            0x9E: "??",
            0xC0: "აბგდევზჱთიკლმნჲოპჟრსტჳუფქღყშჩცძწჭხჴჯჰჵ???????????????????????№??",
        },
    ),
}
_WIDE: Final[dict[str, tuple[int, str, dict[str, str]]]] = {
    # name: (most bytes, Python's codec, characters that the servers show otherwise)
    "ucs2": (2, "utf_16_be", {}),
    "utf16": (4, "utf_16_be", {}),
    "utf16le": (4, "utf_16_le", {}),
    "utf32": (4, "utf_32_be", {}),
    "big5": (2, "big5", {"\u02cd": "\ufffd", "\u2574": "\ufffd", "\uffe3": "\ufffd"}),
    "cp932": (2, "cp932", {}),
    "euckr": (2, "cp949", {}),
    "gb18030": (4, "gb18030", {}),
    "gb2312": (2, "gb2312", {}),
    "gbk": (2, "gbk", {}),
    "sjis": (2, "shift_jis", {"\uff3c": "\\"}),
    "ujis": (3, "euc_jp", {"\uff3c": "\\"}),
}
_UCA1400: Final = ("utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32")
_NUMBERS: Final = {
    "big5": "1 84",
    "latin2": "2 9 21 27 77",
    "dec8": "3 69",
    "cp850": "4 80",
    "latin1": "5 8 15 31 47-49 94",
    "hp8": "6 72",
    "koi8r": "7 74",
    "swe7": "10 82",
    "ascii": "11 65",
    "ujis": "12 91",
    "sjis": "13 88",
    "cp1251": "14 23 50-52",
    "hebrew": "16 71",
    "tis620": "18 89",
    "euckr": "19 85",
    "latin7": "20 41-42 79",
    "koi8u": "22 75",
    "gb2312": "24 86",
    "greek": "25 70",
    "cp1250": "26 34 44 66 99",
    "gbk": "28 87",
    "cp1257": "29 58-59",
    "latin5": "30 78",
    "armscii8": "32 64",
    "utf8mb3": "33 76 83 192-223 576-578",
    "ucs2": "35 90 128-159 640-642",
    "cp866": "36 68",
    "keybcs2": "37 73",
    "macce": "38 43",
    "macroman": "39 53",
    "cp852": "40 81",
    "utf8mb4": "45-46 224-247 255-323 608-610",
    "utf16": "54-55 101-124 672-674",
    "utf16le": "56 62",
    "cp1256": "57 67",
    "utf32": "60-61 160-183 736-738",
    "binary": "63",
    "geostd8": "92-93",
    "cp932": "95-96",
    "eucjpms": "97-98",
    "gb18030": "248-250",
}


def _numbers() -> dict[int, str]:
    found = {}
    for name, ranges in _NUMBERS.items():
        for part in ranges.split():
            first, _, last = part.partition("-")
            for number in range(int(first), int(last or first) + 1):
                found[number] = name
    return found


_BY_NUMBER: Final = _numbers()
