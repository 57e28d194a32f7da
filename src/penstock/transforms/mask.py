"""Hide the values of columns."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Final, Literal

from pydantic import ConfigDict, model_validator

from penstock.component import Component, Secret, SecretField
from penstock.errors import ConfigError, SchemaError
from penstock.model.pattern import ColumnPattern, matches
from penstock.model.projection import Masking, Output, Projection
from penstock.transforms.columns import ColumnNames

SHORTEST_KEY: Final = 16
"""Bytes of a key: below that, whoever has the hashes can try all keys."""

_OPTION: Final = {"hmac": "key", "fixed": "text", "truncate": "length"}


class Mask(Component):
    """Puts something else in the place of values, everywhere: old and new rows, keys, snapshots.

    A masked column is of type text, and null stays null. Columns that a table gets after the
    rule first met it are left out, with a warning, until a transform names them.

    Parameters
    ----------
    columns: ``schema.table.column``; ``*`` stands for any characters.
    method: ``drop``: leave the column out; ``fixed``: the same text for all; ``truncate``: the
        first characters; ``hmac``: the HMAC-SHA256 of the value's exact text in hexadecimal,
        which is the same wherever the value is the same, so that it still joins. The columns of
        a key can be masked by ``hmac`` only.
    key: of ``hmac``: a secret of at least 16 bytes. Whoever has it can find short values again
        by trying.
    text: of ``fixed``; ``***`` by default.
    length: of ``truncate``: how many characters stay.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    type: Literal["mask"] = "mask"
    columns: ColumnNames
    method: Literal["drop", "fixed", "truncate", "hmac"]
    key: SecretField | None = None
    text: str | None = None
    length: int | None = None

    @model_validator(mode="after")
    def _fits(self) -> Mask:
        """Raises ConfigError for options that do not belong to the method."""
        for method, option in _OPTION.items():
            if getattr(self, option) is not None and method != self.method:
                raise ConfigError(f"{option} belongs to the method {method}, not {self.method}")
        if self.method == "hmac" and (
            self.key is None or len(self.key.get_secret_value().encode()) < SHORTEST_KEY
        ):
            raise ConfigError(
                f"hmac needs a key of at least {SHORTEST_KEY} bytes",
                hint='make one with `openssl rand -hex 32`, and give it as "${file:/path}"',
            )
        if self.method == "truncate" and (self.length is None or self.length < 1):
            raise ConfigError(
                "truncate needs a length of at least 1", hint="drop and fixed keep nothing"
            )
        return self

    @cached_property
    def patterns(self) -> tuple[ColumnPattern, ...]:
        """The columns that it names."""
        return tuple(map(ColumnPattern.parse, self.columns))

    @cached_property
    def masking(self) -> Masking | None:
        """What stands in a value's place; None where the column goes."""
        if self.method == "drop":
            return None
        key = self.key.get_secret_value().encode() if isinstance(self.key, Secret) else b""
        text = ("***" if self.text is None else self.text).encode()
        return Masking(
            self.method,
            text if self.method == "fixed" else b"",
            self.length or 0,
            key,
        )

    def project(self, projection: Projection) -> Projection:
        """The same with the named columns hidden.

        Raises SchemaError where one of them is masked already.
        """
        table = projection.source.text
        if not any(matches(pattern.table, table) for pattern in self.patterns):
            return projection
        outputs: list[Output] = []
        hit = False
        for output in projection.outputs:
            if not self._names(table, output.name):
                outputs.append(output)
                continue
            hit = True
            if output.masking is not None:
                raise SchemaError(
                    f"{table}.{output.name} is masked twice: by {output.masking.method} already",
                    hint="let one mask name it only",
                    table=table,
                )
            if self.masking is not None:
                outputs.append(replace(output, masking=self.masking, named=True))
        hit |= any(self._names(table, name) for name in projection.gone)
        return replace(projection, outputs=tuple(outputs), closed=projection.closed or hit)

    def _names(self, table: str, column: str) -> bool:
        return any(pattern.names(table, column) for pattern in self.patterns)

    def build(self) -> Mask:
        """It works as it is."""
        return self
