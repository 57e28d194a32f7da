//! What the fuzz targets share: a limit on memory, and shapes made of the fuzzer's bytes.

mod bounded;
pub mod input;
pub mod shapes;
pub mod types;

#[global_allocator]
static MEMORY: bounded::Bounded = bounded::Bounded;
