"""Heartbeats: records that tell that the stream is alive, though nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import time_ns
from typing import Final

from penstock.connect import Data
from penstock.formats.debezium.chain import ConnectRecord
from penstock.formats.debezium.options import topic_name
from penstock.formats.debezium.schema import field, struct

_KEY: Final = struct(
    "io.debezium.connector.common.ServerNameKey", [field("serverName", "string")], version=1
)
_VALUE: Final = struct(
    "io.debezium.connector.common.Heartbeat", [field("ts_ms", "int64")], version=1
)


class Heartbeats:
    """Gives one after a batch, when the last is long enough ago.

    Parameters
    ----------
    now: nanoseconds since the epoch.
    """

    def __init__(self, prefix: str, interval_ms: int, now: Callable[[], int] = time_ns) -> None:
        self._topic = topic_name("__debezium-heartbeat", prefix)
        self._key = Data(_KEY, {"serverName": prefix})
        self._interval = interval_ms * 1_000_000
        self._now = now
        self._last = now()

    def __call__(self) -> Iterator[ConnectRecord]:
        now = self._now()
        if now - self._last >= self._interval:
            self._last = now
            yield ConnectRecord(self._topic, self._key, Data(_VALUE, {"ts_ms": now // 10**6}), {})
