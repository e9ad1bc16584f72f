//! An allocator that counts, by thread: how much memory is held, and how often more was asked for.
#![expect(unsafe_code, reason = "an allocator cannot be written without; it hands everything on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// Make it the `#[global_allocator]` of a test.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

fn note(bytes: isize, calls: u64) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
    let _ = CALLS.try_with(|count| count.set(count.get() + calls));
}

// SAFETY: every call is handed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize, 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize, 1);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size as isize - layout.size() as isize, 1);
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(-(layout.size() as isize), 0);
        unsafe { System.dealloc(at, layout) }
    }
}

/// Bytes that this thread has allocated and not freed. What it freed of other threads' counts against it.
#[must_use]
pub fn held() -> isize {
    HELD.with(Cell::get)
}

/// How often this thread has allocated, or made an allocation larger or smaller.
#[must_use]
pub fn calls() -> u64 {
    CALLS.with(Cell::get)
}
