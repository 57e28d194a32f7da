"""What a codec gives: the bytes of a key or value as a Connect schema and a value.

A schema is a JSON object as Connect's JSON converter writes it (``type``, ``name``, ``parameters``,
``optional``, ``fields`` …). A value is JSON as that converter writes it, except that ``bytes`` may
also come as bytes. So what reads a value needs to know of no encoding.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

Schema: TypeAlias = dict[str, Any]


class Decoded(NamedTuple):
    """A key or a value. ``schema`` is None where it came without one."""

    schema: Schema | None
    value: Any


class Codec(Protocol):
    """Reads keys and values of one encoding."""

    def decode(self, topic: str, data: bytes) -> Decoded:
        """What the bytes say. The schemas of equal records are the same object.

        Raises
        ------
        ValueError: the bytes are not of this encoding.
        SourceError: the schema that they name cannot be had.
        """
