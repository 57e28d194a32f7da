"""Tables and changes as JSON-able data, for state that outlives the process.

Raw texts survive exactly; a type's ``parse`` is made again through its ``codec``.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from penstock.model.change import Change, Origin, Transaction
from penstock.model.table import UNCHANGED, Column, Kind, Raw, Table, Type


def dump_type(type: Type) -> dict[str, Any]:
    """A type without its ``parse``."""
    return {
        "name": type.name,
        "kind": type.kind.value,
        "sql": type.sql,
        "element": dump_type(type.element) if type.element else None,
        "labels": list(type.labels),
        "oid": type.oid,
        "modifier": type.modifier,
        "codec": type.codec,
        "base": type.base,
        "base_modifier": type.base_modifier,
        "arrow": type.arrow,
    }


def load_type(data: dict[str, Any]) -> Type:
    """The type that :func:`dump_type` saw, its ``parse`` made by the codec."""
    type = Type(
        name=data["name"],
        kind=Kind(data["kind"]),
        sql=data["sql"],
        element=load_type(data["element"]) if data["element"] else None,
        labels=tuple(data["labels"]),
        oid=data["oid"],
        modifier=data["modifier"],
        codec=data["codec"],
        base=data["base"],
        base_modifier=data["base_modifier"],
        arrow=data["arrow"],
    )
    if not type.codec:
        return type
    module, _, name = type.codec.partition(":")
    parse = getattr(import_module(module), name)(type)
    return replace(type, parse=parse)


def dump_table(table: Table) -> dict[str, Any]:
    """A table's shape."""
    return {
        "schema": table.schema,
        "name": table.name,
        "columns": [
            {
                "name": column.name,
                "type": dump_type(column.type),
                "nullable": column.nullable,
                "default": column.default,
                "generated": column.generated,
                "expression": column.expression,
            }
            for column in table.columns
        ],
        "key": list(table.key_columns),
        "identity": table.identity,
        "as_of": table.as_of,
        "oid": table.oid,
        "key_deferrable": table.key_deferrable,
        "unique": list(table.unique_columns),
    }


def load_table(data: dict[str, Any]) -> Table:
    """The table that :func:`dump_table` saw."""
    columns = tuple(
        Column(
            c["name"],
            load_type(c["type"]),
            c["nullable"],
            c["default"],
            c["generated"],
            c["expression"],
        )
        for c in data["columns"]
    )
    return Table(
        data["schema"],
        data["name"],
        columns,
        tuple(data["key"]),
        data["identity"],
        data["as_of"],
        data["oid"],
        data["key_deferrable"],
        tuple(data["unique"]),
    )


def _dump_raw(raw: Raw) -> Any:
    if raw is None:
        return None
    if raw is UNCHANGED:
        return {"unchanged": True}
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def _load_raw(data: Any) -> Raw:
    if data is None:
        return None
    if isinstance(data, str):
        return data.encode()
    if "base64" in data:
        return base64.b64decode(data["base64"])
    return UNCHANGED


def _dump_values(values: Sequence[Raw] | None) -> list[Any] | None:
    return None if values is None else [_dump_raw(raw) for raw in values]


def _load_values(data: list[Any] | None) -> tuple[Raw, ...] | None:
    return None if data is None else tuple(_load_raw(raw) for raw in data)


def dump_change(change: Change[Any]) -> dict[str, Any]:
    """A change with its table's shape: all that a replay needs."""
    transaction = change.transaction
    return {
        "operation": change.operation,
        "table": dump_table(change.definition),
        "origin": {
            "mark": change.origin.mark,
            "transaction": [transaction.id, transaction.committed_us] if transaction else None,
            "version": change.origin.version,
            "source": dict(change.origin.source),
        },
        "ordinal": change.ordinal,
        "part": change.part,
        "before": _dump_values(change.values_before),
        "after": _dump_values(change.values_after),
        "key": _dump_values(change.key_new),
        "old_key": _dump_values(change.key_old),
        "route": change.route,
        "headers": dict(change.headers),
        "id": change.own_id,
    }


def load_change(data: dict[str, Any]) -> Change:
    """The change that :func:`dump_change` saw."""
    origin = data["origin"]
    transaction = Transaction(*origin["transaction"]) if origin["transaction"] else None
    change: Change = Change(
        data["operation"],
        load_table(data["table"]),
        Origin(origin["mark"], transaction, origin["version"], origin["source"]),
        data["ordinal"],
        _load_values(data["before"]),
        _load_values(data["after"]),
        _load_values(data["key"]),
        _load_values(data["old_key"]),
    )
    change.part = data["part"]
    change.route = data["route"]
    change.headers = data["headers"]
    change.own_id = data.get("id")
    return change
