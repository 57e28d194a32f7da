"""Streams, marks and checkpoints of partitions: all of them are offsets."""

from __future__ import annotations

from penstock.model import Checkpoint, Mark


def stream_of(topic: str, partition: int) -> str:
    """The stream of a partition; no topic's name holds a slash."""
    return f"{topic}/{partition}"


def partition_of(stream: str) -> tuple[str, int]:
    """Topic and partition of a stream."""
    topic, _, partition = stream.rpartition("/")
    return topic, int(partition)


def checkpoint_at(stream: str, offset: int) -> Checkpoint:
    """The checkpoint from which on ``offset`` is the next record."""
    return Checkpoint.of(stream, offset=offset)


def offset_of(checkpoint: Checkpoint) -> int:
    """The offset of the next record."""
    return int(checkpoint.value["offset"])


def covers(checkpoint: Checkpoint, mark: Mark) -> bool:
    """Whether reading from ``checkpoint`` on would not show ``mark`` again."""
    return checkpoint.stream == mark.transaction and mark.ordinal < offset_of(checkpoint)


def meet(a: Checkpoint, b: Checkpoint) -> Checkpoint:
    """The earlier of two checkpoints of a stream."""
    return min(a, b, key=offset_of)
