"""How MySQL's and MariaDB's types and defaults are told."""

from penstock.formats.debezium.mysql.defaults import default
from penstock.formats.debezium.mysql.types import mapped

__all__ = ["default", "mapped"]
