//! A packed batch: events of one stream in order, rows as the bytes they came in.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::lsn::Lsn;
use crate::table::Table;
use crate::tuple::{Form, Values};

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
///
/// Shown (`to_string`), it is the transaction part of the changes' marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `lsn` is the commit's position, `committed_us` its time in µs since 1970.
    Transaction {
        lsn: u64,
        xid: u32,
        committed_us: i64,
    },
    /// `lsn` is where the snapshot was taken.
    Snapshot { mark: Arc<str>, lsn: u64 },
    /// Of a log whose transactions have names, and no positions that all of it shares.
    Named {
        mark: Arc<str>,
        committed_us: Option<i64>,
        /// What formats may show of the source, in order.
        facts: Arc<[(Arc<str>, Fact)]>,
    },
}

/// Something about the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    None,
    Number(i64),
    Text(Arc<str>),
}

impl Origin {
    /// The log position that formats show; 0 where there is none.
    pub fn lsn(&self) -> u64 {
        match *self {
            Self::Transaction { lsn, .. } | Self::Snapshot { lsn, .. } => lsn,
            Self::Named { .. } => 0,
        }
    }

    /// A number that grows per key, where there is one: all that a snapshot shows was committed
    /// before its position.
    pub fn version(&self) -> Option<u64> {
        match *self {
            Self::Transaction { lsn, .. } => Some(lsn),
            Self::Snapshot { lsn, .. } => Some(lsn.saturating_sub(1)),
            Self::Named { .. } => None,
        }
    }

    /// When the transaction was committed, in µs since 1970.
    pub fn committed_us(&self) -> Option<i64> {
        match *self {
            Self::Transaction { committed_us, .. } => Some(committed_us),
            Self::Named { committed_us, .. } => committed_us,
            Self::Snapshot { .. } => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transaction { lsn, .. } => Lsn(*lsn).fmt(f),
            Self::Snapshot { mark, .. } | Self::Named { mark, .. } => f.write_str(mark),
        }
    }
}

/// Where a packed row, or a message's content, lies in the batch's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: u32,
    beyond: NonZeroU32, // the end plus one, so that an Option takes no room
}

impl Span {
    /// None where the numbers do not fit, beyond 4 GiB.
    pub fn new(start: usize, end: usize) -> Option<Self> {
        let beyond = u32::try_from(end).ok()?.checked_add(1)?;
        Some(Self {
            start: u32::try_from(start).ok()?,
            beyond: NonZeroU32::new(beyond)?,
        })
    }

    pub fn start(self) -> usize {
        self.start as usize
    }

    pub fn end(self) -> usize {
        self.beyond.get() as usize - 1
    }

    /// The same place where `offset` bytes before it are gone.
    fn moved(self, offset: u32) -> Self {
        let beyond = self.beyond.get().saturating_sub(offset);
        Self {
            start: self.start.saturating_sub(offset),
            beyond: NonZeroU32::new(beyond).unwrap_or(NonZeroU32::MIN),
        }
    }
}

/// A change of one row. `key` and `old_key` are packed rows of the key's columns alone, in key
/// order: `key` only where it is in neither image, `old_key` only where the key changed.
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

/// A logical message; its mark's transaction part is the position `at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub at: Lsn,
    pub ordinal: u64,
    pub prefix: String,
    pub content: Span,
    /// None outside a transaction.
    pub origin: Option<u32>,
}

/// `table`, `before` and `after` are indexes into the batch's tables, `origin` into its origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Row(Row),
    Truncate {
        table: u32,
        origin: u32,
        ordinal: u64,
        cascade: bool,
        restart_identity: bool,
    },
    Message(Box<Message>),
    /// A table's new shape: always a batch's first event. `before` is None for a new table.
    Schema {
        before: Option<u32>,
        after: u32,
    },
    Begin {
        origin: u32,
    },
    /// The transaction's captured changes per table are `counts` of the batch's counts, from `from`
    /// on.
    End {
        origin: u32,
        from: u32,
        counts: u32,
    },
    /// `first` where no other table's snapshot came before it now.
    SnapshotBegin {
        table: u32,
        attempt: u32,
        first: bool,
    },
    /// `last` where no other table's snapshot follows it now.
    SnapshotEnd {
        table: u32,
        attempt: u32,
        rows: u64,
        last: bool,
    },
}

/// Events of one stream in order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub stream: Arc<str>,
    /// The database's name, which formats show.
    pub database: Arc<str>,
    pub bytes: Vec<u8>,
    /// How the rows lie in the bytes.
    pub form: Form,
    pub events: Vec<Event>,
    /// Versions of tables, each once.
    pub tables: Vec<Arc<Table>>,
    pub origins: Vec<Origin>,
    /// How many captured changes of a table (by index) a transaction had.
    pub counts: Vec<(u32, u64)>,
    /// Where reading may start again after this batch; None inside a transaction.
    pub position: Option<u64>,
    /// Size in wire bytes.
    pub size: usize,
}

/// How much a batch held at some moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    events: usize,
    bytes: usize,
    origins: usize,
    counts: usize,
    size: usize,
}

impl Extent {
    pub fn is_empty(self) -> bool {
        self.events == 0
    }

    pub fn size(self) -> usize {
        self.size
    }

    /// Of its packed rows.
    pub fn bytes(self) -> usize {
        self.bytes
    }
}

impl Batch {
    /// A batch without events.
    pub fn new(stream: Arc<str>, database: Arc<str>) -> Self {
        Self {
            stream,
            database,
            ..Self::default()
        }
    }

    /// The values of a packed row.
    pub fn values(&self, span: Span) -> Values<'_> {
        let bytes = self.bytes.get(..span.end()).unwrap_or(&[]);
        Values::of(self.form, bytes, span.start())
    }

    /// The bytes at a span.
    pub fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start()..span.end()).unwrap_or(&[])
    }

    /// The index of a version of a table, which is added where it is not there yet.
    pub fn table(&mut self, table: &Arc<Table>) -> u32 {
        let found = self
            .tables
            .iter()
            .position(|known| known.handle == table.handle);
        let index = found.unwrap_or_else(|| {
            self.tables.push(Arc::clone(table));
            self.tables.len() - 1
        });
        index as u32 // there are no 2**32 tables
    }

    /// How many changes it holds.
    pub fn changes(&self) -> usize {
        let is_change = |event: &&Event| matches!(event, Event::Row(_) | Event::Truncate { .. });
        self.events.iter().filter(is_change).count()
    }

    /// When the last transaction that it shows was committed, in µs since 1970.
    pub fn committed_us(&self) -> Option<i64> {
        let origin = self.events.iter().rev().find_map(|event| match *event {
            Event::Row(Row { origin, .. })
            | Event::Truncate { origin, .. }
            | Event::End { origin, .. } => Some(origin),
            _ => None,
        })?;
        self.origins.get(origin as usize)?.committed_us()
    }

    /// The mark of the last event that has one: its transaction part, and the ordinal.
    pub fn last(&self) -> Option<(String, u64)> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Row(Row {
                origin, ordinal, ..
            })
            | Event::Truncate {
                origin, ordinal, ..
            } => Some((self.origins.get(*origin as usize)?.to_string(), *ordinal)),
            Event::Message(message) => Some((message.at.to_string(), message.ordinal)),
            _ => None,
        })
    }

    /// How much it holds now.
    pub fn extent(&self) -> Extent {
        Extent {
            events: self.events.len(),
            bytes: self.bytes.len(),
            origins: self.origins.len(),
            counts: self.counts.len(),
            size: self.size,
        }
    }

    /// Forget what came since that moment, but for tables.
    pub fn truncate(&mut self, at: Extent) {
        self.events.truncate(at.events);
        self.bytes.truncate(at.bytes);
        self.origins.truncate(at.origins);
        self.counts.truncate(at.counts);
        self.size = at.size;
    }

    /// Take away what was there at that moment; what came since then stays.
    pub fn split(&mut self, at: Extent) -> Batch {
        let mut rest = Self::new(Arc::clone(&self.stream), Arc::clone(&self.database));
        rest.size = self.size - at.size;
        self.size = at.size;
        if at.events < self.events.len() {
            rest.events = self.events.split_off(at.events);
            rest.bytes = self.bytes.split_off(at.bytes);
            rest.origins = self.origins.split_off(at.origins);
            rest.counts = self.counts.split_off(at.counts);
            let mut moved = vec![None; self.tables.len()];
            let tables = &self.tables;
            let mut table_of = |index: &mut u32| {
                let i = *index as usize;
                *index = *moved[i].get_or_insert_with(|| {
                    rest.tables.push(Arc::clone(&tables[i]));
                    rest.tables.len() as u32 - 1
                });
            };
            rest.counts
                .iter_mut()
                .for_each(|(table, _)| table_of(table));
            for event in &mut rest.events {
                event.rebase(&at, &mut table_of);
            }
        }
        std::mem::replace(self, rest)
    }
}

impl Event {
    /// Mend what points into a batch whose first part, so large, is gone.
    fn rebase(&mut self, gone: &Extent, table_of: &mut impl FnMut(&mut u32)) {
        let (bytes, origins) = (gone.bytes as u32, gone.origins as u32);
        match self {
            Self::Row(row) => {
                table_of(&mut row.table);
                row.origin -= origins;
                for span in [
                    &mut row.before,
                    &mut row.after,
                    &mut row.key,
                    &mut row.old_key,
                ] {
                    *span = span.map(|span| span.moved(bytes));
                }
            }
            Self::Message(message) => {
                message.content = message.content.moved(bytes);
                message.origin = message.origin.map(|origin| origin - origins);
            }
            Self::Truncate { table, origin, .. } => {
                table_of(table);
                *origin -= origins;
            }
            Self::Begin { origin } => *origin -= origins,
            Self::End { origin, from, .. } => {
                *origin -= origins;
                *from -= gone.counts as u32;
            }
            Self::Schema { before, after } => {
                before.iter_mut().for_each(&mut *table_of);
                table_of(after);
            }
            Self::SnapshotBegin { table, .. } | Self::SnapshotEnd { table, .. } => table_of(table),
        }
    }
}
