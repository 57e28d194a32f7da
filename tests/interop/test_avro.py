"""What is written in Avro, compared with what a Kafka Connect converter makes of the same."""

from __future__ import annotations

import json
import re
import subprocess
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from penstock.connect import Data, Frames
from penstock.connect.registry import Registry, SchemaRegistry
from penstock.embedded.server import Server
from tests.interop import workload
from tests.interop.capture import SENTINEL, options_of, ours, place_of
from tests.interop.test_types import FAMILIES
from tests.support.postgres import execute, fresh_database
from tests.support.waiting import eventually
from tools.java import Java

HEAD: Final = 5


def converted(texts: Sequence[bytes], directory: Path) -> list[dict[str, Any]]:
    """What the converter makes of keys and values with their schemas."""
    path = directory / "connect.json"
    path.write_bytes(b"\n".join(texts))
    log = directory / "avro.log"
    java = Java("avro", "Avro", str(path), log=log, heap=192, stdout=subprocess.PIPE)
    out, _ = java.process.communicate(timeout=120)
    java.stop()
    made = [json.loads(line) for line in out.splitlines()]
    assert len(made) == len(texts), log.read_text("utf-8")[-3000:]
    return made


def records(dsn: str, statements: Sequence[str], settings: Mapping[str, str]) -> list[Any]:
    """Our records of a workload."""
    execute(dsn, f"CREATE TABLE {SENTINEL} (id int PRIMARY KEY)")
    options = options_of(dict(settings))
    with ours(place_of(dsn), options, ()) as (told, failures):
        execute(dsn, *statements, f"INSERT INTO {SENTINEL} VALUES (1)")
        eventually(
            lambda: failures or any(SENTINEL in record["topic"] for record in told),
            within=60,
            what="our records",
        )
    return list(told)


def finite(text: str) -> str:
    """Connect's JSON converter writes what is no number as text, and reads that as zero."""
    return re.sub(r'"(NaN|-?Infinity)"', "1.5", text)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("family", ["default", "text", "other"])
def test_avro_is_what_a_connect_converter_makes(
    shared_server: Callable[[str], Server], tmp_path: Path, family: str
) -> None:
    types = workload.TYPES | workload.EXTENSION_TYPES["vector"]
    with fresh_database(shared_server("16")) as dsn:
        execute(
            dsn,
            "CREATE EXTENSION vector",
            *workload.SCHEMA,
            workload.table_of_types("types", types),
            workload.table_of_defaults("defaults"),
        )
        rows = workload.rows_of_types("types", types)
        told = records(dsn, [*rows, *workload.rows_of_defaults("defaults")], FAMILIES[family])

    frames = Frames()
    config = SchemaRegistry(url="mock://")
    client = config.client()
    registry = Registry(config, client)
    texts: list[bytes] = []
    mine: list[tuple[str, Data, bytes]] = []
    for record in told:
        for part in ("key", "value"):
            if record[part] is not None:
                text = finite(json.dumps(record[part])).encode()
                data = frames.split(record["topic"] + part, text)
                texts.append(text)
                subject = f"{record['topic']}-{part}"
                mine.append((subject, data, registry.encode(subject, data)))
    assert len(texts) > 20

    for (subject, data, message), theirs in zip(mine, converted(texts, tmp_path), strict=True):
        schema = json.loads(client.get_schema(int.from_bytes(message[1:HEAD], "big")).schema_str)
        assert schema == theirs["schema"], subject
        assert message[HEAD:] == b64decode(theirs["data"]), subject
        again = registry.decode(message)
        assert again.value == data.value
        assert again.schema == data.schema
