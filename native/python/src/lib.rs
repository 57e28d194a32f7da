//! The native kernel as a Python module: a thin layer over `penstock-wire`.

mod arrow;
mod batch;
mod binary;
mod binlog;
mod binlog_values;
mod copy;
mod debezium;
mod decoder;
mod errors;
mod frames;
mod json;
mod loads;
mod messages;
mod objects;
mod projection;
mod shape;
mod spare;

use pyo3::prelude::*;

#[pymodule]
mod penstock_native {
    /// The version of the kernel, which must be the library's own.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    use crate::arrow::RecordBatch;
    #[pymodule_export]
    use crate::batch::Batch;
    #[pymodule_export]
    use crate::binary::binary_text;
    #[pymodule_export]
    use crate::binlog::Binlog;
    #[pymodule_export]
    use crate::copy::Copy;
    #[pymodule_export]
    use crate::debezium::Debezium;
    #[pymodule_export]
    use crate::decoder::Decoder;
    #[pymodule_export]
    use crate::frames::Frames;
    #[pymodule_export]
    use crate::messages::Messages;
    #[pymodule_export]
    use crate::shape::Shape;
}
