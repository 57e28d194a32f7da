//! A packed batch: events of one stream in order, rows as the bytes they came in.

use std::sync::Arc;

use crate::table::Table;
use crate::tuple::Values;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Insert,
    Update,
    Delete,
    Truncate,
    Read,
}

impl Operation {
    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Read => "read",
        }
    }
}

/// What all changes of one transaction (or of one snapshot attempt) share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The transaction part of the changes' marks.
    pub mark: String,
    /// Transaction id and commit time in µs since 1970; None for snapshot rows.
    pub transaction: Option<(String, i64)>,
    /// The log position that formats show and that `version` is made of.
    pub lsn: u64,
}

/// Where a packed row lies in the batch's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

/// A change of one row. `key` and `old_key` are packed rows of the key's columns alone: `key` only
/// where it is in neither image, `old_key` only where the key changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub operation: Operation,
    /// Index into the batch's tables.
    pub table: u32,
    /// Index into the batch's origins.
    pub origin: u32,
    pub ordinal: u64,
    pub before: Option<Span>,
    pub after: Option<Span>,
    pub key: Option<Span>,
    pub old_key: Option<Span>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Row(Row),
    Truncate { table: u32, origin: u32, ordinal: u64, cascade: bool, restart_identity: bool },
    Message { mark: String, ordinal: u64, prefix: String, content: Span, origin: Option<u32> },
    /// A table's shape by the handles of its versions; before is None for a table not seen yet.
    Schema { before: Option<u32>, after: u32 },
    Begin { origin: u32 },
    /// `counts`: captured changes by index into the batch's tables' texts, in order of appearance.
    End { origin: u32, counts: Vec<(String, u64)> },
}

/// Events of one stream in order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub bytes: Vec<u8>,
    pub events: Vec<Event>,
    pub tables: Vec<Arc<Table>>,
    pub origins: Vec<Origin>,
    /// Where reading may start again after this batch; None inside a transaction.
    pub position: Option<u64>,
    /// Size in wire bytes.
    pub size: usize,
}

impl Batch {
    /// The values of a packed row.
    pub fn values(&self, span: Span) -> Values<'_> {
        Values::new(&self.bytes[..span.end as usize], span.start as usize)
    }
}
