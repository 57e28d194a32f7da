//! Runs of new rows as the text that PostgreSQL's COPY reads; the readable reference is Python's
//! `penstock.model.loads`.

use std::mem;
use std::ops::Range;

use crate::batch::{Batch, Event, Operation, Row};
use crate::error::ProtocolError;
use crate::exact;
use crate::scan;
use crate::tuple::Value;

/// What a target that can COPY takes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event that is in no load, by its index.
    Event(usize),
    Load(Load),
}

/// New rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Index into the batch's tables.
    pub table: u32,
    /// Whether a snapshot read them; else they were inserted.
    pub read: bool,
    /// The indexes of the rows' events.
    pub events: Vec<usize>,
    /// Where the rows were written.
    pub text: Range<usize>,
}

/// The loads of at least `least` rows, and all other events that matter to a target, in the order to
/// take them in. The rows are appended to `out`.
pub fn loads(batch: &Batch, least: usize, out: &mut Vec<u8>) -> Result<Vec<Item>, ProtocolError> {
    let mut packer = Packer {
        batch,
        least,
        runs: Vec::new(),
        objects: false,
        items: Vec::new(),
        out,
    };
    packer.runs.resize_with(batch.tables.len(), Run::default);
    for (index, event) in batch.events.iter().enumerate() {
        packer.take(index, event)?;
    }
    packer.close_all()?;
    Ok(packer.items)
}

/// New rows of one table that follow each other; none, where it is not begun.
#[derive(Debug, Clone, Default)]
struct Run {
    read: bool,
    events: Vec<usize>,
}

struct Packer<'a, 'o> {
    batch: &'a Batch,
    least: usize,
    /// By table.
    runs: Vec<Run>,
    /// Whether a change was given as an event since the last end of a transaction.
    objects: bool,
    items: Vec<Item>,
    out: &'o mut Vec<u8>,
}

impl Packer<'_, '_> {
    fn take(&mut self, index: usize, event: &Event) -> Result<(), ProtocolError> {
        match *event {
            Event::Row(Row {
                operation, table, ..
            }) => {
                let read = operation == Operation::Read;
                if !read && operation != Operation::Insert {
                    return self.give(index, table);
                }
                if self
                    .runs
                    .get(table as usize)
                    .is_some_and(|run| run.read != read)
                {
                    self.close(table)?;
                }
                if let Some(run) = self.runs.get_mut(table as usize) {
                    run.read = read;
                    run.events.push(index);
                }
            }
            Event::Truncate { table, .. } => self.give(index, table)?,
            Event::End { .. } => {
                if mem::take(&mut self.objects) {
                    self.items.push(Item::Event(index));
                }
            }
            Event::Begin { .. } | Event::Message(_) => {}
            Event::Schema { .. } | Event::SnapshotBegin { .. } | Event::SnapshotEnd { .. } => {
                self.close_all()?;
                self.items.push(Item::Event(index));
            }
        }
        Ok(())
    }

    fn give(&mut self, index: usize, table: u32) -> Result<(), ProtocolError> {
        self.close(table)?;
        self.objects = true;
        self.items.push(Item::Event(index));
        Ok(())
    }

    /// End all runs, in the order in which they were begun.
    fn close_all(&mut self) -> Result<(), ProtocolError> {
        let first = |(table, run): (usize, &Run)| Some((*run.events.first()?, table as u32));
        let mut begun: Vec<_> = self.runs.iter().enumerate().filter_map(first).collect();
        begun.sort_unstable();
        begun
            .into_iter()
            .try_for_each(|(_, table)| self.close(table))
    }

    /// End a table's run, as a load where that pays and can be.
    fn close(&mut self, table: u32) -> Result<(), ProtocolError> {
        let Some(run) = self.runs.get_mut(table as usize) else {
            return Ok(());
        };
        let Run { read, events } = mem::take(run);
        if events.is_empty() {
            return Ok(());
        }
        let begin = self.out.len();
        if events.len() >= self.least && self.write(&events)? {
            let text = begin..self.out.len();
            self.items.push(Item::Load(Load {
                table,
                read,
                events,
                text,
            }));
        } else {
            self.out.truncate(begin);
            self.objects = true;
            self.items.extend(events.into_iter().map(Item::Event));
        }
        Ok(())
    }

    /// Append the text of rows; false where one has no text.
    fn write(&mut self, events: &[usize]) -> Result<bool, ProtocolError> {
        let mut scratch = Vec::new();
        for &index in events {
            let Some(Event::Row(row)) = self.batch.events.get(index) else {
                return Ok(false);
            };
            if !write_row(self.batch, row, &mut scratch, self.out)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Append a row's text; false where a value is UNCHANGED.
fn write_row(
    batch: &Batch,
    row: &Row,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<bool, ProtocolError> {
    let (Some(table), Some(after)) = (batch.tables.get(row.table as usize), row.after) else {
        return Ok(false);
    };
    let arity = table.columns.len();
    let mut values = batch.values(after);
    for i in 0..arity {
        if i > 0 {
            out.push(b'\t');
        }
        match values.next(i, arity)? {
            Value::Text(text) => escape(text, out),
            Value::Binary(bytes) => escape(exact::text(table, i, bytes, scratch)?, out),
            Value::Null => out.extend_from_slice(b"\\N"),
            Value::Unchanged => return Ok(false),
        }
    }
    out.push(b'\n');
    Ok(true)
}

fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let plain = scan::first(text, |word| {
            scan::below(b'\r' + 1, word) | scan::equal(b'\\', word)
        });
        let (plain, rest) = text.split_at(plain);
        out.extend_from_slice(plain);
        let Some((&byte, rest)) = rest.split_first() else {
            return;
        };
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.push(byte),
        }
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::batch::Span;
    use crate::table::{Column, Kind, Table, Type};

    fn batch() -> Batch {
        let kind = Type {
            oid: 25,
            base: 25,
            modifier: -1,
            kind: Kind::Text,
            element: None,
        };
        let column = |name: &str| Column {
            name: name.to_owned(),
            kind: kind.clone(),
        };
        let mut batch = Batch::new("main".into(), "shop".into());
        for handle in 0..2 {
            batch.table(&Arc::new(Table {
                handle,
                oid: handle,
                text: format!("public.t{handle}"),
                columns: vec![column("a"), column("b")],
                key: vec![0],
            }));
        }
        batch
    }

    fn row(batch: &mut Batch, operation: Operation, table: u32, values: [Value<'_>; 2]) {
        let start = batch.bytes.len();
        for value in values {
            value.pack(&mut batch.bytes);
        }
        batch.events.push(Event::Row(Row {
            operation,
            table,
            origin: 0,
            ordinal: 0,
            before: None,
            after: Span::new(start, batch.bytes.len()),
            key: None,
            old_key: None,
        }));
    }

    fn load(table: u32, events: &[usize], text: Range<usize>) -> Item {
        Item::Load(Load {
            table,
            read: false,
            events: events.to_vec(),
            text,
        })
    }

    #[test]
    fn signs_of_the_format_are_escaped() {
        let mut batch = batch();
        let all = Value::Text(b"\\.\t\n\r\x08\x0b\0a longer text");
        row(&mut batch, Operation::Insert, 0, [all, Value::Null]);
        let mut out = Vec::new();
        loads(&batch, 1, &mut out).unwrap();
        assert_eq!(out, b"\\\\.\\t\\n\\r\x08\x0b\0a longer text\t\\N\n");
    }

    #[test]
    fn runs_of_each_table_end_at_its_other_changes() {
        let mut batch = batch();
        let values = [Value::Text(b"1"), Value::Text(b"2")];
        for (table, operation) in [
            (0, Operation::Insert),
            (1, Operation::Insert),
            (0, Operation::Insert),
            (1, Operation::Update),
            (0, Operation::Insert),
        ] {
            row(&mut batch, operation, table, values);
        }
        batch.events.push(Event::End {
            origin: 0,
            from: 0,
            counts: 0,
        });
        batch.events.push(Event::End {
            origin: 0,
            from: 0,
            counts: 0,
        });
        assert_eq!(
            loads(&batch, 2, &mut Vec::new()).unwrap(),
            [
                Item::Event(1),
                Item::Event(3),
                Item::Event(5),
                load(0, &[0, 2, 4], 0..12)
            ]
        );
    }

    #[test]
    fn a_new_shape_comes_after_all_before_it() {
        let mut batch = batch();
        let values = [Value::Text(b"1"), Value::Text(b"2")];
        row(&mut batch, Operation::Insert, 1, values);
        row(&mut batch, Operation::Insert, 0, values);
        batch.events.push(Event::Schema {
            before: None,
            after: 0,
        });
        row(&mut batch, Operation::Insert, 0, values);
        assert_eq!(
            loads(&batch, 1, &mut Vec::new()).unwrap(),
            [
                load(1, &[0], 0..4),
                load(0, &[1], 4..8),
                Item::Event(2),
                load(0, &[3], 8..12)
            ]
        );
    }

    #[test]
    fn rows_without_a_text_are_no_load() {
        let mut batch = batch();
        let known = [Value::Text(b"1"), Value::Text(b"2")];
        row(&mut batch, Operation::Insert, 0, known);
        row(
            &mut batch,
            Operation::Insert,
            0,
            [Value::Text(b"1"), Value::Unchanged],
        );
        row(&mut batch, Operation::Read, 0, known);
        let mut out = Vec::new();
        let found = loads(&batch, 1, &mut out).unwrap();
        assert_eq!(out, b"1\t2\n");
        assert_eq!(found[..2], [Item::Event(0), Item::Event(1)]);
        assert!(matches!(&found[2], Item::Load(Load { read: true, .. })));
    }
}
