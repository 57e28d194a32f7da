//! Arbitrary rows of COPY, in text and in binary format.
//!
//! Invariant: what was read as text, written as COPY reads it, is read as the same rows.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use penstock_fuzz::input::Input;
use penstock_fuzz::shapes::{any_table, encode, projected};
use penstock_wire::batch::{Batch, Event};
use penstock_wire::copy::{Copy, Format};
use penstock_wire::loads::{Item, loads};
use penstock_wire::table::Table;

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
    let mut copy = Copy::new("s", "d", &table, 1, 256, format);
    if let Some(projection) = projection {
        copy.project(projection);
    }
    let Ok(batch) = copy.read(&payloads, true) else {
        return;
    };
    encode(&batch);
    if format == Format::Text {
        assert_eq!(rows(&batch), rows(&again(&batch, &table)));
    }
});

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
