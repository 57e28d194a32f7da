"""Partial updates of JSON documents, applied to the document as it was before.

https://dev.mysql.com/doc/dev/mysql-server/latest/json__diff_8h.html
"""

from __future__ import annotations

import json
import re
from typing import Final

from penstock.errors import ProtocolError
from penstock.sources.mysql.wire.jsonb import Node, json_form, json_node
from penstock.sources.mysql.wire.reader import Reader

_REPLACE, _INSERT, _REMOVE = range(3)
_LEG: Final = re.compile(r'\.(?:("(?:[^"\\]|\\.)*")|([^.\["]+))|\[(\d{1,10})\]')


def apply_diffs(before: bytes, diffs: bytes) -> bytes:
    """The text of a binary JSON document after its diffs.

    Raises ProtocolError where they do not fit it.
    """
    root = {"$": json_node(before)}
    reader = Reader(diffs)
    while reader.left:
        operation = reader.byte()
        path = _path(reader.text(), reader)
        value = None if operation == _REMOVE else json_node(reader.text())
        _apply(root, operation, path, value, reader)
    return json_form(root["$"])


def _path(raw: bytes, reader: Reader) -> list[str | int]:
    legs: list[str | int] = ["$"]
    at = 1
    try:
        text = raw.decode("utf-8", "surrogatepass")
        while leg := _LEG.match(text, at):
            quoted, plain, index = leg.groups()
            legs.append(int(index) if index else json.loads(quoted) if quoted else plain)
            at = leg.end()
    except ValueError:  # no text, or no JSON string
        text = ""
    if text[:1] != "$" or at != len(text):
        raise ProtocolError(f"{raw!r:.80} is no JSON path", offset=reader.at)
    return legs


def _apply(
    root: dict[str, Node], operation: int, path: list[str | int], value: Node | None, reader: Reader
) -> None:
    *way, last = path
    parent: Node = root
    for leg in way:
        parent = _member(parent, leg, reader)
    if operation == _INSERT and value is not None:
        if isinstance(parent, dict) and isinstance(last, str) and last not in parent:
            parent[last] = value
            members = sorted(parent.items(), key=lambda item: _order(item[0]))
            parent.clear()
            parent.update(members)
            return
        if isinstance(parent, list) and isinstance(last, int) and last <= len(parent):
            parent.insert(last, value)
            return
        raise ProtocolError("a JSON value is inserted where none can be", offset=reader.at)
    _member(parent, last, reader)
    if operation == _REMOVE:
        del parent[last]  # type: ignore[arg-type, union-attr] # _member looked
    elif operation == _REPLACE and value is not None:
        parent[last] = value  # type: ignore[index] # _member looked
    else:
        raise ProtocolError(f"unknown JSON operation {operation}", offset=reader.at)


def _member(node: Node, leg: str | int, reader: Reader) -> Node:
    if isinstance(node, dict) and isinstance(leg, str) and leg in node:
        return node[leg]
    if isinstance(node, list) and isinstance(leg, int) and leg < len(node):
        return node[leg]
    raise ProtocolError("a JSON diff of what is not in the document", offset=reader.at)


def _order(key: str) -> tuple[int, bytes]:
    """How the server sorts an object's keys."""
    raw = key.encode("utf-8", "surrogatepass")
    return len(raw), raw
