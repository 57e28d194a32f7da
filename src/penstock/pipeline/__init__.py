"""The engine: reader, lanes, ledger, start-up, status."""

from penstock.pipeline.observe import Report, SinkStatus, State, Status
from penstock.pipeline.pipeline import Pipeline

__all__ = ["Pipeline", "Report", "SinkStatus", "State", "Status"]
