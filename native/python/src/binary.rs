//! The text of a value in binary, by itself: for the tests that compare both kernels.

use penstock_wire::binary::text;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::{errors, shape};

/// The server's text of a type's send form. Raises ProtocolError for other bytes.
#[pyfunction]
pub fn binary_text<'py>(kind: &Bound<'py, PyAny>, raw: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let py = kind.py();
    let mut out = Vec::new();
    text(&shape::read_type(kind)?, raw, &mut out).map_err(|error| errors::protocol(py, &error))?;
    Ok(PyBytes::new(py, &out))
}
