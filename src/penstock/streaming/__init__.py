"""Streams: a pipeline whose sink is your loop."""

from penstock.streaming.changes import AsyncChanges, Changes, Stream, stream

__all__ = ["AsyncChanges", "Changes", "Stream", "stream"]
