//! The native kernel as a Python module: a thin layer over `penstock-wire`.

use pyo3::prelude::*;

#[pymodule]
mod penstock_native {
    /// The version of the kernel, which must be the library's own.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
