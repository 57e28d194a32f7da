//! Memory that one call after the other writes into.
//!
//! Megabytes that are allocated and freed for each batch go back to the operating system each time,
//! and its giving them again, page by page, costs more than writing them.

use std::cell::Cell;

/// What a thread keeps at most, in bytes.
const KEPT: usize = 16 << 20;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Do what writes into memory that nobody needs afterwards.
pub fn with<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut bytes = SPARE.take();
    bytes.clear();
    let made = work(&mut bytes);
    if bytes.capacity() <= KEPT {
        SPARE.set(bytes);
    }
    made
}
