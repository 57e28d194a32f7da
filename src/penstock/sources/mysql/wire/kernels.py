"""The decoder of the kernel that runs here."""

from __future__ import annotations

from penstock.kernel import kernel
from penstock.sources.mysql.wire.decoder import Decoder
from penstock.sources.mysql.wire.native import NativeDecoder


def decoder_class() -> type[Decoder]:
    """The class of decoders; :class:`~.decoder.Decoder` says how they are made."""
    return NativeDecoder if kernel() == "native" else Decoder
