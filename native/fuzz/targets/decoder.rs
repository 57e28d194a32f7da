//! Arbitrary payloads to the decoder of the log, with relations described as they are announced
//! (or skipped, or described as another); what it decodes goes through every encoder.
//!
//! Invariant: one call with all payloads, and one call for each, give the same events.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use penstock_fuzz::input::Input;
use penstock_fuzz::shapes::{announced, encode, projected};
use penstock_wire::batch::{Batch, Event};
use penstock_wire::decoder::{Decoder, Settings};
use penstock_wire::error::ProtocolError;
use penstock_wire::table::Table;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let choice = input.byte();
    let payloads = input.pieces();
    let at_once = read(choice, [&payloads[..]].into_iter());
    let one_by_one = read(choice, payloads.chunks(1));
    match (at_once, one_by_one) {
        (Ok(at_once), Ok(one_by_one)) => {
            assert_eq!(told(&at_once), told(&one_by_one));
            at_once.iter().for_each(encode);
        }
        (Err(one), Err(other)) => assert_eq!(one, other),
        (one, other) => panic!("{one:?} but {other:?}"),
    }
});

/// Feed chunks of payloads, telling what tables are, until all is read.
fn read<'a>(
    choice: u8,
    chunks: impl Iterator<Item = &'a [&'a [u8]]>,
) -> Result<Vec<Batch>, ProtocolError> {
    let mut decoder = Decoder::new(Settings {
        database: "d".to_owned(),
        messages: (choice & 2 != 0).then(|| vec!["audit".to_owned()]),
        max_bytes: if choice & 4 == 0 { 1 << 20 } else { 256 },
        binary: choice & 1 != 0,
    });
    let mut known: Vec<Arc<Table>> = Vec::new();
    let mut batches = Vec::new();
    for mut chunk in chunks {
        loop {
            let used = decoder.decode(chunk.iter().copied())?;
            chunk = &chunk[used..];
            for message in decoder.announced() {
                known.extend(announced(&message, known.len() as u32).map(Arc::new));
            }
            let Some(oid) = decoder.needs() else {
                break;
            };
            match known.iter().rev().find(|table| table.oid == oid) {
                Some(table) if choice & 8 == 0 || oid % 2 == 0 => {
                    if choice & 16 != 0 {
                        decoder.announce(None, table);
                    }
                    // Now and then it is told to be what another relation is.
                    let table = if choice & 32 == 0 { table } else { &known[0] };
                    if choice & 64 == 0 {
                        decoder.read(oid, table, None);
                    } else {
                        let (table, projection) = projected(table);
                        decoder.read(oid, &table, Some(projection));
                    }
                }
                _ => decoder.skip(oid),
            }
        }
        assert!(
            chunk.is_empty(),
            "a payload was left though nothing is needed"
        );
        batches.extend(decoder.take());
    }
    Ok(batches)
}

/// What the batches tell, however they are cut: each row's place, operation and values.
fn told(batches: &[Batch]) -> Vec<String> {
    let events = batches.iter().flat_map(|batch| {
        let rows = batch.events.iter().filter_map(|event| match event {
            Event::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| {
            let origin = &batch.origins[row.origin as usize];
            let table = &batch.tables[row.table as usize];
            let images = [row.before, row.after, row.key, row.old_key]
                .map(|image| image.map(|span| batch.slice(span)));
            format!(
                "{origin}:{} {} {:?} {images:?}",
                row.ordinal, table.handle, row.operation
            )
        })
    });
    events.collect()
}
