//! pgoutput's stream, from CopyData payloads to batches.
//!
//! Protocol version 1 sends a transaction whole, after its commit: BEGIN, rows and COMMIT are never
//! mixed with another's. Only commit positions grow; positions of rows are shared and go backwards,
//! so a change is named by its commit position and its number in the transaction.
//!
//! What a table is, and whether it is wanted, is not decided here: at the first row of a relation
//! that was announced anew the decoder stops and [`Decoder::needs`] names it. Whoever feeds it
//! looks at what was [`Decoder::announced`], calls [`Decoder::read`] or [`Decoder::skip`], and goes
//! on with that payload.

use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::sync::Arc;

use crate::assembly::Assembly;
use crate::batch::{Batch, Event, Message, Operation, Origin, Row};
use crate::error::ProtocolError;
use crate::lsn::Lsn;
use crate::messages::{
    Begin, Commit, LogicalMessage, Truncate, XLOG_HEADER, check_origin, check_type, keepalive,
    relation,
};
use crate::projection::Projection;
use crate::reader::Reader;
use crate::rows::{Layout, span};
use crate::table::Table;
use crate::transaction::{Noted, Transaction};

/// The stream of the log.
pub const MAIN: &str = "main";

/// What a decoder is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database's name, which formats show.
    pub database: String,
    /// Prefixes of the logical messages that are wanted; None for all.
    pub messages: Option<Vec<String>>,
    /// How large a batch may get before it is cut inside a transaction.
    pub max_bytes: usize,
    /// Whether values may come in binary form.
    pub binary: bool,
}

/// What to do with a relation's rows.
#[derive(Debug)]
enum Relation {
    /// It was announced, and nobody has decided yet.
    New,
    Unwanted,
    Wanted(Layout, Noted),
}

/// Turns a session's payloads into batches of the stream `main`.
#[derive(Debug)]
pub struct Decoder {
    settings: Settings,
    assembly: Assembly,
    relations: BTreeMap<u32, Relation>,
    announced: Vec<Vec<u8>>,
    needs: Option<u32>,
    received: u64,
    last_commit: u64,
    transaction: Transaction,
}

impl Decoder {
    pub fn new(settings: Settings) -> Self {
        Self {
            assembly: Assembly::new(MAIN, &settings.database),
            settings,
            relations: BTreeMap::new(),
            announced: Vec::new(),
            needs: None,
            received: 0,
            last_commit: 0,
            transaction: Transaction::none(),
        }
    }

    /// The highest position seen: of commits, keepalives and the last payload of each feed.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether the last payload left a transaction open.
    pub fn in_transaction(&self) -> bool {
        self.transaction.open
    }

    /// The relation that must be decided on before decoding goes on.
    pub fn needs(&self) -> Option<u32> {
        self.needs
    }

    /// The RELATION messages since the last call, without their tag, in order.
    pub fn announced(&mut self) -> Vec<Vec<u8>> {
        mem::take(&mut self.announced)
    }

    /// Decode payloads in the order of their arrival; how many were used up. When
    /// [`Decoder::needs`] is set afterwards, the others are to be given again.
    ///
    /// After an error the decoder is of no use.
    pub fn decode<'a>(
        &mut self,
        payloads: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<usize, ProtocolError> {
        let mut used = 0;
        let mut last: &[u8] = &[];
        for payload in payloads {
            last = payload;
            self.frame(payload)?;
            if self.assembly.batch.size >= self.settings.max_bytes {
                self.assembly.cut(self.settings.max_bytes);
            }
            if self.needs.is_some() {
                break;
            }
            used += 1;
        }
        if self.needs.is_none() && last.first() == Some(&b'w') {
            self.received = self.received.max(Reader::new(last, 1).position()?);
        }
        Ok(used)
    }

    /// What is complete, as batches; the rest of an open transaction is kept.
    pub fn take(&mut self) -> Vec<Batch> {
        self.assembly.close_sealed();
        self.assembly.take()
    }

    /// The handles of the tables that batches to come may name.
    pub fn handles(&self) -> HashSet<u32> {
        let read = self
            .relations
            .values()
            .filter_map(|relation| match relation {
                Relation::Wanted(_, noted) => Some(&noted.table),
                Relation::New | Relation::Unwanted => None,
            });
        let tables = read.chain(&self.assembly.batch.tables);
        let counted = self.transaction.counts.iter().map(|(table, _)| table);
        tables.chain(counted).map(|table| table.handle).collect()
    }

    /// Tell of a table's new shape: a batch of its own begins with the news.
    pub fn announce(&mut self, before: Option<&Arc<Table>>, after: &Arc<Table>) {
        self.assembly.close_all();
        let batch = &mut self.assembly.batch;
        let before = before.map(|table| batch.table(table));
        let after = batch.table(after);
        batch.events.push(Event::Schema { before, after });
    }

    /// Read the rows of a relation by this shape from now on, or by what this projection makes of
    /// them rows of this shape.
    pub fn read(&mut self, oid: u32, table: &Arc<Table>, projection: Option<Projection>) {
        let layout = Layout::new(table, projection, self.settings.binary);
        self.decide(oid, Relation::Wanted(layout, Noted::new(Arc::clone(table))));
    }

    /// Read no rows of a relation.
    pub fn skip(&mut self, oid: u32) {
        self.decide(oid, Relation::Unwanted);
    }

    fn decide(&mut self, oid: u32, relation: Relation) {
        self.relations.insert(oid, relation);
        if self.needs == Some(oid) {
            self.needs = None;
        }
    }

    /// Decode one payload of any kind; not at all when `needs` is set afterwards.
    fn frame(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        match payload.first().copied().unwrap_or(0) {
            b'w' => {}
            b'k' => {
                let wal_end = keepalive(payload)?;
                self.received = self.received.max(wal_end);
                if !self.transaction.open {
                    self.assembly.advance(wal_end);
                }
                return Ok(());
            }
            frame => return Err(ProtocolError::new(format!("unknown frame {frame}"), 0)),
        }
        let Some(&tag) = payload.get(XLOG_HEADER) else {
            return Err(ProtocolError::new(
                "a frame without a message",
                payload.len(),
            ));
        };
        let mut reader = Reader::new(payload, XLOG_HEADER + 1);
        match tag {
            b'I' => self.row(Operation::Insert, &mut reader)?,
            b'U' => self.row(Operation::Update, &mut reader)?,
            b'D' => self.row(Operation::Delete, &mut reader)?,
            b'B' => self.begin(&Begin::parse(&mut reader)?)?,
            b'C' => self.commit(&Commit::parse(&mut reader)?)?,
            b'R' => self.relation(&mut reader)?,
            b'T' => self.truncate(&Truncate::parse(&mut reader)?, payload.len())?,
            b'M' => self.message(&LogicalMessage::parse(&mut reader)?)?,
            b'O' => check_origin(&mut reader)?,
            b'Y' => check_type(&mut reader)?,
            _ => {
                return Err(ProtocolError::new(
                    format!("unknown message {tag}"),
                    XLOG_HEADER,
                ));
            }
        }
        if self.needs.is_some() {
            Ok(())
        } else {
            reader.end()
        }
    }

    // -- transactions

    fn begin(&mut self, begin: &Begin) -> Result<(), ProtocolError> {
        let transaction = &mut self.transaction;
        if transaction.open {
            let (xid, mark) = (begin.xid, &transaction.origin);
            let message = format!("BEGIN {xid} inside the transaction {mark}");
            return Err(ProtocolError::nowhere(message));
        }
        if begin.commit_lsn <= self.last_commit {
            return Err(ProtocolError::nowhere(format!(
                "the transaction at {} follows the one at {}: commits do not go back",
                Lsn(begin.commit_lsn),
                Lsn(self.last_commit)
            )));
        }
        transaction.begin(Origin::Transaction {
            lsn: begin.commit_lsn,
            xid: begin.xid,
            committed_us: begin.committed_us,
        });
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), ProtocolError> {
        let transaction = self.transaction.or_fail("COMMIT")?;
        let begun_at = transaction.origin.lsn();
        if commit.commit_lsn != begun_at || commit.end_lsn <= commit.commit_lsn {
            return Err(ProtocolError::nowhere(format!(
                "COMMIT at {}, ending at {}, does not fit the BEGIN of {}",
                Lsn(commit.commit_lsn),
                Lsn(commit.end_lsn),
                transaction.origin
            )));
        }
        if transaction.begun {
            transaction.end(&mut self.assembly);
        }
        transaction.open = false;
        self.last_commit = commit.commit_lsn;
        self.assembly.advance(commit.end_lsn);
        self.received = self.received.max(commit.end_lsn);
        self.assembly.seal();
        Ok(())
    }

    // -- tables

    /// Note that a table's shape may be another. Nothing is asked before its first row: the leaves
    /// of a partitioned table that is published as its root are announced, and have none.
    fn relation(&mut self, reader: &mut Reader<'_>) -> Result<(), ProtocolError> {
        let message = reader.rest();
        let oid = relation(reader)?;
        self.relations.insert(oid, Relation::New);
        let length = message.len() - reader.rest().len();
        self.announced
            .push(message.get(..length).unwrap_or(message).to_vec());
        Ok(())
    }

    // -- rows

    #[inline]
    fn row(&mut self, operation: Operation, reader: &mut Reader<'_>) -> Result<(), ProtocolError> {
        let oid = reader.unsigned()?;
        let reading = match self.relations.get_mut(&oid) {
            Some(Relation::New) => {
                self.needs = Some(oid);
                return Ok(());
            }
            Some(Relation::Wanted(layout, noted)) => Some((layout, noted)),
            Some(Relation::Unwanted) => None,
            None => {
                self.transaction.or_fail("a row")?;
                return Err(undescribed(oid, reader.at() - 4));
            }
        };
        let transaction = self.transaction.or_fail("a row")?;
        let ordinal = transaction.ordinal;
        transaction.ordinal += 1;
        let Some((layout, noted)) = reading else {
            reader.skip();
            return Ok(());
        };
        let origin = transaction.announce(&mut self.assembly);
        let batch = &mut self.assembly.batch;
        let table = noted.index(self.assembly.epoch, batch);
        let images = layout.images(operation, reader, &mut batch.bytes)?;
        batch.size += reader.data().len();
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
        transaction.count(noted, 1);
        Ok(())
    }

    fn truncate(&mut self, truncate: &Truncate<'_>, size: usize) -> Result<(), ProtocolError> {
        let new = |oid: &u32| matches!(self.relations.get(oid), Some(Relation::New));
        if let Some(oid) = truncate.oids().find(new) {
            self.needs = Some(oid);
            return Ok(());
        }
        let transaction = self.transaction.or_fail("TRUNCATE")?;
        for oid in truncate.oids() {
            match self.relations.get_mut(&oid) {
                Some(Relation::Wanted(_, noted)) => {
                    let origin = transaction.announce(&mut self.assembly);
                    let batch = &mut self.assembly.batch;
                    let table = noted.index(self.assembly.epoch, batch);
                    batch.events.push(Event::Truncate {
                        table,
                        origin,
                        ordinal: transaction.ordinal,
                        cascade: truncate.cascade,
                        restart_identity: truncate.restart_identity,
                    });
                    transaction.count(noted, 1);
                }
                Some(_) => {}
                None => return Err(undescribed(oid, XLOG_HEADER)),
            }
            transaction.ordinal += 1;
        }
        self.assembly.batch.size += size;
        Ok(())
    }

    fn message(&mut self, message: &LogicalMessage<'_>) -> Result<(), ProtocolError> {
        let messages = self.settings.messages.as_ref();
        let wanted = messages.is_none_or(|known| known.iter().any(|p| p == message.prefix));
        if !message.transactional {
            if wanted {
                // Its position is its end, where the next commit may stand: the mark is before that.
                self.push_message(message, Lsn(message.lsn - 1), 0, None)?;
                if !self.transaction.open {
                    self.assembly.advance(message.lsn);
                    self.assembly.seal();
                }
            }
            return Ok(());
        }
        let transaction = self.transaction.or_fail("a transactional message")?;
        let ordinal = transaction.ordinal;
        transaction.ordinal += 1;
        if wanted {
            let origin = transaction.announce(&mut self.assembly);
            let at = Lsn(transaction.origin.lsn());
            self.push_message(message, at, ordinal, Some(origin))?;
        }
        Ok(())
    }

    fn push_message(
        &mut self,
        message: &LogicalMessage<'_>,
        at: Lsn,
        ordinal: u64,
        origin: Option<u32>,
    ) -> Result<(), ProtocolError> {
        let batch = &mut self.assembly.batch;
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(message.content);
        let content = span(start, batch.bytes.len())?;
        let prefix = message.prefix.to_owned();
        batch.events.push(Event::Message(Box::new(Message {
            at,
            ordinal,
            prefix,
            content,
            origin,
        })));
        batch.size += message.content.len();
        Ok(())
    }
}

#[cold]
fn undescribed(oid: u32, offset: usize) -> ProtocolError {
    ProtocolError::new(
        format!("a row of relation {oid}, which was not described"),
        offset,
    )
}

#[cfg(test)]
mod tests;
