//! Arbitrary packed rows of an arbitrary table to Arrow, with columns of the type that penstock
//! chooses for each or of any other; the arrays are what Arrow's own full validation accepts.
#![no_main]

use std::sync::Arc;

use arrow_array::Array;
use libfuzzer_sys::fuzz_target;
use penstock_fuzz::input::Input;
use penstock_fuzz::shapes::{any_batch, any_table};
use penstock_fuzz::types::{any_type, schema, usual};
use penstock_wire::arrow::{heights, record_batches};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let table = any_table(&mut input);
    let types = table.columns.iter().map(|column| match input.byte() {
        0 => usual(&column.kind),
        choice => any_type(choice),
    });
    let schema = Arc::new(schema(&table, types.collect()));
    let batch = any_batch(table, input.rest());
    let heights = heights(&batch);
    let tables = heights.iter().map(|height| (*height, Arc::clone(&schema)));
    let Ok(built) = record_batches(&batch, tables) else {
        return;
    };
    assert_eq!(built.len(), heights.len());
    for (record_batch, height) in built.iter().zip(heights) {
        assert_eq!(record_batch.num_rows(), height.rows);
        for column in record_batch.columns() {
            column.to_data().validate_full().expect("a valid array");
        }
    }
});
