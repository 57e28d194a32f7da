"""``penstock schema``: the pipeline file's JSON Schema."""

from __future__ import annotations

import json

from penstock.cli.console import payload


def schema() -> None:
    """Print the pipeline file's JSON Schema, for editors."""
    from penstock.config import json_schema

    payload(json.dumps(json_schema(), indent=2))
