"""The App's sink: it calls Python functions."""

from penstock.sinks.handlers.handler import Handler, bind
from penstock.sinks.handlers.policy import Park, Policy, Retry
from penstock.sinks.handlers.sink import HandlersSink, Tally

__all__ = ["Handler", "HandlersSink", "Park", "Policy", "Retry", "Tally", "bind"]
