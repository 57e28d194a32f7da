//! Arbitrary rows of COPY, in text and in binary format.
//!
//! Invariants: what was read as text, written as COPY reads it, is read as the same rows; so are
//! messages as they stand in a stream.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use penstock_fuzz::input::Input;
use penstock_fuzz::shapes::{any_table, encode, projected};
use penstock_wire::batch::{Batch, Event};
use penstock_wire::copy::{Copy, Format};
use penstock_wire::loads::{Item, loads};
use penstock_wire::table::Table;
use penstock_wire::tuple::Value;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let choice = input.byte();
    let table = Arc::new(any_table(&mut input));
    let payloads = input.pieces();
    let format = if choice & 1 == 0 {
        Format::Text
    } else {
        Format::Binary
    };
    let (shown, projection) = projected(&table);
    let (table, projection) = if choice & 2 == 0 {
        (table, None)
    } else {
        (shown, Some(projection))
    };
    let copy = || {
        let mut copy = Copy::new("s", "d", &table, 1, 256, format);
        if let Some(projection) = &projection {
            copy.project(projection.clone());
        }
        copy
    };
    let streamed = copy().read_messages(messages(&payloads), true);
    let Ok(batch) = copy().read(&payloads, true) else {
        assert!(streamed.is_err());
        return;
    };
    let streamed = streamed.expect("the same rows");
    assert_eq!(values(&batch), values(&streamed));
    encode(&batch);
    encode(&streamed);
    if format == Format::Text {
        assert_eq!(rows(&batch), rows(&again(&batch, &table)));
    }
});

/// Payloads as a server sends them.
fn messages(payloads: &[&[u8]]) -> Vec<u8> {
    let mut stream = Vec::new();
    for payload in payloads {
        stream.push(b'd');
        stream.extend_from_slice(&(payload.len() as u32 + 4).to_be_bytes());
        stream.extend_from_slice(payload);
    }
    stream
}

/// The values of all rows.
fn values(batch: &Batch) -> Vec<Value<'_>> {
    let arity = batch.tables[0].columns.len();
    let rows = batch.events.iter().filter_map(|event| match event {
        Event::Row(row) => row.after,
        _ => None,
    });
    rows.flat_map(|row| {
        let mut values = batch.values(row);
        (0..arity).map(move |column| values.next(column, arity).expect("it was read"))
    })
    .collect()
}

/// The rows, through COPY's text.
fn again(batch: &Batch, table: &Arc<Table>) -> Batch {
    let mut out = Vec::new();
    let items = loads(batch, 0, &mut out).expect("rows that came as text");
    let texts = items.iter().filter_map(|item| match item {
        Item::Load(load) => Some(&out[load.text.clone()]),
        Item::Event(_) => None,
    });
    let lines: Vec<&[u8]> = texts
        .flat_map(|text| text.split_inclusive(|byte| *byte == b'\n'))
        .collect();
    Copy::new("s", "d", table, 1, 256, Format::Text)
        .read(&lines, true)
        .expect("what was written is read")
}

fn rows(batch: &Batch) -> Vec<&[u8]> {
    let rows = batch.events.iter().filter_map(|event| match event {
        Event::Row(row) => row.after,
        _ => None,
    });
    rows.map(|row| batch.slice(row)).collect()
}
