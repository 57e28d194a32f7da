"""Values in binary form, by chance."""

from __future__ import annotations

from random import Random
from struct import pack


def forms_of_chance(random: Random) -> dict[str, list[bytes]]:
    """Send forms at random, of the types whose text is computed."""

    def wide(bits: int) -> int:
        """A signed number of any size."""
        return random.getrandbits(random.randint(1, bits - 1)) * random.choice((-1, 1))

    def numeric() -> bytes:
        digits = [
            random.choice((0, 1, 10, 100, 9999, random.randint(0, 9999)))
            for _ in range(random.randint(0, 8))
        ]
        weight, scale = random.randint(-6, 9), random.randint(0, 40)
        return pack(f">HhHH{len(digits)}H", len(digits), weight, random.choice((0, 0x4000)), scale,
                    *digits)  # fmt: skip

    def address() -> bytes:
        family, size = random.choice(((2, 4), (3, 16), (3, 16)))
        words = [random.choice((0, 0, 1, 0xFFFF, random.getrandbits(16))) for _ in range(size // 2)]
        mask = random.choice((size * 8, random.randint(0, size * 8)))
        return pack(f">BBBB{size // 2}H", family, mask, 0, size, *words)

    def bits() -> bytes:
        length = random.randint(0, 40)
        whole = random.getrandbits(length) << -length % 8 if length else 0
        return pack(">i", length) + whole.to_bytes(-(-length // 8), "big")

    doubles = [random.randbytes(8) for _ in range(4000)]
    doubles += [pack(">d", 2.0**e) for e in range(-1074, 1024)]
    doubles += [pack(">d", random.randint(2**50, 2**51) + random.choice((0.25, 0.75)))
                for _ in range(300)]  # fmt: skip
    doubles += [pack(">d", float(10 * random.randint(2**53 // 10, 2**59 // 10) + 2))
                for _ in range(4000)]  # fmt: skip
    doubles += [pack(">d", random.randint(-(10**9), 10**9) / 10 ** random.randint(0, 12))
                for _ in range(1000)]  # fmt: skip
    singles = [random.randbytes(4) for _ in range(4000)]
    singles += [pack(">f", 2.0**e) for e in range(-149, 128)]
    singles += [pack(">f", random.randint(2**21, 2**22) + random.choice((0.25, 0.75)))
                for _ in range(300)]  # fmt: skip
    singles += [pack(">f", float(random.randint(2**24, 2**40))) for _ in range(2000)]
    day = 86_400_000_000
    return {
        "float8": doubles,
        "float4": singles,
        "numeric": [numeric() for _ in range(2000)],
        "date": [pack(">i", random.randint(-2_451_545, 10**random.randint(4, 9)))
                 for _ in range(2000)],
        "time": [pack(">q", random.randint(0, day)) for _ in range(500)],
        "timetz": [pack(">qi", random.randint(0, day), random.randint(-57_599, 57_599))
                   for _ in range(500)],
        "timestamptz": [pack(">q", random.randint(-211_813_488 * 10**9, 10**random.randint(12, 18)))
                        for _ in range(2000)],
        "interval": [pack(">qii", wide(64), wide(32), wide(32)) for _ in range(2000)],
        "inet": [address() for _ in range(3000)],
        "varbit": [bits() for _ in range(300)],
        "uuid": [random.randbytes(16) for _ in range(100)],
        "int8": [pack(">q", wide(64)) for _ in range(1000)],
        "int2": [pack(">h", wide(16)) for _ in range(200)],
    }  # fmt: skip
