"""Change data capture for Python: every insert, update and delete of a database as a stream.

Names are loaded when they are first used: importing penstock imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from penstock import ports, testing
    from penstock.app import App
    from penstock.errors import (
        BackpressureError,
        ConfigError,
        ConnectionLostError,
        DecodeError,
        DivergedError,
        FencedError,
        GapError,
        MissingExtraError,
        PenstockError,
        PrivilegeError,
        ProtocolError,
        RejectedError,
        SchemaError,
        SinkError,
        SinkUnavailableError,
        SlotInUseError,
        SlotMissingError,
        SourceError,
        StateMismatchError,
        StoreError,
        StuckError,
    )
    from penstock.model import UNCHANGED, Change, Message, Row, Table, Unchanged
    from penstock.pipeline.pipeline import Pipeline
    from penstock.sinks.handlers import Park, Retry
    from penstock.sinks.jsonl import Jsonl
    from penstock.sinks.memory import Memory
    from penstock.sinks.sql import Sql
    from penstock.sources.mysql.config import MySQL
    from penstock.sources.postgres.config import Postgres
    from penstock.streaming import stream
    from penstock.transforms.mask import Mask
    from penstock.transforms.rename import Rename
    from penstock.transforms.select import Select

__all__ = [
    "UNCHANGED",
    "App",
    "BackpressureError",
    "Change",
    "ConfigError",
    "ConnectionLostError",
    "DecodeError",
    "DivergedError",
    "FencedError",
    "GapError",
    "Jsonl",
    "Mask",
    "Memory",
    "Message",
    "MissingExtraError",
    "MySQL",
    "Park",
    "PenstockError",
    "Pipeline",
    "Postgres",
    "PrivilegeError",
    "ProtocolError",
    "RejectedError",
    "Rename",
    "Retry",
    "Row",
    "SchemaError",
    "Select",
    "SinkError",
    "SinkUnavailableError",
    "SlotInUseError",
    "SlotMissingError",
    "SourceError",
    "Sql",
    "StateMismatchError",
    "StoreError",
    "StuckError",
    "Table",
    "Unchanged",
    "__version__",
    "ports",
    "stream",
    "testing",
]

_MODULES: Final = {
    "App": "app",
    "Change": "model",
    "Jsonl": "sinks.jsonl",
    "Mask": "transforms.mask",
    "Memory": "sinks.memory",
    "Message": "model",
    "MySQL": "sources.mysql.config",
    "Park": "sinks.handlers",
    "Pipeline": "pipeline.pipeline",
    "Postgres": "sources.postgres.config",
    "Rename": "transforms.rename",
    "Retry": "sinks.handlers",
    "Row": "model",
    "Select": "transforms.select",
    "Sql": "sinks.sql",
    "Table": "model",
    "UNCHANGED": "model",
    "Unchanged": "model",
    "stream": "streaming",
}
_SUBMODULES: Final = ("ports", "testing")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in _SUBMODULES:
            return import_module(f"penstock.{name}")
        if name in _MODULES:
            value = getattr(import_module(f"penstock.{_MODULES[name]}"), name)
        elif name in __all__:
            value = getattr(import_module("penstock.errors"), name)
        else:
            raise AttributeError(f"module 'penstock' has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
