"""Kafka Connect's data: values with their schemas, as JSON and as Avro through a schema registry.

A schema is the dict that Connect's JSON converter writes of it (``type``, ``optional``, ``name``,
``fields``, …), and a value is what ``json.loads`` makes of that converter's payload. Whatever the
bytes in Kafka are, both sides of penstock speak of them so.
"""

from penstock.connect.json import Data, Frames, Remembered, Schema

__all__ = ["Data", "Frames", "Remembered", "Schema"]
