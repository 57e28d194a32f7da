//! Arbitrary events to the decoder of the binlog, with tables of arbitrary columns; what it decodes
//! goes through every encoder.
//!
//! Invariant: one call with all events, and one call for each, give the same events, and an event
//! that is left changes nothing.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use penstock_fuzz::input::Input;
use penstock_fuzz::shapes::encode;
use penstock_wire::batch::{Batch, Fact};
use penstock_wire::binlog::decoder::Decoder;
use penstock_wire::binlog::field::Field;
use penstock_wire::binlog::number::Decimal;
use penstock_wire::binlog::rows::Reader;
use penstock_wire::binlog::state::{Layout, Reading};
use penstock_wire::table::{Column, Kind, Table, Type};

const HEADER: usize = 19;
const TABLE_MAP: u8 = 19;
/// The types of events that are most worth it.
const KINDS: [u8; 16] = [
    2, 16, TABLE_MAP, TABLE_MAP, 23, 24, 25, 30, 31, 32, 33, 34, 162, 162, 3, 4,
];

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let choice = input.byte();
    let table = Described::any(&mut input);
    let events: Vec<Vec<u8>> = input.pieces().into_iter().map(event).collect();
    let at_once = read(choice, &table, &[&events[..]]);
    let one_by_one: Vec<&[Vec<u8>]> = events.chunks(1).collect();
    let one_by_one = read(choice, &table, &one_by_one);
    assert_eq!(told(&at_once), told(&one_by_one));
    at_once.iter().for_each(encode);
});

/// An event of the bytes behind its type.
fn event(piece: &[u8]) -> Vec<u8> {
    let (kind, body) = piece.split_first().unwrap_or((&0, &[]));
    let size = (HEADER + body.len()) as u32;
    let mut event = vec![
        1,
        0,
        0,
        0,
        KINDS[usize::from(*kind) % KINDS.len()],
        1,
        0,
        0,
        0,
    ];
    event.extend_from_slice(&size.to_le_bytes());
    event.extend_from_slice(&[9, 0, 0, 0, 0, 0]);
    event.extend_from_slice(body);
    event
}

/// How the rows of all tables are read.
struct Described {
    table: Arc<Table>,
    fields: Vec<Field>,
    key: Vec<usize>,
}

impl Described {
    fn any(input: &mut Input<'_>) -> Self {
        let count = input.byte() % 6;
        let (fields, kinds): (Vec<_>, Vec<_>) = (0..count).map(|_| field(input)).unzip();
        let column = |(i, kind): (usize, Kind)| Column {
            name: format!("c{i}"),
            kind: Type {
                oid: 0,
                base: 0,
                modifier: -1,
                kind,
                element: None,
            },
        };
        let key = Some(usize::from(input.byte()) % 8).filter(|key| *key < fields.len());
        let key: Vec<usize> = key.into_iter().collect();
        Self {
            table: Arc::new(Table {
                handle: 1,
                oid: 0,
                text: "d.t".to_owned(),
                columns: kinds.into_iter().enumerate().map(column).collect(),
                key: key.clone(),
            }),
            fields,
            key,
        }
    }
}

fn field(input: &mut Input<'_>) -> (Field, Kind) {
    let (which, size) = (input.byte(), usize::from(input.byte()));
    let prefix = 1 + size % 4;
    let digits = size % 7;
    let labels = vec![b"a".to_vec(), Vec::new(), "ä".as_bytes().to_vec()];
    match which % 16 {
        0 => {
            let unsigned = size & 8 != 0;
            let size = 1 + size % 8;
            (Field::Integer { size, unsigned }, Kind::Integer)
        }
        1 => (Field::Float, Kind::Float),
        2 => (Field::Double, Kind::Float),
        3 => {
            let decimal = Decimal::new(1 + size % 65, size / 65 * 9);
            (decimal.map_or(Field::Year, Field::Decimal), Kind::Numeric)
        }
        4 => (Field::Date, Kind::Date),
        5 => (Field::Timestamp { digits }, Kind::TimestampTz),
        6 => (Field::DateTime { digits }, Kind::Timestamp),
        7 => (Field::Time { digits }, Kind::Interval),
        8 => (Field::Text { prefix }, Kind::Text),
        9 => {
            let characters = (0..=255u8).map(|byte| vec![byte % 128]).collect();
            let ascii = size & 4 != 0;
            let single = Field::Single {
                prefix,
                ascii,
                characters,
            };
            (single, Kind::Text)
        }
        10 => (Field::Bytes { prefix, size }, Kind::Bytes),
        11 => (Field::Bit { size: 1 + size % 8 }, Kind::Bytes),
        12 => (
            Field::Enum {
                size: 1 + size % 2,
                labels,
            },
            Kind::Enum,
        ),
        13 => (
            Field::Set {
                size: 1 + size % 8,
                labels,
            },
            Kind::Text,
        ),
        14 => (Field::Json { prefix }, Kind::Json),
        _ => (Field::Uuid, Kind::Text),
    }
}

/// Feed chunks of events, telling what tables are, until all is read.
fn read(choice: u8, described: &Described, chunks: &[&[Vec<u8>]]) -> Vec<Batch> {
    let facts = vec![(Arc::from("type"), Fact::Text(Arc::from("mysql")))];
    let max_bytes = if choice & 1 == 0 { 1 << 20 } else { 256 };
    let mut decoder = Decoder::new(facts, max_bytes, choice & 2 != 0, choice & 8 == 0);
    let mut batches = Vec::new();
    for events in chunks {
        let mut rest = *events;
        while !rest.is_empty() {
            let used = decoder.decode(rest.iter().map(Vec::as_slice), choice & 4 != 0);
            let ready = decoder.assembly.take();
            rest = &rest[used..];
            let left = ready.is_empty();
            batches.extend(ready);
            if let (true, Some((event, behind))) = (left, rest.split_first()) {
                learn(&mut decoder, described, event);
                rest = behind;
            }
        }
    }
    decoder.assembly.close_all();
    batches.extend(decoder.assembly.take());
    batches
}

/// What the reference would do with an event that was left, as far as it is about tables.
fn learn(decoder: &mut Decoder, described: &Described, event: &[u8]) {
    let (Some(&TABLE_MAP), Some(number), Some(description)) = (
        event.get(4),
        event.get(HEADER..HEADER + 6),
        event.get(HEADER + 8..),
    ) else {
        return;
    };
    let Described { table, fields, key } = described;
    let layout = match description.first() {
        Some(0) => Layout::Unwanted,
        Some(1) => Layout::Left,
        _ => {
            let rows = Reader::new(fields.clone(), key.clone(), None);
            Layout::Rows(Box::new(Reading::new(table, rows)))
        }
    };
    let id = decoder.learn(description, layout);
    decoder.make_current(None, Some(id));
    let number = number.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
    decoder.describe(number, id);
}

/// What batches say, however they are cut.
fn told(batches: &[Batch]) -> Vec<String> {
    let mut told = Vec::new();
    for batch in batches {
        for event in &batch.events {
            use penstock_wire::batch::Event::{Begin, End, Row};
            told.push(match event {
                Row(row) => {
                    let spans = [row.before, row.after, row.key, row.old_key];
                    let rows = spans.map(|span| span.map(|span| batch.slice(span)));
                    let origin = &batch.origins[row.origin as usize];
                    format!("{origin:?}:{} {:?} {rows:?}", row.ordinal, row.operation)
                }
                Begin { origin } => format!("begin {:?}", batch.origins[*origin as usize]),
                End {
                    origin,
                    from,
                    counts,
                } => {
                    let counts = &batch.counts[*from as usize..][..*counts as usize];
                    let counts: Vec<u64> = counts.iter().map(|(_, count)| *count).collect();
                    format!("end {:?} {counts:?}", batch.origins[*origin as usize])
                }
                other => format!("{other:?}"),
            });
        }
    }
    told
}
