//! Arbitrary send forms of every type: a text or an error, and nothing appended on an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_fuzz::input::Input;
use penstock_fuzz::shapes::any_type;
use penstock_wire::binary;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let kind = any_type(&mut input);
    let raw = input.rest();
    let mut text = b"before".to_vec();
    match binary::text(&kind, raw, &mut text) {
        Ok(()) => assert!(binary::supports(&kind) && text.starts_with(b"before")),
        Err(_) => assert_eq!(text, b"before"),
    }
});
