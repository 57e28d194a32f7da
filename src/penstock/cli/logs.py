"""Log lines on stderr, as text for people or JSON for machines; passwords never show."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from penstock.cli.console import paint, redact

LEVELS = ("debug", "info", "warning", "error")
_STYLES = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """``12:04:07 info  penstock.runner  message``."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        level = paint(f"{record.levelname.lower():<7}", _STYLES[record.levelname], sys.stderr)
        text = f"{time} {level} {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return redact(text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps({name: _clean(value) for name, value in fields.items()})


def _clean(value: object) -> object:
    """The value as JSON can have it, without passwords."""
    return value if isinstance(value, bool | int | float | None) else redact(str(value))


def configure(level: str, form: str) -> None:
    """Send penstock's log records from ``level`` up, and others' warnings, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("penstock").setLevel(level.upper())
