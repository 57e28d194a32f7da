//! The binlog, from events to batches: what most transactions consist of.
//!
//! The transaction that is open and the batch that grows are kept here. Whoever feeds events looks
//! at the one that was left ([`Decoder::decode`] says how many were used up), reads it by the
//! reference, and tells what came of it: [`Decoder::open`], [`Decoder::learn`], and events by way of
//! [`Decoder::assembly`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::event::{Fields, Header, kind, open};
use super::gtid::Gtid;
use super::state::{Committed, Facts, Layout, Names, Open, Reading};
use super::{Leave, Result};
use crate::assembly::Assembly;
use crate::batch::{Batch, Event, Fact, Operation, Origin, Row};
use crate::decoder::MAIN;
use crate::transaction::Transaction;

const NO_TABLE: u64 = 0xFF_FFFF;
const STATEMENT_END: u16 = 1;
const MOST_LAYOUTS: usize = 4096;

/// Turns a session's events into batches of the stream `main`.
#[derive(Debug)]
pub struct Decoder {
    pub file: Arc<str>,
    pub position: u64,
    /// Whether events end in a checksum.
    pub checksums: bool,
    pub assembly: Assembly,
    pub transaction: Transaction,
    opened: Option<Open>,
    facts: Facts,
    names: Names,
    named: bool,
    max_bytes: usize,
    commits: u64,
    committed: Vec<Committed>,
    /// By the bytes behind the table's number.
    known: HashMap<Vec<u8>, u32>,
    layouts: HashMap<u32, Layout>,
    next: u32,
    /// Of this statement, by the table's number.
    tables: Vec<(u64, u32)>,
}

impl Decoder {
    /// `facts`: of the source, for changes. `max_bytes`: how large a batch may get before it is cut
    /// inside a transaction. `named`: whether transactions are known by their names, not by their
    /// places.
    pub fn new(facts: Facts, max_bytes: usize, checksums: bool, named: bool) -> Self {
        Self {
            file: Arc::from(""),
            position: 0,
            checksums,
            assembly: Assembly::new(MAIN, ""),
            transaction: Transaction::none(),
            opened: None,
            facts,
            names: Names::default(),
            named,
            max_bytes,
            commits: 0,
            committed: Vec::new(),
            known: HashMap::new(),
            layouts: HashMap::new(),
            next: 0,
            tables: Vec::new(),
        }
    }

    /// Decode events in the order of the log, until a batch is full; how many were used up. If none
    /// was full, the next one was left.
    ///
    /// `inner`: whether they came in another, without checksums and places.
    pub fn decode<'a>(&mut self, events: impl IntoIterator<Item = &'a [u8]>, inner: bool) -> usize {
        let mut used = 0;
        for event in events {
            if self.event(event, inner).is_err() {
                break;
            }
            used += 1;
            self.cut();
            if self.assembly.is_ready() {
                break;
            }
        }
        used
    }

    /// End the batch where it is full.
    pub fn cut(&mut self) {
        if self.assembly.batch.size >= self.max_bytes {
            self.assembly.cut(self.max_bytes);
        }
    }

    /// The transactions that were read up to a position of a batch, since the last call.
    pub fn committed(&mut self, position: u64) -> Vec<Committed> {
        let count = self
            .committed
            .iter()
            .take_while(|run| run.number <= position)
            .count();
        self.committed.drain(..count).collect()
    }

    // -- for who reads what was left

    /// The open transaction.
    pub fn opened(&self) -> Option<&Open> {
        self.opened.as_ref()
    }

    /// Go on in the transaction that was told to `transaction`, or outside any.
    pub fn go_on(&mut self, opened: Option<Open>) {
        self.transaction.open = opened.is_some();
        self.opened = opened;
    }

    fn commit(&mut self) {
        if self.transaction.begun {
            self.transaction.end(&mut self.assembly);
        }
        let opened = self.opened.take();
        self.transaction.open = false;
        self.transaction.begun = false;
        self.note_commit(opened);
        self.seal();
    }

    /// What was read so far may be handed over, up to here.
    pub fn seal(&mut self) {
        self.commits += 1;
        self.assembly.advance(self.commits);
        self.assembly.seal();
    }

    fn note_commit(&mut self, opened: Option<Open>) {
        let number = self.commits + 1;
        let (source, serial) =
            opened.map_or((String::new(), 0), |opened| (opened.source, opened.number));
        let handed = self.assembly.handed();
        if let Some(last) = self.committed.last_mut()
            && last.number > handed
            && last.source == source
            && (source.is_empty() || last.last.checked_add(1) == Some(serial))
        {
            last.last = serial;
            last.number = number;
            last.position = self.position;
            if last.file != self.file {
                last.file = Arc::clone(&self.file);
            }
            return;
        }
        self.committed.push(Committed {
            source,
            first: serial,
            last: serial,
            file: Arc::clone(&self.file),
            position: self.position,
            number,
        });
    }

    /// Take note of a description of a table, by the bytes behind its number; its number here.
    pub fn learn(&mut self, description: &[u8], layout: Layout) -> u32 {
        if self.known.len() >= MOST_LAYOUTS {
            self.known.clear();
            let tables = &self.tables;
            self.layouts
                .retain(|id, _| tables.iter().any(|(_, used)| used == id));
        }
        let id = self.next;
        self.next += 1;
        self.known.insert(description.to_vec(), id);
        self.layouts.insert(id, layout);
        id
    }

    /// A description means another table from here on.
    pub fn forget(&mut self, id: u32) {
        self.known.retain(|_, known| *known != id);
        if !self.tables.iter().any(|(_, used)| *used == id) {
            self.layouts.remove(&id);
        }
    }

    /// Whether a description is kept, by its number here.
    pub fn is_kept(&self, id: u32) -> bool {
        self.layouts.contains_key(&id)
    }

    /// A table's rows are read so from now on, and no more as by `before`; its news were told.
    pub fn make_current(&mut self, before: Option<u32>, now: Option<u32>) {
        for (id, current) in [(before, false), (now, true)] {
            let layout = id.and_then(|id| self.layouts.get_mut(&id));
            if let Some(Layout::Rows(reading)) = layout {
                reading.current = current;
            }
        }
    }

    /// The description that a table's number stands for in this statement.
    pub fn described(&self, number: u64) -> Option<u32> {
        let mut found = self.tables.iter().rev();
        found.find(|(known, _)| *known == number).map(|(_, id)| *id)
    }

    /// A table's number stands for a description in this statement.
    pub fn describe(&mut self, number: u64, id: u32) {
        self.tables.retain(|(known, _)| *known != number);
        self.tables.push((number, id));
    }

    /// The statement has ended.
    pub fn end_statement(&mut self) {
        self.tables.clear();
    }

    // -- events

    /// Decode one event; not at all where it is left.
    fn event(&mut self, event: &[u8], inner: bool) -> Result<()> {
        let (header, mut fields) = open(event, self.checksums && !inner)?;
        let place = self.position;
        if !inner && header.end != 0 {
            match header.kind {
                kind::ROTATE | kind::HEARTBEAT | kind::HEARTBEAT_V2 => return Err(Leave),
                _ => self.position = header.end.into(),
            }
        }
        let done = self.act(event.len(), &header, &mut fields);
        if done.is_err() {
            self.position = place;
        }
        done
    }

    #[inline]
    fn act(&mut self, size: usize, header: &Header, fields: &mut Fields<'_>) -> Result<()> {
        match header.kind {
            kind::WRITE_ROWS => self.rows(Operation::Insert, true, size, fields),
            kind::UPDATE_ROWS => self.rows(Operation::Update, true, size, fields),
            kind::DELETE_ROWS => self.rows(Operation::Delete, true, size, fields),
            kind::WRITE_ROWS_V1 => self.rows(Operation::Insert, false, size, fields),
            kind::UPDATE_ROWS_V1 => self.rows(Operation::Update, false, size, fields),
            kind::DELETE_ROWS_V1 => self.rows(Operation::Delete, false, size, fields),
            kind::TABLE_MAP => self.table_map(fields),
            kind::GTID => self.begin_named(Gtid::mysql(fields, false)?, header, size),
            kind::ANONYMOUS_GTID => self.begin_named(Gtid::mysql(fields, true)?, header, size),
            kind::MARIADB_GTID => self.begin_named(Gtid::mariadb(fields, header)?, header, size),
            kind::QUERY => self.query(fields),
            kind::XID if self.transaction.open => {
                self.commit();
                Ok(())
            }
            other if kind::is_without_rows(other) => Ok(()),
            _ => Err(Leave),
        }
    }

    fn begin_named(&mut self, gtid: Gtid, header: &Header, size: usize) -> Result<()> {
        if self.transaction.open {
            return Err(Leave);
        }
        let name: Option<Arc<str>> = (!gtid.source.is_empty()).then(|| gtid.name().into());
        let mark = match &name {
            Some(name) if self.named => Arc::clone(name),
            _ => format!("{}/{}", self.file, self.position).into(),
        };
        let committed_us = match gtid.committed_us {
            0 => i64::from(header.timestamp) * 1_000_000,
            told => i64::try_from(told).map_err(|_| Leave)?,
        };
        let begin = self.position as i64 - size as i64;
        let names = &self.names;
        let mut facts = Vec::with_capacity(self.facts.len() + 5);
        facts.extend_from_slice(&self.facts);
        let server = Fact::Number(header.server_id.into());
        facts.push((Arc::clone(&names.server_id), server));
        facts.push((Arc::clone(&names.file), Fact::Text(Arc::clone(&self.file))));
        facts.push((Arc::clone(&names.pos), Fact::Number(begin)));
        if let Some(name) = name {
            facts.push((Arc::clone(&names.gtid), Fact::Text(name)));
        }
        let origin = Origin::Named {
            mark,
            committed_us: Some(committed_us),
            facts: facts.into(),
        };
        let opened = Open {
            source: gtid.source,
            number: gtid.number,
            explicit: gtid.explicit,
        };
        self.tables.clear();
        self.transaction.begin(origin);
        self.opened = Some(opened);
        Ok(())
    }

    /// The statements that begin and end a transaction; others are left.
    fn query(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        let thread = fields.four()?;
        fields.take(4)?;
        let database = usize::from(fields.byte()?);
        fields.two()?;
        let status = usize::from(fields.two()?);
        fields.take(status)?;
        fields.take(database)?;
        fields.take(1)?;
        let opened = self.opened.as_mut().ok_or(Leave)?;
        match fields.rest() {
            b"BEGIN" => opened.explicit = true,
            b"COMMIT" => {
                self.ran_in(thread);
                self.commit();
                return Ok(());
            }
            _ => return Err(Leave),
        }
        self.ran_in(thread);
        Ok(())
    }

    /// The open transaction is that of a session of the server; this is known before its first row,
    /// or not at all.
    fn ran_in(&mut self, thread: u32) {
        let name = &self.names.thread;
        if let Origin::Named { facts, .. } = &mut self.transaction.origin
            && !self.transaction.begun
            && !facts.iter().any(|(known, _)| known == name)
        {
            let thread = (Arc::clone(name), Fact::Number(thread.into()));
            *facts = facts.iter().cloned().chain([thread]).collect();
        }
    }

    fn table_map(&mut self, fields: &mut Fields<'_>) -> Result<()> {
        if !self.transaction.open {
            return Err(Leave);
        }
        let number = fields.integer(6)?;
        fields.two()?;
        let id = *self.known.get(fields.rest()).ok_or(Leave)?;
        self.describe(number, id);
        Ok(())
    }

    fn rows(
        &mut self,
        operation: Operation,
        second: bool,
        size: usize,
        fields: &mut Fields<'_>,
    ) -> Result<()> {
        if !self.transaction.open {
            return Err(Leave);
        }
        let number = fields.integer(6)?;
        let flags = fields.two()?;
        if second {
            let extra = fields.two()?.checked_sub(2).ok_or(Leave)?;
            fields.take(extra.into())?;
        }
        if number == NO_TABLE {
            self.tables.clear(); // the end of a statement, without rows
            return Ok(());
        }
        let id = self.described(number).ok_or(Leave)?;
        match self.layouts.get_mut(&id) {
            Some(Layout::Unwanted) => {}
            Some(Layout::Rows(reading)) if reading.current => {
                let (transaction, assembly) = (&mut self.transaction, &mut self.assembly);
                let (extent, begun) = (assembly.batch.extent(), transaction.begun);
                let first = transaction.ordinal;
                let done = add_rows(operation, reading, transaction, assembly, fields);
                if done.is_err() {
                    assembly.batch.truncate(extent);
                    transaction.retreat(begun);
                    return done;
                }
                let rows = (transaction.ordinal - first) as usize;
                let packed = assembly.batch.bytes.len() - extent.bytes();
                assembly.batch.size += size.max(packed + rows * size_of::<Event>());
            }
            _ => return Err(Leave),
        }
        if flags & STATEMENT_END != 0 {
            self.tables.clear();
        }
        Ok(())
    }

    /// The handles of the tables that batches to come may name.
    pub fn handles(&self) -> HashSet<u32> {
        let read = self.layouts.values().filter_map(|layout| match layout {
            Layout::Rows(reading) => Some(&reading.noted.table),
            Layout::Unwanted | Layout::Left => None,
        });
        let counted = self.transaction.counts.iter().map(|(table, _)| table);
        let tables = read.chain(&self.assembly.batch.tables).chain(counted);
        tables.map(|table| table.handle).collect()
    }
}

/// Read an event's rows, behind the transaction's begin.
fn add_rows(
    operation: Operation,
    reading: &mut Reading,
    transaction: &mut Transaction,
    assembly: &mut Assembly,
    fields: &mut Fields<'_>,
) -> Result<()> {
    let origin = transaction.announce(assembly);
    let epoch = assembly.epoch;
    let batch: &mut Batch = &mut assembly.batch;
    let table = reading.noted.index(epoch, batch);
    let begin = batch.events.len();
    let first = transaction.ordinal;
    reading
        .rows
        .rows(operation, fields, batch, |batch, images| {
            let ordinal = first + (batch.events.len() - begin) as u64;
            batch.events.push(Event::Row(Row {
                operation,
                table,
                origin,
                ordinal,
                before: images.before,
                after: images.after,
                key: images.key,
                old_key: images.old_key,
            }));
        })?;
    let rows = (batch.events.len() - begin) as u64;
    if rows == 0 {
        return Err(Leave); // which is no reason to announce the transaction
    }
    transaction.ordinal += rows;
    transaction.count(&mut reading.noted, rows);
    Ok(())
}
