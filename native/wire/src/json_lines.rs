//! Records and JSON lines of a batch's changes, byte for byte what Python's `penstock.formats` and
//! `penstock.model.lines` make of them.

use std::ops::Range;

use crate::batch::{Batch, Event, Operation, Row};
use crate::error::EncodeError;
use crate::json::NULL;
use crate::json_frame::{Frame, number};
use crate::json_row::TableJson;

type Result<T> = std::result::Result<T, EncodeError>;

/// A format that is known here, by the name that Python's has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// All that is known of a change.
    Change,
    /// The row after the change, alone.
    Row,
}

impl Format {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "change" => Some(Self::Change),
            "row" => Some(Self::Row),
            _ => None,
        }
    }
}

/// A record, and where its parts were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Index of the table, whose name is the topic, into the batch's tables.
    pub table: u32,
    pub key: Option<Range<usize>>,
    pub value: Option<Range<usize>>,
    pub headers: Headers,
}

/// Names and values of a record's headers; only truncates have any.
pub type Headers = &'static [(&'static str, &'static str)];

/// The records of a batch's changes, in order; their parts are appended to `out`.
///
/// Fails at the first value that its column's type does not allow.
pub fn records(batch: &Batch, format: Format, out: &mut Vec<u8>) -> Result<Vec<Record>> {
    let mut encoder = Encoder::new(batch, format, out);
    let mut records = Vec::new();
    for Change {
        row: change,
        headers,
    } in changes(batch, format)
    {
        let begin = encoder.out.len();
        let has_key = encoder.key(&change)?;
        let middle = encoder.out.len();
        let has_value = encoder.value(&change, has_key.then_some(begin..middle))?;
        records.push(Record {
            table: change.table,
            key: has_key.then_some(begin..middle),
            value: has_value.then_some(middle..encoder.out.len()),
            headers,
        });
    }
    Ok(records)
}

/// Append the lines of a batch, as the sink `jsonl` writes them:
/// `{"topic": …, "key": …, "value": …, "headers": {…}}`. Fails as [`records`] does.
pub fn lines(batch: &Batch, format: Format, out: &mut Vec<u8>) -> Result<()> {
    let mut encoder = Encoder::new(batch, format, out);
    for Change {
        row: change,
        headers,
    } in changes(batch, format)
    {
        encoder.put(b"{\"topic\":");
        encoder.put_name(change.table);
        encoder.put(b",\"key\":");
        let begin = encoder.out.len();
        let has_key = encoder.key(&change)?;
        let key = has_key.then_some(begin..encoder.out.len());
        if !has_key {
            encoder.put(NULL);
        }
        encoder.put(b",\"value\":");
        if !encoder.value(&change, key)? {
            encoder.put(NULL);
        }
        encoder.put(b",\"headers\":{");
        for (n, (name, value)) in headers.iter().enumerate() {
            encoder.put(if n > 0 { b",\"" } else { b"\"" });
            encoder.put(name.as_bytes());
            encoder.put(b"\":\"");
            encoder.put(value.as_bytes());
            encoder.put(b"\"");
        }
        encoder.put(b"}}\n");
    }
    Ok(())
}

fn changes(batch: &Batch, format: Format) -> impl Iterator<Item = Change> {
    batch
        .events
        .iter()
        .filter_map(move |event| Change::of(event, format))
}

/// A change of any kind: a truncate is a row without images.
struct Change {
    row: Row,
    headers: Headers,
}

impl Change {
    #[inline]
    fn of(event: &Event, format: Format) -> Option<Self> {
        match *event {
            Event::Row(row) => Some(Self { row, headers: &[] }),
            Event::Truncate {
                table,
                origin,
                ordinal,
                cascade,
                restart_identity,
            } => Some(Self {
                row: Row {
                    operation: Operation::Truncate,
                    table,
                    origin,
                    ordinal,
                    before: None,
                    after: None,
                    key: None,
                    old_key: None,
                },
                headers: truncate_headers(cascade, restart_identity, format == Format::Row),
            }),
            _ => None,
        }
    }
}

/// `told`: whether nothing but a header tells the operation.
fn truncate_headers(cascade: bool, restart_identity: bool, told: bool) -> Headers {
    const CASCADE: (&str, &str) = ("cascade", "true");
    const RESTART: (&str, &str) = ("restart_identity", "true");
    const OPERATION: (&str, &str) = ("op", "truncate");
    match (cascade, restart_identity, told) {
        (false, false, false) => &[],
        (true, false, false) => &[CASCADE],
        (false, true, false) => &[RESTART],
        (true, true, false) => &[CASCADE, RESTART],
        (false, false, true) => &[OPERATION],
        (true, false, true) => &[CASCADE, OPERATION],
        (false, true, true) => &[RESTART, OPERATION],
        (true, true, true) => &[CASCADE, RESTART, OPERATION],
    }
}

struct Encoder<'a, 'o> {
    batch: &'a Batch,
    format: Format,
    tables: Vec<TableJson<'a>>,
    /// The origin that `frame` is of.
    origin: Option<u32>,
    frame: Frame,
    out: &'o mut Vec<u8>,
}

impl<'a, 'o> Encoder<'a, 'o> {
    fn new(batch: &'a Batch, format: Format, out: &'o mut Vec<u8>) -> Self {
        Self {
            batch,
            format,
            tables: batch
                .tables
                .iter()
                .map(|table| TableJson::new(table))
                .collect(),
            origin: None,
            frame: Frame::default(),
            out,
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn put_name(&mut self, table: u32) {
        if let Some(table) = self.tables.get(table as usize) {
            self.out.extend_from_slice(&table.name);
        }
    }

    /// Append a change's key; false, and nothing, where it has none.
    fn key(&mut self, change: &Row) -> Result<bool> {
        let begin = self.out.len();
        let done = self.try_key(change);
        if done.is_err() && self.format == Format::Row && change.after.is_some() {
            // There the value is made first, and its failure is the one to tell.
            self.out.truncate(begin);
            self.value(change, None)?;
        }
        done
    }

    fn try_key(&mut self, change: &Row) -> Result<bool> {
        let Some(table) = self.tables.get_mut(change.table as usize) else {
            return Ok(false);
        };
        if let Some(key) = change.key {
            table.key(self.batch, key, self.out)?;
            return Ok(true);
        }
        let Some(row) = change.after.or(change.before) else {
            return Ok(false);
        };
        if table.table.key.is_empty() {
            return Ok(false);
        }
        table.key_in(self.batch, row, self.out)?;
        Ok(true)
    }

    /// Append a change's value; false, and nothing, where it has none. `key` is where its key was
    /// written already.
    fn value(&mut self, change: &Row, key: Option<Range<usize>>) -> Result<bool> {
        match self.format {
            Format::Change => self.change(change, key).map(|()| true),
            Format::Row => match (change.after, self.tables.get_mut(change.table as usize)) {
                (Some(row), Some(table)) => {
                    table.row(self.batch, row, self.out)?;
                    Ok(true)
                }
                _ => Ok(false),
            },
        }
    }

    fn change(&mut self, change: &Row, key: Option<Range<usize>>) -> Result<()> {
        if self.origin != Some(change.origin) {
            self.origin = Some(change.origin);
            if let Some(origin) = self.batch.origins.get(change.origin as usize) {
                self.frame.be_of(origin, &self.batch.database);
            }
        }
        let Self {
            batch,
            tables,
            frame,
            out,
            ..
        } = self;
        let Some(table) = tables.get_mut(change.table as usize) else {
            return Ok(());
        };
        out.extend_from_slice(&frame.start);
        number(change.ordinal, out);
        out.extend_from_slice(b"\",\"op\":\"");
        out.extend_from_slice(change.operation.name().as_bytes());
        out.extend_from_slice(b"\",\"table\":");
        out.extend_from_slice(&table.name);
        out.extend_from_slice(b",\"key\":");
        match key {
            Some(key) => out.extend_from_within(key),
            None => out.extend_from_slice(NULL),
        }
        let mut unchanged = false;
        if let (None, None, Some(row)) = (change.old_key, change.before, change.after) {
            out.extend_from_slice(b",\"old_key\":null,\"before\":null,\"after\":");
            unchanged = table.row(batch, row, out)?;
        } else {
            out.extend_from_slice(b",\"old_key\":");
            match change.old_key {
                Some(key) => table.key(batch, key, out)?,
                None => out.extend_from_slice(NULL),
            }
            out.extend_from_slice(b",\"before\":");
            match change.before {
                Some(row) => _ = table.row(batch, row, out)?,
                None => out.extend_from_slice(NULL),
            }
            out.extend_from_slice(b",\"after\":");
            match change.after {
                Some(row) => unchanged = table.row(batch, row, out)?,
                None => out.extend_from_slice(NULL),
            }
        }
        out.extend_from_slice(b",\"unchanged\":");
        match change.after {
            Some(row) if unchanged => table.unchanged(batch, row, out)?,
            _ => out.extend_from_slice(b"[]"),
        }
        out.extend_from_slice(&frame.middle);
        number(change.ordinal, out);
        out.extend_from_slice(&frame.end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::batch::{Origin, Span};
    use crate::table::{Column, Kind, Table, Type};
    use crate::tuple::Value;

    fn table(columns: &[(&str, Kind)], key: &[usize]) -> Arc<Table> {
        let column = |&(name, kind): &(&str, Kind)| Column {
            name: name.to_owned(),
            kind: Type {
                oid: 0,
                base: 0,
                modifier: -1,
                kind,
                element: None,
            },
        };
        Arc::new(Table {
            handle: 1,
            oid: 1,
            text: "public.t".to_owned(),
            columns: columns.iter().map(column).collect(),
            key: key.to_vec(),
        })
    }

    fn batch(table: Arc<Table>) -> Batch {
        let mut batch = Batch::new("main".into(), "shop".into());
        batch.tables.push(table);
        batch.origins.push(Origin::Transaction {
            lsn: 0x1_0000_00FF,
            xid: 7,
            committed_us: 1_700_000_000_000_001,
        });
        batch
    }

    fn pack(batch: &mut Batch, values: &[Value<'_>]) -> Span {
        let start = batch.bytes.len();
        for value in values {
            value.pack(&mut batch.bytes);
        }
        Span::new(start, batch.bytes.len()).unwrap()
    }

    fn row(operation: Operation) -> Row {
        Row {
            operation,
            table: 0,
            origin: 0,
            ordinal: 12,
            before: None,
            after: None,
            key: None,
            old_key: None,
        }
    }

    fn lines_of(batch: &Batch, format: Format) -> String {
        let mut out = Vec::new();
        lines(batch, format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_of_an_update_tells_all_of_it() {
        let mut batch = batch(table(&[("id", Kind::Integer), ("note", Kind::Text)], &[0]));
        let after = pack(&mut batch, &[Value::Text(b"2"), Value::Unchanged]);
        let before = pack(&mut batch, &[Value::Text(b"1"), Value::Null]);
        let old_key = pack(&mut batch, &[Value::Text(b"1")]);
        batch.events.push(Event::Row(Row {
            before: Some(before),
            after: Some(after),
            old_key: Some(old_key),
            ..row(Operation::Update)
        }));
        assert_eq!(
            lines_of(&batch, Format::Change),
            concat!(
                r#"{"topic":"public.t","key":{"id":2},"value":{"id":"1/FF:12","op":"update","#,
                r#""table":"public.t","key":{"id":2},"old_key":{"id":1},"#,
                r#""before":{"id":1,"note":null},"after":{"id":2},"unchanged":["note"],"#,
                r#""mark":"1/FF:12","transaction":{"id":"7","#,
                r#""committed_at":"2023-11-14T22:13:20.000001+00:00"},"#,
                r#""source":{"type":"postgres","database":"shop","lsn":"1/FF"}},"headers":{}}"#,
                "\n"
            )
        );
        assert_eq!(
            lines_of(&batch, Format::Row),
            "{\"topic\":\"public.t\",\"key\":{\"id\":2},\"value\":{\"id\":2},\"headers\":{}}\n"
        );
    }

    #[test]
    fn a_delete_and_a_truncate_have_no_row() {
        let mut batch = batch(table(&[("id", Kind::Integer), ("note", Kind::Text)], &[0]));
        let key = pack(&mut batch, &[Value::Text(b"1")]);
        batch.events.push(Event::Row(Row {
            key: Some(key),
            ..row(Operation::Delete)
        }));
        batch.events.push(Event::Truncate {
            table: 0,
            origin: 0,
            ordinal: 13,
            cascade: true,
            restart_identity: false,
        });
        assert_eq!(
            lines_of(&batch, Format::Row),
            concat!(
                "{\"topic\":\"public.t\",\"key\":{\"id\":1},\"value\":null,\"headers\":{}}\n",
                "{\"topic\":\"public.t\",\"key\":null,\"value\":null,",
                "\"headers\":{\"cascade\":\"true\",\"op\":\"truncate\"}}\n"
            )
        );
        let mut out = Vec::new();
        let found = records(&batch, Format::Row, &mut out).unwrap();
        assert_eq!(out, b"{\"id\":1}");
        assert_eq!(
            found,
            [
                Record {
                    table: 0,
                    key: Some(0..8),
                    value: None,
                    headers: &[]
                },
                Record {
                    table: 0,
                    key: None,
                    value: None,
                    headers: &[("cascade", "true"), ("op", "truncate")]
                },
            ]
        );
    }

    #[test]
    fn a_key_that_the_log_did_not_repeat_is_an_error() {
        let mut batch = batch(table(
            &[("id", Kind::Boolean), ("note", Kind::Boolean)],
            &[0],
        ));
        let after = pack(&mut batch, &[Value::Unchanged, Value::Text(b"x")]);
        batch.events.push(Event::Row(Row {
            after: Some(after),
            ..row(Operation::Update)
        }));
        let message = |format| match lines(&batch, format, &mut Vec::new()).unwrap_err() {
            EncodeError::Decode(error) => error.message,
            EncodeError::Protocol(error) => error.message,
        };
        assert_eq!(
            message(Format::Change),
            "the log did not repeat id, part of the key of public.t"
        );
        assert_eq!(
            message(Format::Row),
            "public.t.note: b'x' cannot be JSON: neither t nor f"
        );
    }

    #[test]
    fn a_damaged_row_is_an_error() {
        let mut batch = batch(table(&[("id", Kind::Integer)], &[0]));
        batch.bytes.extend_from_slice(b"t\0\0\0\x09abc");
        let after = Span::new(0, 8);
        batch.events.push(Event::Row(Row {
            after,
            ..row(Operation::Insert)
        }));
        assert!(matches!(
            lines(&batch, Format::Change, &mut Vec::new()),
            Err(EncodeError::Protocol(_))
        ));
    }
}
