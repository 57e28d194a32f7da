//! Records of the format `debezium`, byte for byte what Python's `penstock.formats.debezium` makes.
//!
//! What a version of a table looks like (names, schemas, placeholders) is decided there and comes
//! here as a [`Plan`]. What is not regular is left to Python, event by event: values that [`Code`]
//! does not take, tables without a plan, truncates and messages.

mod time;
mod value;

use std::ops::Range;
use std::sync::Arc;

use crate::batch::{Batch, Event, Operation, Origin, Row, Span};
use crate::error::ProtocolError;
use crate::exact;
use crate::json;
use crate::json_frame::number;
use crate::table::{Table, Type};
use crate::tuple::Value;
pub use value::Code;

/// A column that is told.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its position in the table.
    pub index: usize,
    /// Its name as JSON, with the colon.
    pub head: Vec<u8>,
    /// What a null is told as.
    pub null: Vec<u8>,
    /// What stands for a value of an old row that the log did not carry.
    pub missing: Vec<u8>,
    /// What stands for a large value that the log did not repeat; None where nothing can.
    pub unavailable: Option<Vec<u8>>,
    pub code: Code,
}

/// How the rows of one version of a table are told.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What stands before and after a key, and a value: its schema, or nothing.
    pub key: (Vec<u8>, Vec<u8>),
    pub value: (Vec<u8>, Vec<u8>),
    /// The part of `source` that is the table's, from `,"schema":` up to the transaction's id.
    pub source: Vec<u8>,
    /// In the table's order.
    pub columns: Vec<Column>,
    /// Which of these columns make the key, in its order; none where there is no key.
    pub key_columns: Vec<usize>,
}

/// What is the same for all tables.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The first part of `source`, from `,"source":` up to its first moment.
    pub source: Vec<u8>,
    /// Whether a delete is followed by a record without a value.
    pub tombstones: bool,
    /// Operations of which no records are made, by their letters.
    pub skipped: Vec<u8>,
}

/// The key that a header tells because the key changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// A delete tells where the row went.
    To,
    /// A create tells where it came from.
    From,
}

/// One record: where its parts were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Index into the batch's tables.
    pub table: u32,
    /// Index into the batch's origins.
    pub origin: u32,
    pub ordinal: u64,
    pub key: Option<Range<usize>>,
    pub value: Option<Range<usize>>,
    pub moved: Option<(Moved, Range<usize>)>,
}

/// What comes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Record(Record),
    /// The event of that index is for Python.
    Event(usize),
}

/// Where a row stands in a snapshot; what `source.snapshot` says.
pub fn marker(events: &[Event], index: usize) -> &'static str {
    let before = index.checked_sub(1).and_then(|index| events.get(index));
    let after = events.get(index + 1);
    match (before, after) {
        (_, Some(Event::SnapshotEnd { last: true, .. })) => "last",
        (Some(Event::SnapshotBegin { first: true, .. }), _) => "first",
        (_, Some(Event::SnapshotEnd { .. })) => "last_in_data_collection",
        (Some(Event::SnapshotBegin { .. }), _) => "first_in_data_collection",
        _ => "true",
    }
}

/// Why an event has no records from here.
enum Stop {
    /// Python is to take it.
    Irregular,
    Damaged(ProtocolError),
}

impl From<ProtocolError> for Stop {
    fn from(error: ProtocolError) -> Self {
        Self::Damaged(error)
    }
}

type Done<T = ()> = Result<T, Stop>;

/// Makes the records of one batch.
#[derive(Debug)]
pub struct Encoder {
    batch: Arc<Batch>,
    settings: Arc<Settings>,
    /// Of each of the batch's tables; None where Python makes its records.
    plans: Vec<Option<Arc<Plan>>>,
    /// The database's name as JSON.
    database: Vec<u8>,
    /// Nanoseconds since the epoch: when the records are made.
    now: i64,
    next: usize,
    /// What `source` is of, and from the end of a row to the transaction's block.
    told: Option<(u32, u32, &'static str)>,
    source: Vec<u8>,
    scratch: Vec<u8>,
}

impl Encoder {
    pub fn new(
        batch: Arc<Batch>,
        settings: Arc<Settings>,
        plans: Vec<Option<Arc<Plan>>>,
        now: i64,
    ) -> Self {
        let mut database = Vec::new();
        json::string(&batch.database, &mut database);
        Self {
            batch,
            settings,
            plans,
            database,
            now,
            next: 0,
            told: None,
            source: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The next records: as many as make about `size` bytes, which are appended to `out`; none
    /// after the last.
    pub fn some(&mut self, size: usize, out: &mut Vec<u8>) -> Result<Vec<Item>, ProtocolError> {
        let batch = Arc::clone(&self.batch);
        let mut items = Vec::new();
        while let Some(event) = batch.events.get(self.next) {
            if out.len() >= size && !items.is_empty() {
                break;
            }
            let index = self.next;
            self.next += 1;
            match event {
                Event::Row(row) => self.event(&batch, index, row, out, &mut items)?,
                Event::Truncate { .. } if self.skips(b't') => {}
                Event::Truncate { .. } | Event::Message(_) => items.push(Item::Event(index)),
                _ => {}
            }
        }
        Ok(items)
    }

    fn skips(&self, code: u8) -> bool {
        self.settings.skipped.contains(&code)
    }

    fn event(
        &mut self,
        batch: &Batch,
        index: usize,
        row: &Row,
        out: &mut Vec<u8>,
        items: &mut Vec<Item>,
    ) -> Result<(), ProtocolError> {
        let code = match row.operation {
            Operation::Insert => b'c',
            Operation::Update => b'u',
            Operation::Delete => b'd',
            Operation::Truncate => b't',
            Operation::Read => b'r',
        };
        if self.skips(code) {
            return Ok(());
        }
        let place = row.table as usize;
        let (plan, table) = match (self.plans.get(place), batch.tables.get(place)) {
            (Some(Some(plan)), Some(table)) => (Arc::clone(plan), Arc::clone(table)),
            _ => {
                items.push(Item::Event(index));
                return Ok(());
            }
        };
        let marker = match row.operation {
            Operation::Read => marker(&batch.events, index),
            _ => "false",
        };
        if self.told != Some((row.origin, row.table, marker)) {
            self.told = Some((row.origin, row.table, marker));
            self.tell_source(batch, row.origin, &plan, marker);
        }
        let (bytes, count) = (out.len(), items.len());
        let mut making = Making {
            encoder: self,
            batch,
            plan: &plan,
            table: &table,
            row,
            out,
            items,
        };
        let done = match code {
            b'd' => making.delete(),
            b't' => Err(Stop::Irregular),
            _ => making.upsert(code),
        };
        match done {
            Ok(()) => Ok(()),
            Err(Stop::Damaged(error)) => Err(error),
            Err(Stop::Irregular) => {
                out.truncate(bytes);
                items.truncate(count);
                items.push(Item::Event(index));
                Ok(())
            }
        }
    }

    /// From the end of a row to the transaction's block.
    fn tell_source(&mut self, batch: &Batch, origin: u32, plan: &Plan, marker: &str) {
        let source = &mut self.source;
        source.clear();
        let Some(origin) = batch.origins.get(origin as usize) else {
            return;
        };
        let now = || self.now.div_euclid(1000);
        let micros = origin.committed_us().unwrap_or_else(now);
        source.extend_from_slice(&self.settings.source);
        value::integer(micros.div_euclid(1000), source);
        source.extend_from_slice(b",\"snapshot\":\"");
        source.extend_from_slice(marker.as_bytes());
        source.extend_from_slice(b"\",\"db\":");
        source.extend_from_slice(&self.database);
        source.extend_from_slice(b",\"sequence\":\"[");
        if marker == "false" {
            source.extend_from_slice(b"\\\"");
            number(origin.lsn(), source);
            source.extend_from_slice(b"\\\"");
        } else {
            source.extend_from_slice(json::NULL);
        }
        source.extend_from_slice(b",\\\"");
        number(origin.lsn(), source);
        source.extend_from_slice(b"\\\"]\",\"ts_us\":");
        value::integer(micros, source);
        source.extend_from_slice(b",\"ts_ns\":");
        value::integer(micros, source);
        if micros != 0 {
            source.extend_from_slice(b"000");
        }
        source.extend_from_slice(&plan.source);
        match *origin {
            Origin::Transaction { xid, .. } => number(xid.into(), source),
            _ => source.extend_from_slice(json::NULL),
        }
        source.extend_from_slice(b",\"lsn\":");
        number(origin.lsn(), source);
        source.extend_from_slice(
            b",\"xmin\":null,\"origin\":null,\"origin_lsn\":null},\"transaction\":null",
        );
    }
}

/// An old or new row, as far as it is known.
#[derive(Clone, Copy)]
enum Image {
    Whole(Span),
    /// The values of the table's key alone, in key order.
    Key(Span),
}

/// One event on its way to its records.
struct Making<'a> {
    encoder: &'a mut Encoder,
    batch: &'a Batch,
    plan: &'a Plan,
    table: &'a Table,
    row: &'a Row,
    out: &'a mut Vec<u8>,
    items: &'a mut Vec<Item>,
}

impl<'a> Making<'a> {
    fn delete(&mut self) -> Done {
        let row = self.row;
        let old = row.before.map(Image::Whole).or(row.key.map(Image::Key));
        let key = match old {
            Some(old) => self.key(old)?,
            None => None,
        };
        self.deleted(key, old, None)
    }

    /// A delete, and its tombstone.
    fn deleted(
        &mut self,
        key: Option<Range<usize>>,
        old: Option<Image>,
        moved: Option<(Moved, Range<usize>)>,
    ) -> Done {
        let key = key.map(|payload| self.framed(&payload));
        let value = self.value(b'd', old, None)?;
        self.record(key.clone(), Some(value), moved.clone());
        if self.encoder.settings.tombstones {
            self.record(key, None, moved);
        }
        Ok(())
    }

    /// An insert, an update, or a row of a snapshot.
    fn upsert(&mut self, code: u8) -> Done {
        let row = self.row;
        let (Some(after), None) = (row.after, row.key) else {
            return Err(Stop::Irregular);
        };
        let key = self.key(Image::Whole(after))?;
        let old = row.before.map(Image::Whole).or(row.old_key.map(Image::Key));
        if let (Some(old), Some(key)) = (old, &key)
            && self.knows_key(old)?
            && let Some(old_key) = self.key(old)?
            && self.out.get(old_key.clone()) != self.out.get(key.clone())
        {
            if !self.encoder.skips(b'd') {
                let moved = Some((Moved::To, key.clone()));
                self.deleted(Some(old_key.clone()), Some(old), moved)?;
            }
            if !self.encoder.skips(b'c') {
                let framed = self.framed(key);
                let value = self.value(b'c', None, Some(after))?;
                self.record(Some(framed), Some(value), Some((Moved::From, old_key)));
            }
            return Ok(());
        }
        let key = key.map(|payload| self.framed(&payload));
        let value = self.value(code, row.before.map(Image::Whole), Some(after))?;
        self.record(key, Some(value), None);
        Ok(())
    }

    fn record(
        &mut self,
        key: Option<Range<usize>>,
        value: Option<Range<usize>>,
        moved: Option<(Moved, Range<usize>)>,
    ) {
        self.items.push(Item::Record(Record {
            table: self.row.table,
            origin: self.row.origin,
            ordinal: self.row.ordinal,
            key,
            value,
            moved,
        }));
    }

    /// The same key with its schema.
    fn framed(&mut self, payload: &Range<usize>) -> Range<usize> {
        let (head, tail) = &self.plan.key;
        if head.is_empty() && tail.is_empty() {
            return payload.clone();
        }
        let begin = self.out.len();
        self.out.extend_from_slice(head);
        self.out.extend_from_within(payload.clone());
        self.out.extend_from_slice(tail);
        begin..self.out.len()
    }

    fn value(
        &mut self,
        code: u8,
        before: Option<Image>,
        after: Option<Span>,
    ) -> Done<Range<usize>> {
        let begin = self.out.len();
        self.out.extend_from_slice(&self.plan.value.0);
        self.out.extend_from_slice(b"{\"before\":");
        match before {
            Some(Image::Whole(row)) => self.whole(row)?,
            Some(Image::Key(key)) => self.partial(key)?,
            None => self.out.extend_from_slice(json::NULL),
        }
        self.out.extend_from_slice(b",\"after\":");
        match after {
            Some(row) => self.whole(row)?,
            None => self.out.extend_from_slice(json::NULL),
        }
        let Self { encoder, out, .. } = self;
        out.extend_from_slice(&encoder.source);
        out.extend_from_slice(b",\"op\":\"");
        out.push(code);
        for (head, moment) in [
            (&b"\",\"ts_ms\":"[..], encoder.now.div_euclid(1_000_000)),
            (b",\"ts_us\":", encoder.now.div_euclid(1000)),
            (b",\"ts_ns\":", encoder.now),
        ] {
            out.extend_from_slice(head);
            value::integer(moment, out);
        }
        out.push(b'}');
        out.extend_from_slice(&self.plan.value.1);
        Ok(begin..self.out.len())
    }

    /// The object of a whole row.
    fn whole(&mut self, row: Span) -> Done {
        let arity = self.table.columns.len();
        let mut values = self.batch.values(row);
        let mut at = 0;
        let mut separator = b'{';
        for column in &self.plan.columns {
            while at < column.index {
                values.next(at, arity)?;
                at += 1;
            }
            let value = values.next(at, arity)?;
            at += 1;
            self.out.push(std::mem::replace(&mut separator, b','));
            self.out.extend_from_slice(&column.head);
            match (value, &column.unavailable) {
                (Value::Unchanged, Some(placeholder)) => self.out.extend_from_slice(placeholder),
                _ => self.told(column, value)?,
            }
        }
        self.close(separator);
        Ok(())
    }

    /// The object of a row of which the table's key is known.
    fn partial(&mut self, key: Span) -> Done {
        let mut separator = b'{';
        for column in &self.plan.columns {
            self.out.push(std::mem::replace(&mut separator, b','));
            self.out.extend_from_slice(&column.head);
            match self.find(Image::Key(key), column.index)? {
                Some(value) => self.told(column, value)?,
                None => self.out.extend_from_slice(&column.missing),
            }
        }
        self.close(separator);
        Ok(())
    }

    /// The key's payload; None for a table without one.
    fn key(&mut self, image: Image) -> Done<Option<Range<usize>>> {
        if self.plan.key_columns.is_empty() {
            return Ok(None);
        }
        let begin = self.out.len();
        let mut separator = b'{';
        for &told in &self.plan.key_columns {
            let column = self.plan.columns.get(told).ok_or(Stop::Irregular)?;
            let value = self.find(image, column.index)?.ok_or(Stop::Irregular)?;
            self.out.push(std::mem::replace(&mut separator, b','));
            self.out.extend_from_slice(&column.head);
            self.told(column, value)?;
        }
        self.close(separator);
        Ok(Some(begin..self.out.len()))
    }

    /// Whether an old row has all of the key.
    fn knows_key(&self, image: Image) -> Done<bool> {
        for &told in &self.plan.key_columns {
            let column = self.plan.columns.get(told).ok_or(Stop::Irregular)?;
            if matches!(
                self.find(image, column.index)?,
                None | Some(Value::Unchanged)
            ) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The value at a position of the table, where it is known.
    fn find(&self, image: Image, index: usize) -> Done<Option<Value<'a>>> {
        let (row, place, arity) = match image {
            Image::Whole(row) => (row, index, self.table.columns.len()),
            Image::Key(key) => {
                let columns = &self.table.key;
                match columns.iter().position(|&column| column == index) {
                    Some(place) => (key, place, columns.len()),
                    None => return Ok(None),
                }
            }
        };
        let mut values = self.batch.values(row);
        for before in 0..place {
            values.next(before, arity)?;
        }
        Ok(Some(values.next(place, arity)?))
    }

    /// Append the JSON of a value.
    #[inline]
    fn told(&mut self, column: &Column, value: Value<'_>) -> Done {
        let out = &mut *self.out;
        let text = match value {
            Value::Text(text) => text,
            Value::Null => {
                out.extend_from_slice(&column.null);
                return Ok(());
            }
            Value::Unchanged => return Err(Stop::Irregular),
            Value::Binary(form) => {
                if let Some(Type { base, .. }) =
                    self.table.columns.get(column.index).map(|c| &c.kind)
                    && column.code.encode_sent(*base, form, out)
                {
                    return Ok(());
                }
                exact::text(self.table, column.index, form, &mut self.encoder.scratch)?
            }
        };
        column.code.encode(text, out).ok_or(Stop::Irregular)
    }

    fn close(&mut self, separator: u8) {
        if separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}
