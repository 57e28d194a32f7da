//! Arbitrary packed rows of an arbitrary table to the text that COPY reads: as many lines as rows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_fuzz::input::Input;
use penstock_fuzz::shapes::{any_batch, any_table};
use penstock_wire::loads::{Item, loads};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let least = usize::from(input.byte() % 4);
    let table = any_table(&mut input);
    let columns = table.columns.len();
    let batch = any_batch(table, input.rest());
    let mut out = Vec::new();
    let Ok(items) = loads(&batch, least, &mut out) else {
        return;
    };
    let mut seen = vec![false; batch.events.len()];
    let mut see = |index: usize| assert!(!std::mem::replace(&mut seen[index], true));
    for item in &items {
        match item {
            Item::Event(index) => see(*index),
            Item::Load(load) => {
                load.events.iter().for_each(|index| see(*index));
                let text = &out[load.text.clone()];
                let count = |sign| text.iter().filter(|byte| **byte == sign).count();
                assert_eq!(count(b'\n'), load.events.len());
                assert_eq!(count(b'\t'), load.events.len() * (columns - 1));
            }
        }
    }
});
