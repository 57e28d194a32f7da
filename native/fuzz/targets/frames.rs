//! An arbitrary stream of messages, cut anywhere.
//!
//! Invariant: the same CopyData and the same other messages, however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_fuzz::input::Input;
use penstock_wire::frames::{Messages, payloads};

fuzz_target!(|data: &[u8]| {
    let pieces = Input::new(data).pieces();
    let whole = read(&[pieces.concat().as_slice()]);
    let cut = read(&pieces);
    if let (Some(whole), Some(cut)) = (&whole, &cut) {
        assert_eq!(whole, cut);
    }
    if let Some((copied, _)) = cut {
        payloads(&copied).expect("whole CopyData messages");
    }
});

type Read = (Vec<u8>, Vec<(u8, Vec<u8>)>);

/// All that a stream says; None where it is none.
fn read(pieces: &[&[u8]]) -> Option<Read> {
    let mut messages = Messages::default();
    let (mut copied, mut others) = (Vec::new(), Vec::new());
    for piece in pieces {
        messages.room(piece.len() + 1)[..piece.len()].copy_from_slice(piece);
        messages.push(piece.len()).ok()?;
        while let Some(control) = messages.control().ok()? {
            others.push(control);
        }
        copied.extend(messages.take());
    }
    Some((copied, others))
}
