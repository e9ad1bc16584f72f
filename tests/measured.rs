//! What counts memory. Apart from the others because it has an allocator of its own, which counts by thread.

mod allocations;
mod hostile;
mod memory;

use rtmfp_tests::counting::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
