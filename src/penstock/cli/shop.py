"""The demo's shop: customers, products, orders and their lines, and the trade between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from penstock import registry

TABLES: Final = ("customers", "products", "orders", "order_lines")

_SCHEMA: Final = """
CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email text UNIQUE,
    since date NOT NULL DEFAULT current_date,
    tags text[] NOT NULL DEFAULT '{}'
);
CREATE TABLE products (
    sku text PRIMARY KEY,
    title text NOT NULL,
    price numeric(10, 2) NOT NULL,
    stock integer NOT NULL,
    details jsonb
);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    status text NOT NULL DEFAULT 'new',
    total numeric(12, 2) NOT NULL DEFAULT 0,
    gift boolean NOT NULL DEFAULT false,
    placed_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE order_lines (
    order_id bigint REFERENCES orders ON DELETE CASCADE,
    line integer,
    sku text NOT NULL REFERENCES products,
    quantity integer NOT NULL,
    price numeric(10, 2) NOT NULL,
    PRIMARY KEY (order_id, line)
);
-- With the whole old row in the log, an update shows what it was before.
ALTER TABLE products REPLICA IDENTITY FULL;
ALTER TABLE orders REPLICA IDENTITY FULL;
"""
_NAMES: Final = ("Ada", "Bo", "Chen", "Dilip", "Eva", "Femi", "Grace", "Hugo", "Ines", "Jürgen")
_GOODS: Final = (
    "tea",
    "coffee",
    "mug",
    "kettle",
    "honey",
    "spoon",
    "filter",
    "grinder",
    "café au lait",
)


class Shop:
    """A shop in a database of its own.

    Parameters
    ----------
    dsn: where its tables are.
    random: what decides who buys what.
    """

    def __init__(self, dsn: str, random: Random) -> None:
        self.committed: dict[str, float] = {}
        """When each transaction's COMMIT had returned: monotonic time by transaction id."""
        self.last: str | None = None
        self._random = random
        psycopg = registry.driver("psycopg", "demo")
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._rolled_back = psycopg.Rollback

    def set_up(self) -> None:
        """Create the tables, with the goods and the first customers."""
        with self._connection.transaction():
            self._run(_SCHEMA)
            for number, title in enumerate(_GOODS, 1):
                price = f"{self._random.randint(150, 4999) / 100:.2f}"
                self._run(
                    "INSERT INTO products VALUES (%s, %s, %s, %s, %s)",
                    f"G{number:03}",
                    title,
                    price,
                    self._random.randint(50, 200),
                    f'{{"grams": {self._random.randint(10, 900)}}}',
                )
            for _ in range(20):
                self._new_customer()

    def trade(self, seconds: float, rate: float, stop: threading.Event) -> None:
        """Do business for some seconds, ``rate`` transactions in each, or until ``stop``."""
        begun = time.monotonic()
        done = 0
        while not stop.is_set() and time.monotonic() - begun < seconds:
            self._deal()
            done += 1
            stop.wait(max(0.0, begun + done / rate - time.monotonic()))
        self.last = next(reversed(self.committed), None)

    def rows(self, table: str) -> tuple[list[str], list[tuple[str | None, ...]]]:
        """A table's columns, and all its rows as the server's exact texts in UTC."""
        self._run("SET timezone = 'UTC'")
        columns = self._run(
            "SELECT attname, atttypid = 'bool'::regtype FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            table,
        )
        # SQLite has no booleans: they are 0 and 1 there.
        texts = ", ".join(f"{name}{'::int' * boolean}::text" for name, boolean in columns)
        return [name for name, _ in columns], self._run(f"SELECT {texts} FROM {table}")

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def _deal(self) -> None:
        deals: list[tuple[Callable[[], None], int]] = [
            (self._order, 8),
            (self._advance, 7),
            (self._restock, 2),
            (self._new_customer, 2),
            (self._cancel, 1),
            (self._change_mind, 1),
        ]
        kinds, weights = zip(*deals, strict=True)
        with self._transaction():
            self._random.choices(kinds, weights)[0]()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        identity = None
        with self._connection.transaction():
            yield
            ((identity,),) = self._run("SELECT pg_current_xact_id_if_assigned()::text")
        if identity is not None:
            self.committed[identity] = time.monotonic()

    def _run(self, statement: str, *values: Any) -> Any:
        cursor = self._connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []

    def _new_customer(self) -> None:
        name = self._random.choice(_NAMES)
        number = self._random.randint(1, 10**9)
        email = f"{name.lower()}{number}@example.org" if self._random.random() < 0.8 else None
        tags = self._random.sample(["new", "friend", "b2b"], self._random.randint(0, 2))
        self._run(
            "INSERT INTO customers (name, email, tags) VALUES (%s, %s, %s)", name, email, tags
        )

    def _order(self) -> None:
        ((order,),) = self._run(
            "INSERT INTO orders (customer_id, gift)"
            " SELECT id, %s FROM customers ORDER BY random() LIMIT 1 RETURNING id",
            self._random.random() < 0.1,
        )
        self._run(
            "INSERT INTO order_lines SELECT %s, row_number() OVER (), sku, %s, price"
            " FROM (SELECT sku, price FROM products ORDER BY random() LIMIT %s) AS basket",
            order,
            self._random.randint(1, 3),
            self._random.randint(1, 3),
        )
        self._run(
            "UPDATE orders SET total = (SELECT sum(quantity * price) FROM order_lines"
            " WHERE order_id = id) WHERE id = %s",
            order,
        )
        self._run(
            "UPDATE products p SET stock = stock - quantity FROM order_lines l"
            " WHERE l.sku = p.sku AND l.order_id = %s",
            order,
        )

    def _advance(self) -> None:
        self._run(
            "UPDATE orders SET status = CASE status WHEN 'new' THEN 'paid' ELSE 'sent' END"
            " WHERE id = (SELECT id FROM orders WHERE status <> 'sent' ORDER BY id LIMIT 1)"
        )

    def _restock(self) -> None:
        self._run(
            "UPDATE products SET stock = stock + 100"
            " WHERE sku = (SELECT sku FROM products ORDER BY stock LIMIT 1)"
        )

    def _cancel(self) -> None:
        self._run(
            "DELETE FROM orders WHERE id = (SELECT id FROM orders WHERE status = 'new'"
            " ORDER BY id DESC LIMIT 1)"
        )

    def _change_mind(self) -> None:
        """An order that is rolled back: nothing of it may ever be seen."""
        self._order()
        raise self._rolled_back
