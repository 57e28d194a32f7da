"""The consumer of the documentation, which knows nothing of penstock."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from penstock.formats.debezium import Debezium
from penstock.pipeline import Pipeline
from penstock.sinks.kafka import Kafka
from penstock.sources.postgres.config import Postgres
from tests.support.kafka import fresh_name
from tests.support.postgres import execute
from tools.brokers import Kafka as Broker

pytestmark = pytest.mark.server
PAGE: Final = Path(__file__).parents[2] / "docs" / "sinks" / "kafka.md"


class Enough(Exception):
    """The loop has no end of its own."""


def test_the_classic_loop_reads_our_topics(kafka: Broker, database: str, tmp_path: Path) -> None:
    prefix = fresh_name()
    execute(
        database,
        "CREATE TABLE orders (id int PRIMARY KEY, status text)",
        "INSERT INTO orders VALUES (1, 'new')",
    )
    sink = Kafka(brokers=kafka.url, transactions=True, format=Debezium(topic_prefix=prefix))
    source = Postgres(dsn=database, tables=("public.orders",), snapshot="initial")

    def run() -> None:
        store = str(tmp_path / "state.db")
        Pipeline(prefix, source, [sink], store=store).run(until_caught_up=True)

    run()
    execute(
        database,
        "INSERT INTO orders VALUES (2, 'new')",
        "UPDATE orders SET status = 'paid' WHERE id = 2",
        "DELETE FROM orders WHERE id = 1",
    )
    run()
    seen: list[tuple[str, Any, Any]] = []

    def handle(operation: str, before: Any, after: Any) -> None:
        seen.append((operation, before, after))
        if len(seen) == 4:
            raise Enough

    found = re.search(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None
    program = found[1].replace("kafka:9092", kafka.url).replace("dbserver", prefix)
    names: dict[str, Any] = {"handle": handle}
    with pytest.raises(Enough):
        exec(program.replace('"mail"', repr(prefix)), names)
    names["consumer"].close()

    assert seen == [
        ("r", None, {"id": 1, "status": "new"}),
        ("c", None, {"id": 2, "status": "new"}),
        ("u", None, {"id": 2, "status": "paid"}),
        ("d", {"id": 1, "status": None}, None),
    ]
