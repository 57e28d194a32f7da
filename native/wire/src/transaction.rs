//! The open transaction, and what is counted in it.

use std::sync::Arc;

use crate::assembly::Assembly;
use crate::batch::{Batch, Event, Origin};
use crate::error::ProtocolError;
use crate::messages::XLOG_HEADER;
use crate::table::Table;

/// A table whose changes come, and what was noted of it in this batch and transaction.
#[derive(Debug)]
pub struct Noted {
    pub table: Arc<Table>,
    /// Its index in the batch's tables, while the assembly has that epoch.
    index: (u64, u32),
    /// The index of its count, in the transaction of that number.
    count: (u64, usize),
}

/// The transaction that is open, or was.
#[derive(Debug)]
pub struct Transaction {
    pub open: bool,
    number: u64,
    pub origin: Origin,
    pub ordinal: u64,
    /// Whether an event was wanted of it.
    pub begun: bool,
    /// Its index in the batch's origins, while the assembly has that epoch.
    index: (u64, u32),
    /// Captured changes by table.
    pub counts: Vec<(Arc<Table>, u64)>,
}

impl Noted {
    pub fn new(table: Arc<Table>) -> Self {
        Self {
            table,
            index: (0, 0),
            count: (0, 0),
        }
    }

    /// The index in the batch's tables.
    #[inline]
    pub fn index(&mut self, epoch: u64, batch: &mut Batch) -> u32 {
        if self.index.0 != epoch {
            self.index = (epoch, batch.table(&self.table));
        }
        self.index.1
    }
}

impl Transaction {
    /// Before the first one.
    pub fn none() -> Self {
        Self {
            open: false,
            number: 0,
            origin: Origin::Transaction {
                lsn: 0,
                xid: 0,
                committed_us: 0,
            },
            ordinal: 0,
            begun: false,
            index: (0, 0),
            counts: Vec::new(),
        }
    }

    /// Another one begins.
    pub fn begin(&mut self, origin: Origin) {
        self.open = true;
        self.number += 1;
        self.origin = origin;
        self.ordinal = 0;
        self.begun = false;
    }

    /// Go on in one that was read up to here elsewhere.
    pub fn resume(
        &mut self,
        origin: Origin,
        ordinal: u64,
        begun: bool,
        counts: Vec<(Arc<Table>, u64)>,
    ) {
        self.begin(origin);
        self.ordinal = ordinal;
        self.begun = begun;
        self.index = (0, 0);
        self.counts = counts;
    }

    #[inline]
    pub fn or_fail(&mut self, what: &str) -> Result<&mut Self, ProtocolError> {
        if self.open {
            Ok(self)
        } else {
            Err(outside(what))
        }
    }

    /// Announce it before its first event; its index in the batch's origins.
    #[inline]
    pub fn announce(&mut self, assembly: &mut Assembly) -> u32 {
        if self.begun && self.index.0 == assembly.epoch {
            return self.index.1;
        }
        let batch = &mut assembly.batch;
        if batch.origins.last() != Some(&self.origin) {
            batch.origins.push(self.origin.clone());
        }
        let origin = batch.origins.len() as u32 - 1;
        self.index = (assembly.epoch, origin);
        if !self.begun {
            self.begun = true;
            self.counts.clear();
            batch.events.push(Event::Begin { origin });
        }
        origin
    }

    /// Events since then were taken back: whether it was announced before, and where is unknown.
    pub fn retreat(&mut self, begun: bool) {
        self.begun = begun;
        self.index = (0, 0);
    }

    pub fn end(&mut self, assembly: &mut Assembly) {
        let origin = self.announce(assembly);
        let batch = &mut assembly.batch;
        let from = batch.counts.len() as u32;
        for (table, count) in self.counts.drain(..) {
            let index = batch.table(&table);
            batch.counts.push((index, count));
        }
        let counts = batch.counts.len() as u32 - from;
        batch.events.push(Event::End {
            origin,
            from,
            counts,
        });
    }

    /// Count changes of a table, under its name.
    #[inline]
    pub fn count(&mut self, noted: &mut Noted, changes: u64) {
        if noted.count.0 != self.number {
            let table = &noted.table;
            let known = self
                .counts
                .iter()
                .position(|(known, _)| known.text == table.text);
            let index = known.unwrap_or_else(|| {
                self.counts.push((Arc::clone(table), 0));
                self.counts.len() - 1
            });
            noted.count = (self.number, index);
        }
        if let Some((_, count)) = self.counts.get_mut(noted.count.1) {
            *count += changes;
        }
    }
}

#[cold]
fn outside(what: &str) -> ProtocolError {
    ProtocolError::new(format!("{what} outside a transaction"), XLOG_HEADER)
}
