//! Arbitrary packed rows of an arbitrary table to records of the format `debezium`: their parts lie
//! in the bytes, whatever pieces they are made in.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use penstock_fuzz::input::Input;
use penstock_fuzz::shapes::{any_batch, any_table};
use penstock_wire::debezium::{Code, Column, Encoder, Item, Plan, Settings};
use penstock_wire::table::Table;

const CODES: &[&str] = &[
    "plain",
    "boolean",
    "float",
    "text",
    "decimal 2",
    "decimal 2047",
    "variable",
    "decimal_text 3",
    "money 2",
    "days",
    "time 1000",
    "timestamp 1000000",
    "timestamp 1",
    "zoned 6",
    "zoned 0",
    "timetz",
    "interval",
    "bytes",
    "bytes_url",
    "bytes_hex",
    "bit",
    "bits",
    "array text",
    "array decimal 1",
];

fn plan(table: &Table, input: &mut Input<'_>) -> Plan {
    let column = |index| Column {
        index,
        head: b"\"c\":".to_vec(),
        null: b"null".to_vec(),
        missing: b"0".to_vec(),
        unavailable: (input.byte() & 1 == 1).then(|| b"\"gone\"".to_vec()),
        code: Code::parse(CODES[usize::from(input.byte()) % CODES.len()]).expect("a code"),
    };
    Plan {
        key: (b"<".to_vec(), b">".to_vec()),
        value: (Vec::new(), Vec::new()),
        source: b",\"schema\":".to_vec(),
        columns: (0..table.columns.len()).map(column).collect(),
        key_columns: table.key.clone(),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let table = any_table(&mut input);
    let plan = Some(Arc::new(plan(&table, &mut input)));
    let batch = Arc::new(any_batch(table, input.rest()));
    let settings = Arc::new(Settings {
        tombstones: true,
        ..Settings::default()
    });
    let run = |size: usize| {
        let plans = vec![plan.clone(); batch.tables.len()];
        let mut encoder = Encoder::new(Arc::clone(&batch), Arc::clone(&settings), plans, 1);
        let mut made = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let items = match encoder.some(size, &mut bytes) {
                Ok(items) if items.is_empty() => return Ok(made),
                Ok(items) => items,
                Err(error) => return Err(error),
            };
            for item in items {
                match item {
                    Item::Event(index) => made.push((index.to_string().into_bytes(), None)),
                    Item::Record(record) => {
                        let part = |range: std::ops::Range<usize>| {
                            bytes
                                .get(range)
                                .expect("a record lies in its bytes")
                                .to_vec()
                        };
                        made.push((
                            record.key.map(part).unwrap_or_default(),
                            record.value.map(part),
                        ));
                    }
                }
            }
        }
    };
    assert_eq!(run(1), run(usize::MAX));
});
