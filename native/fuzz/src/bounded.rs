//! An allocator that refuses more than any input of the fuzzer can be worth.
//!
//! A length that nobody checked asks for gigabytes, and where the system lends them without a
//! word, only memory never touched. Refused, it is an abort, and the fuzzer keeps the input.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// At most so much at once. An input has 16 KiB; what is made of it is some times larger.
const LIMIT: usize = 64 << 20;

/// Bytes that are allocated now.
static LIVE: AtomicUsize = AtomicUsize::new(0);

pub struct Bounded;

// SAFETY: every call goes to the system's allocator, or answers that there is no memory.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if LIVE.fetch_add(layout.size(), Relaxed) + layout.size() > LIMIT {
            LIVE.fetch_sub(layout.size(), Relaxed);
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's own layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the block came from `alloc` with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}
