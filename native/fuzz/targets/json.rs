//! Arbitrary packed rows of an arbitrary table to JSON; lines and records say the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_fuzz::input::Input;
use penstock_fuzz::shapes::{any_batch, any_table};
use penstock_wire::json_lines::{Format, lines, records};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let table = any_table(&mut input);
    let batch = any_batch(table, input.rest());
    for format in [Format::Change, Format::Row] {
        let (mut found, mut parts) = (Vec::new(), Vec::new());
        let lines = lines(&batch, format, &mut found);
        let records = records(&batch, format, &mut parts);
        match (lines, records) {
            (Ok(()), Ok(records)) => {
                let mut expected = Vec::new();
                let part = |range| parts.get(range).expect("a record lies in its bytes");
                for record in &records {
                    let key = record.key.clone().map_or(&b"null"[..], part);
                    let value = record.value.clone().map_or(&b"null"[..], part);
                    for piece in [
                        b"{\"topic\":\"public.t\",\"key\":",
                        key,
                        b",\"value\":",
                        value,
                    ] {
                        expected.extend_from_slice(piece);
                    }
                    expected.extend_from_slice(b",\"headers\":{}}\n");
                }
                assert_eq!(expected, found);
            }
            (Err(one), Err(other)) => assert_eq!(one, other),
            (lines, records) => panic!("{:?} but {:?}", lines.err(), records.err()),
        }
    }
});
