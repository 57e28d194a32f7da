"""Rows: the TupleData part of pgoutput's Insert, Update and Delete.

This is where a decoder's time goes: :func:`row_reader` is the fast way for what is common,
:func:`read_tuple` the careful one for everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from struct import error as StructError
from typing import Final

from penstock.errors import ProtocolError
from penstock.model import UNCHANGED, Raw
from penstock.sources.postgres.wire.binary import TextOf

_LENGTH: Final = Struct(">I").unpack_from
_HEAD: Final = Struct(">BI").unpack_from
_VALUE_AND_HEAD: Final = [Struct(f">{length}sBI").unpack_from for length in range(1024)]
_PADDING: Final = bytes(5)
_TEXT, _NULL, _UNCHANGED, _BINARY = b"tnub"


def read_tuple(
    payload: bytes, at: int, arity: int, texts: Sequence[TextOf] | None = None
) -> tuple[list[Raw], int]:
    """The raw values of ``arity`` columns from ``at`` on, and where the tuple ends.

    Parameters
    ----------
    texts: what makes the text of each column's binary form; None where only text was asked for.

    Raises ProtocolError with the place of the first wrong byte, or of a binary value that is wrong.
    """
    values: list[Raw] = []
    end = len(payload)
    for i in range(arity):
        if at >= end:
            raise ProtocolError(f"the tuple ends before column {i + 1} of {arity}", offset=at)
        kind = payload[at]
        if kind == _TEXT or (kind == _BINARY and texts is not None):
            start = at + 5
            if start > end:
                raise ProtocolError(f"column {i + 1} of {arity} has no length", offset=at)
            at = start + _LENGTH(payload, at + 1)[0]
            if at > end:
                raise ProtocolError(
                    f"column {i + 1} of {arity} announces {at - start} bytes, {end - start} left",
                    offset=start - 4,
                )
            value = payload[start:at]
            if kind == _BINARY and texts is not None:
                try:
                    value = texts[i](value)
                except ValueError as error:
                    raise ProtocolError(
                        f"column {i + 1} of {arity}: {error}", offset=start
                    ) from None
            values.append(value)
        elif kind == _NULL:
            values.append(None)
            at += 1
        elif kind == _UNCHANGED:
            values.append(UNCHANGED)
            at += 1
        elif kind == _BINARY:
            raise ProtocolError(
                f"column {i + 1} of {arity} is in binary form, which was not asked for",
                offset=at,
                hint="START_REPLICATION must have binary 'false'",
            )
        else:
            raise ProtocolError(f"column {i + 1} of {arity} has unknown form {kind}", offset=at)
    return values, at


def row_reader(
    arity: int, at: int, texts: Sequence[TextOf] | None = None
) -> Callable[[bytes], list[Raw]]:
    """A function that reads a row's only tuple, from ``at`` to the end of the payload.

    One call per column takes a value together with the head (form and length) of the next. The
    padding gives the last column a next head, so that positions must end exactly there. Whatever
    does not fit, wrong or only rare, is left to :func:`read_tuple`.
    """
    columns = range(arity)

    def read(payload: bytes) -> list[Raw]:
        padded = payload + _PADDING
        values: list[Raw] = []
        try:
            form, length = _HEAD(padded, at)
            here = at + 5
            for _ in columns:
                if form == _TEXT:
                    value, form, following = _VALUE_AND_HEAD[length](padded, here)
                    values.append(value)
                    here += length + 5
                    length = following
                elif form == _NULL:
                    values.append(None)
                    form, length = _HEAD(padded, here - 4)
                    here += 1
                else:
                    break
            else:
                if here == len(padded):
                    return values
        except (IndexError, StructError):
            pass
        values, end = read_tuple(payload, at, arity, texts)
        if end != len(payload):
            raise ProtocolError(f"{len(payload) - end} bytes follow the message", offset=end)
        return values

    return read
