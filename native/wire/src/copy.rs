//! Rows of `COPY … TO STDOUT`, in text or binary format, as packed batches of a snapshot.
//!
//! Facts: PostgreSQL manual, *COPY*, File Formats. The server sends each row as one CopyData
//! message; in binary format the first one begins with the header, and the last is the trailer.

use std::fmt::Display;
use std::sync::Arc;

use memchr::{memchr, memchr_iter};

use crate::batch::{Batch, Event, Operation, Origin, Row, Span};
use crate::error::ProtocolError;
use crate::frames;
use crate::projection::Projection;
use crate::reader::Reader;
use crate::rows;
use crate::table::Table;
use crate::tuple::{Form, NULL, Value};

/// How the rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Binary,
}

/// One attempt to copy one table.
#[derive(Debug)]
pub struct Copy {
    stream: Arc<str>,
    database: Arc<str>,
    /// What goes on of the table, where that is not all.
    projection: Option<Projection>,
    table: Arc<Table>,
    origin: Origin,
    attempt: u32,
    format: Format,
    first: bool,
    last: bool,
    begun: bool,
    rows: u64,
}

impl Copy {
    /// `at`: all that the rows show was committed before.
    pub fn new(
        stream: &str,
        database: &str,
        table: &Arc<Table>,
        attempt: u32,
        at: u64,
        format: Format,
    ) -> Self {
        Self {
            stream: stream.into(),
            database: database.into(),
            projection: None,
            table: Arc::clone(table),
            origin: Origin::Snapshot {
                mark: format!("{stream}@{attempt}").into(),
                lsn: at,
            },
            attempt,
            format,
            first: false,
            last: false,
            begun: false,
            rows: 0,
        }
    }

    /// Make rows of the table out of those that come.
    pub fn project(&mut self, projection: Projection) {
        self.projection = Some(projection);
    }

    /// Say whether it is the first or the last of the tables that are copied now.
    pub fn stands(&mut self, first: bool, last: bool) {
        (self.first, self.last) = (first, last);
    }

    /// How many rows were read.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows of some CopyData payloads. The first batch begins with the snapshot's beginning;
    /// `end` says that no rows follow.
    pub fn read(&mut self, payloads: &[&[u8]], end: bool) -> Result<Batch, ProtocolError> {
        let (mut batch, table) = self.batch(payloads.len());
        batch.size = payloads.iter().map(|payload| payload.len()).sum();
        let source = self
            .projection
            .as_ref()
            .map_or(&self.table, Projection::source);
        let arity = source.columns.len();
        // A tab or a length becomes a head.
        let heads = 4 * arity * payloads.len();
        batch.bytes.reserve(batch.size + heads);
        for payload in payloads {
            match self.format {
                Format::Text => {
                    let start = batch.bytes.len();
                    pack_text(payload, arity, &mut batch.bytes)
                        .and_then(|()| self.push(&mut batch, table, start))
                }
                Format::Binary => self.read_binary(payload, arity, &mut batch, table),
            }
            .map_err(|error| error.table(&self.table.text))?;
        }
        self.end(&mut batch, table, end);
        Ok(batch)
    }

    /// The same of CopyData messages as they stand in the stream. Rows that go on as they came stay
    /// where they are.
    pub fn read_messages(&mut self, bytes: Vec<u8>, end: bool) -> Result<Batch, ProtocolError> {
        if self.format == Format::Text || self.projection.is_some() {
            return self.read(&frames::payloads(&bytes)?, end);
        }
        const USUAL: usize = 100; // bytes of a row
        let (mut batch, table) = self.batch(bytes.len() / USUAL);
        batch.form = Form::Copied;
        let arity = self.table.columns.len();
        for range in frames::ranges(&bytes) {
            let range = range?;
            batch.size += range.len();
            let payload = bytes.get(range.clone()).unwrap_or_default();
            binary_rows(payload, arity, |mut fields| {
                let start = range.start + fields.at();
                for _ in 0..arity {
                    field(&mut fields)?;
                }
                let after = rows::span(start, range.start + fields.at())?;
                self.enter(&mut batch, table, after);
                Ok(fields)
            })
            .map_err(|error| error.table(&self.table.text))?;
        }
        batch.bytes = bytes;
        self.end(&mut batch, table, end);
        Ok(batch)
    }

    /// A batch for about so many rows, and the table's index in it.
    fn batch(&mut self, rows: usize) -> (Batch, u32) {
        let mut batch = Batch::new(Arc::clone(&self.stream), Arc::clone(&self.database));
        batch.events.reserve(rows + 2);
        batch.origins.push(self.origin.clone());
        let table = batch.table(&self.table);
        if !self.begun {
            self.begun = true;
            let (attempt, first) = (self.attempt, self.first);
            batch.events.push(Event::SnapshotBegin {
                table,
                attempt,
                first,
            });
        }
        (batch, table)
    }

    fn end(&self, batch: &mut Batch, table: u32, end: bool) {
        if end {
            let (rows, last) = (self.rows, self.last);
            batch.events.push(Event::SnapshotEnd {
                table,
                attempt: self.attempt,
                rows,
                last,
            });
        }
    }

    /// Enter the row that was packed from `start` on.
    fn push(&mut self, batch: &mut Batch, table: u32, start: usize) -> Result<(), ProtocolError> {
        if let Some(projection) = &self.projection {
            let row = batch.bytes.split_off(start);
            projection.row(&row, &mut batch.bytes)?;
        }
        let after = rows::span(start, batch.bytes.len())?;
        self.enter(batch, table, after);
        Ok(())
    }

    #[inline]
    fn enter(&mut self, batch: &mut Batch, table: u32, after: Span) {
        batch.events.push(Event::Row(Row {
            operation: Operation::Read,
            table,
            origin: 0,
            ordinal: self.rows,
            before: None,
            after: Some(after),
            key: None,
            old_key: None,
        }));
        self.rows += 1;
    }

    fn read_binary(
        &mut self,
        payload: &[u8],
        arity: usize,
        batch: &mut Batch,
        table: u32,
    ) -> Result<(), ProtocolError> {
        binary_rows(payload, arity, |mut fields| {
            let start = batch.bytes.len();
            for _ in 0..arity {
                field(&mut fields)?.pack(&mut batch.bytes);
            }
            self.push(batch, table, start)?;
            Ok(fields)
        })
    }
}

/// Have each row of a payload in binary format read; `row` gives back the reader that it gets at
/// the row's first field, behind the last.
#[inline]
fn binary_rows<'a>(
    payload: &'a [u8],
    arity: usize,
    mut row: impl FnMut(Reader<'a>) -> Result<Reader<'a>, ProtocolError>,
) -> Result<(), ProtocolError> {
    let mut reader = Reader::new(payload, 0);
    if payload.starts_with(SIGNATURE) {
        read_header(&mut reader)?;
    }
    while !reader.rest().is_empty() {
        let count = reader.short()? as i16;
        if count == TRAILER {
            return reader.end();
        }
        if i64::from(count) != arity as i64 {
            return Err(wrong_arity(count, arity));
        }
        reader = row(reader)?;
    }
    Ok(())
}

#[inline]
fn field<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, ProtocolError> {
    Ok(match reader.unsigned()? {
        NULL => Value::Null,
        length => Value::Binary(reader.bytes(length as usize)?),
    })
}

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Flags that a reader must know.
const CRITICAL: u32 = 0xFFFF_0000;
/// What stands for the number of columns after the last row.
const TRAILER: i16 = -1;

fn read_header(reader: &mut Reader<'_>) -> Result<(), ProtocolError> {
    reader.seek(SIGNATURE.len());
    let flags = reader.unsigned()?;
    if flags & CRITICAL != 0 {
        let message = format!("the copy has unknown flags {flags:#x}");
        return Err(ProtocolError::new(message, SIGNATURE.len()));
    }
    let extension = reader.unsigned()?;
    reader.bytes(extension as usize)?;
    Ok(())
}

fn wrong_arity(found: impl Display, arity: usize) -> ProtocolError {
    ProtocolError::nowhere(format!(
        "a copied row of {found} columns where {arity} were asked for"
    ))
}

/// Pack a row in text format. A tab inside a value is written as a backslash and a `t`, so every
/// real tab stands between columns.
fn pack_text(line: &[u8], arity: usize, into: &mut Vec<u8>) -> Result<(), ProtocolError> {
    let Some((b'\n', row)) = line.split_last() else {
        let message = "a copied row has no line end";
        return Err(ProtocolError::new(message, line.len()));
    };
    if arity == 0 && row.is_empty() {
        return Ok(());
    }
    let found = memchr_iter(b'\t', row).count() + 1;
    if found != arity {
        return Err(wrong_arity(found, arity));
    }
    let plain = memchr(b'\\', row).is_none();
    let mut start = 0;
    for end in memchr_iter(b'\t', row).chain([row.len()]) {
        let field = row.get(start..end).unwrap_or_default();
        start = end + 1;
        if plain || memchr(b'\\', field).is_none() {
            Value::Text(field).pack(into);
        } else if field == b"\\N" {
            Value::Null.pack(into);
        } else {
            Value::Text(&unescape(field)?).pack(into);
        }
    }
    Ok(())
}

/// What a field with escapes stands for.
fn unescape(field: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    let mut value = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = memchr(b'\\', rest) {
        let (before, escape) = rest.split_at(at);
        value.extend_from_slice(before);
        let escape = escape.get(1..).unwrap_or_default();
        let Some((&letter, after)) = escape.split_first() else {
            let message = "a copied value ends inside an escape";
            return Err(ProtocolError::nowhere(message));
        };
        let (byte, taken) = match letter {
            b'0'..=b'7' => number(escape, 8, 3),
            b'x' => match number(after, 16, 2) {
                (_, 0) => (b'x', 1),
                (byte, digits) => (byte, digits + 1),
            },
            b'b' => (8, 1),
            b'f' => (12, 1),
            b'n' => (b'\n', 1),
            b'r' => (b'\r', 1),
            b't' => (b'\t', 1),
            b'v' => (11, 1),
            _ => (letter, 1),
        };
        value.push(byte);
        rest = escape.get(taken..).unwrap_or_default();
    }
    value.extend_from_slice(rest);
    Ok(value)
}

/// The byte that at most `most` digits say, and how many there are.
fn number(text: &[u8], base: u32, most: usize) -> (u8, usize) {
    let digits = text.iter().take(most);
    let digits = digits.map_while(|&byte| char::from(byte).to_digit(base));
    digits.fold((0, 0), |(byte, count), digit| {
        let value = (u32::from(byte) * base + digit) & 0xFF;
        (value as u8, count + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, Kind, Type};

    fn table(columns: usize) -> Arc<Table> {
        let column = |index: usize| Column {
            name: format!("c{index}"),
            kind: Type {
                oid: 25,
                base: 25,
                modifier: -1,
                kind: Kind::Text,
                element: None,
            },
        };
        Arc::new(Table {
            handle: 1,
            oid: 1,
            text: "public.t".into(),
            columns: (0..columns).map(column).collect(),
            key: Vec::new(),
        })
    }

    fn copy(columns: usize, format: Format) -> Copy {
        Copy::new("snapshot:public.t", "shop", &table(columns), 1, 100, format)
    }

    fn read(columns: usize, format: Format, payload: &[u8]) -> Result<Vec<String>, ProtocolError> {
        let batch = copy(columns, format).read(&[payload], false)?;
        let rows = batch.events.iter().filter_map(|event| match event {
            Event::Row(row) => row.after,
            _ => None,
        });
        rows.map(|span| {
            let mut values = batch.values(span);
            let shown = (0..columns).map(|column| match values.next(column, columns)? {
                Value::Text(value) | Value::Binary(value) => Ok(value.escape_ascii().to_string()),
                _ => Ok("null".into()),
            });
            Ok(shown.collect::<Result<Vec<_>, ProtocolError>>()?.join("|"))
        })
        .collect()
    }

    #[test]
    fn text_is_read_as_the_server_writes_it() {
        let read = |line: &[u8]| read(2, Format::Text, line).unwrap().concat();
        assert_eq!(read(b"1\tnew\n"), "1|new");
        assert_eq!(read(b"\\N\t\n"), "null|");
        assert_eq!(read(b"\\\\N\ta\\tb\n"), r"\\N|a\tb");
        assert_eq!(read(b"\\101\\x41\\q\t\\60\\x6g\n"), r"AAq|0\x06g");
        assert_eq!(read(b"\\777\t\\x\n"), r"\xff|x");
    }

    #[test]
    fn no_row_is_told() {
        let fail = |line: &[u8]| read(2, Format::Text, line).unwrap_err().message;
        assert_eq!(fail(b"1\t2"), "a copied row has no line end");
        assert_eq!(fail(b""), "a copied row has no line end");
        assert!(fail(b"1\n").contains("of 1 columns where 2"));
        assert_eq!(fail(b"1\t2\\\n"), "a copied value ends inside an escape");
    }

    #[test]
    fn binary_has_a_header_rows_and_a_trailer() {
        let mut copied = SIGNATURE.to_vec();
        copied.extend([0; 8]);
        copied.extend(b"\0\x02\0\0\0\x01a\xff\xff\xff\xff");
        copied.extend(b"\0\x02\0\0\0\0\0\0\0\x01b\xff\xff");
        let read = |bytes: &[u8]| read(2, Format::Binary, bytes);
        assert_eq!(read(&copied).unwrap(), ["a|null", "|b"]);
        for end in 1..copied.len() {
            let whole = [SIGNATURE.len() + 8, 30, copied.len() - 2];
            assert_eq!(read(&copied[..end]).is_ok(), whole.contains(&end), "{end}");
        }
    }

    #[test]
    fn a_snapshot_begins_and_ends_once() {
        let mut copy = copy(1, Format::Text);
        copy.stands(true, false);
        let first = copy.read(&[b"a\n", b"b\n"], false).unwrap();
        let last = copy.read(&[b"c\n"], true).unwrap();
        assert!(matches!(
            first.events[0],
            Event::SnapshotBegin {
                attempt: 1,
                first: true,
                ..
            }
        ));
        assert_eq!((first.events.len(), first.size), (3, 4));
        assert!(matches!(
            last.events[1],
            Event::SnapshotEnd {
                rows: 3,
                last: false,
                ..
            }
        ));
        assert_eq!(last.last(), Some(("snapshot:public.t@1".into(), 2)));
    }
}
