"""The format ``debezium``: what Debezium's PostgreSQL connector writes.

Facts: the documentation and the published schemas of Debezium 3.6, checked against the connector
itself in the interoperability tests.
"""

from penstock.formats.debezium.options import Debezium

__all__ = ["Debezium"]
