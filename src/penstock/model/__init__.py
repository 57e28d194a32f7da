"""What flows: changes, rows, tables, marks, batches. No I/O."""

from penstock.model.batch import (
    Barrier,
    Batch,
    Event,
    EventBatch,
    Record,
    SchemaChange,
    SnapshotBegin,
    SnapshotEnd,
    TransactionBegin,
    TransactionEnd,
)
from penstock.model.change import OPERATIONS, Change, Message, Operation, Origin, Row, Transaction
from penstock.model.mark import Checkpoint, Mark
from penstock.model.packed import PackedBatch
from penstock.model.table import UNCHANGED, Column, Kind, Raw, Table, Type, Unchanged, qualified

__all__ = [
    "OPERATIONS",
    "UNCHANGED",
    "Barrier",
    "Batch",
    "Change",
    "Checkpoint",
    "Column",
    "Event",
    "EventBatch",
    "Kind",
    "Mark",
    "Message",
    "Operation",
    "Origin",
    "PackedBatch",
    "Raw",
    "Record",
    "Row",
    "SchemaChange",
    "SnapshotBegin",
    "SnapshotEnd",
    "Table",
    "Transaction",
    "TransactionBegin",
    "TransactionEnd",
    "Type",
    "Unchanged",
    "qualified",
]
