"""Records as JSON lines: ``{"topic": …, "key": …, "value": …, "headers": {…}}``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock.model.batch import Record

HEAD: Final = b'{"topic":'
"""How every line begins."""


def json_lines(records: Iterable[Record]) -> bytes:
    """The lines of the records, each with its newline; key and value as they stand."""
    import orjson  # when it is needed: most commands make no records

    heads: dict[str, bytes] = {}
    parts: list[bytes] = []
    add = parts.extend
    headers_seen: object = None
    tail = b""
    for topic, key, value, headers in records:
        head = heads.get(topic)
        if head is None:
            head = heads[topic] = HEAD + orjson.dumps(topic) + b',"key":'
        if headers is not headers_seen:
            tail = b',"headers":' + orjson.dumps(dict(headers)) + b"}\n"
            headers_seen = headers
        add(
            (
                head,
                b"null" if key is None else key,
                b',"value":',
                b"null" if value is None else value,
                tail,
            )
        )
    return b"".join(parts)
