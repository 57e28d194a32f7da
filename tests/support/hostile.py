"""Values at the edges of PostgreSQL's types, as input texts by ``pg_type.typname``."""

from __future__ import annotations

import struct
from random import Random
from typing import Final

CONTROLS: Final = "".join(map(chr, range(1, 0x20))) + "\x7f\x80\x9f"
EVERY_BYTE: Final = "\\x" + bytes(range(256)).hex()

DATES: Final = [
    *("infinity", "-infinity", "4713-01-01 BC", "0044-03-15 BC", "0001-01-01", "0001-12-31 BC"),
    *("1582-10-15", "2024-02-29", "9999-12-31", "10000-01-01", "5874897-12-31"),
]
MOMENTS: Final = [
    *("infinity", "-infinity", "4713-01-01 00:00:00 BC", "0001-01-01 00:00:00"),
    *("9999-12-31 23:59:59.999999", "10000-01-01 00:00:00", "294276-12-31 23:59:59.999999"),
    *("2024-02-29 12:00:00.000001", "1999-12-31 23:59:60", "1970-01-01 24:00:00"),
]
FLOATS: Final = ["0", "-0", "NaN", "Infinity", "-Infinity", "0.1", "-1e-5", "16777217", "1e15"]
NUMBERS: Final = [
    *("0", "-0.00", "NaN", "Infinity", "-Infinity", "1e-1000", "0." + "0" * 500 + "1", "1.10"),
    *(
        "9" * 1000,
        "-" + "9" * 1000 + "." + "9" * 1000,
        "1e131071",
        "123456789012345678901234567890",
    ),
]
TEXTS: Final = [
    *("", " ", "NULL", "null", "\\N", "\\.", "\\", '"', "'", "{}", "{NULL}", "(,)", "a\tb\nc\rd"),
    *(
        CONTROLS,
        "\u2028\ufeff\uffff",
        "🦭👩‍👩‍👧\U0010ffff",
        "é\u0301ß",
        "%s :x $1 ?",
        "\\x41",
        "x" * 5000,
    ),
]
JSONS: Final = [
    "null",
    '""',
    ' { "a" :  1 , "a" : 2 } ',
    '{"\\u0000": "\\ud800", "\\udc00\\ud800": "\\ud83e\\uddad"}',
    "[1e400, -0, 1E-400, 123456789012345678901234567890, 0.10]",
    '\n[\r\n"\\n\\r\\t\\"\\\\\\/",\t"🦭\x7f\u2028"]',
    "[" * 200 + "]" * 200,
    '{"":{"":[{}]}}',
]
VALUES: Final[dict[str, list[str]]] = {
    "bool": ["t", "f"],
    "bytea": ["\\x", EVERY_BYTE, "\\x00", "\\x5c78", "\\x" + "ff00" * 3000],
    "char": ["", "x", "\\", "\\200", "\\377", "'"],
    "name": ["", "a b", '"q"', "é" * 31],
    "int8": ["0", "-9223372036854775808", "9223372036854775807", "9007199254740993"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648", "2147483647"],
    "oid": ["0", "4294967295"],
    "int2vector": ["", "1 -2 3"],
    "oidvector": ["", "1 4294967295"],
    "regproc": ["now", "-", "4294967295"],
    "regprocedure": ["abs(integer)", "-"],
    "regoper": ["||/", "0"],
    "regoperator": ["+(integer,integer)", "0"],
    "regclass": ["pg_class", "information_schema.tables", "4294967295", "-"],
    "regtype": ["integer", "timestamp with time zone[]", "-"],
    "regrole": ["postgres", "4294967295"],
    "regnamespace": ["pg_catalog", "4294967295"],
    "regconfig": ["simple", "english"],
    "regdictionary": ["simple"],
    "regcollation": ['"C"', '"POSIX"'],
    "tid": ["(0,0)", "(4294967295,65535)"],
    "xid": ["0", "4294967295"],
    "cid": ["0", "4294967295"],
    "xid8": ["0", "18446744073709551615"],
    "text": TEXTS,
    "varchar": TEXTS,
    "bpchar": ["", "a  ", " ", "🦭 "],
    "refcursor": ["", "<unnamed portal 1>"],
    "json": JSONS,
    "jsonb": ["null", '""', '{"a": "\\u0001\\n\\"\\\\🦭"}', "1.10", "-0", "1" + "0" * 400, "[[]]"],
    "jsonpath": ["$", '$."a\\n🦭"[*]?(@ > 1)'],
    "xml": ["", "<a b='1'>é &amp; <![CDATA[<]]></a>", "text", '<?xml version="1.0"?><a/>'],
    "point": ["(0,-0)", "(NaN,Infinity)", "(1e-300,5e-324)"],
    "lseg": ["[(0,0),(1,-1)]"],
    "path": ["[(0,0),(1,1)]", "((0,0),(1,1))"],
    "box": ["(1,1),(0,0)"],
    "polygon": ["((0,0),(1,1),(0,1))"],
    "line": ["{1,-1,0.1}"],
    "circle": ["<(0,0),1e-300>"],
    "cidr": ["10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "::ffff:1.2.3.0/120"],
    "inet": ["10.1.2.3/8", "10.1.2.3", "255.255.255.255/0", "::1", "::ffff:1.2.3.4/96"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "money": ["0", "-92233720368547758.08", "92233720368547758.07", "-0.01"],
    "float4": [*FLOATS, "3.4028235e38", "1e-45", "-1.1754944e-38"],
    "float8": [*FLOATS, "1.7976931348623157e308", "5e-324", "0.30000000000000004", "1e22"],
    "numeric": NUMBERS,
    "date": DATES,
    "time": ["00:00:00", "24:00:00", "23:59:59.999999", "12:00:00.1"],
    "timetz": ["24:00:00+00", "00:00:00-15:59:59", "23:59:59.999999+15:59", "12:00:00.5+05:30"],
    "timestamp": MOMENTS,
    "timestamptz": [*MOMENTS, "2024-03-31 02:30:00 Europe/Berlin",
                    "1883-11-18 12:03:57 America/New_York"],
    "interval": [
        *(f"{y} years {m} mons {d} days {t}" for y in (1, -1) for m in (2, -2) for d in (3, -3)
          for t in ("04:05:06.7", "-04:05:06.789012")),
        *("0", "1 mon", "-1 mon +1 day -00:00:00.000001", "178000000 years", "-178000000 years"),
        *("2562047788:00:54.775807", "-2562047788:00:54.775807", "2147483647 days"),
    ],
    "uuid": ["00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"],
    "bit": ["0", "1"],
    "varbit": ["", "10110" * 100],
    "tsvector": ["", "'a':1A,2B 'it''s':3 'back\\\\slash' ' ':16383", "'🦭'"],
    "tsquery": ["", "'a' & !( 'b':*AB | 'it''s' ) <-> 'c'"],
    "pg_lsn": ["0/0", "FFFFFFFF/FFFFFFFF"],
    "txid_snapshot": ["10:20:10,14,15"],
    "pg_snapshot": ["10:20:10,14,15", "1:1:"],
    "aclitem": ["postgres=arwdDxt*/postgres", "=r/postgres"],
    "int4range": ["empty", "[1,2]", "(,)", "[,5)"],
    "int8range": ["empty", "[-9223372036854775808,9223372036854775807)"],
    "numrange": ["empty", "(NaN,)", "[1.0,1.00]", "(-Infinity,1e100]"],
    "tsrange": ["empty", '["4713-01-01 00:00:00 BC",infinity]', "(,)"],
    "tstzrange": ["empty", '["2024-01-01 00:00:00+05",infinity)'],
    "daterange": ["empty", "[-infinity,infinity]", "[2024-01-01,2024-12-31]"],
    "int4multirange": ["{}", "{[1,2],(5,)}"],
    "int8multirange": ["{}", "{(,)}"],
    "nummultirange": ["{}", "{[1.0,1.00],(2,NaN]}"],
    "tsmultirange": ["{}", '{["0001-01-01 BC",infinity]}'],
    "tstzmultirange": ["{}", '{["2024-01-01 00:00:00+05","2024-01-01 01:00:00+05")}'],
    "datemultirange": ["{}", "{[2024-01-01,2024-01-02],[infinity,]}"],
}  # fmt: skip
IMPOSSIBLE: Final = {"gtsvector"}
"""Types of the catalog that no value can be written for."""


def more(random: Random) -> dict[str, list[str]]:
    """Further values of the types where chance finds what nobody thinks of."""

    def text(length: int) -> str:
        ranges = ((1, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0x10000, 0x10FFFF))
        return "".join(chr(random.randint(*random.choice(ranges))) for _ in range(length))

    def number() -> str:
        digits = "".join(random.choices("0123456789", k=random.randint(1, 1000)))
        at = random.randint(0, len(digits))
        return random.choice(("", "-")) + (digits[:at] or "0") + "." + (digits[at:] or "0")

    def interval() -> str:
        units = ("years", "mons", "days", "hours", "minutes", "microseconds")
        return " ".join(f"{random.randint(-9999, 9999)} {unit}" for unit in units)

    def moment() -> str:
        clock = ":".join(f"{random.randint(0, 59) % limit:02}" for limit in (24, 60, 60))
        day = f"{random.randint(1, 9999):04}-{random.randint(1, 12):02}-{random.randint(1, 28):02}"
        return f"{day} {clock}.{random.randint(0, 999999):06}"

    return {
        "text": [text(random.randint(0, 40)) for _ in range(20)],
        "numeric": [number() for _ in range(20)],
        "interval": [interval() for _ in range(20)],
        "timestamp": [moment() for _ in range(20)],
        "timestamptz": [moment() for _ in range(20)],
        "bytea": ["\\x" + random.randbytes(random.randint(0, 60)).hex() for _ in range(10)],
        "float8": [repr(*struct.unpack("d", random.randbytes(8))) for _ in range(30)],
        "float4": [repr(*struct.unpack("f", random.randbytes(4))) for _ in range(30)],
    }
