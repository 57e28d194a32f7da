//! penstock's own exceptions for the kernel's errors.

use penstock_wire::error::{DecodeError, ProtocolError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The exception of a [`ProtocolError`].
pub fn protocol(py: Python<'_>, error: &ProtocolError) -> PyErr {
    raise(py, "ProtocolError", &error.message, |keywords| {
        keywords.set_item("offset", error.offset)?;
        keywords.set_item("hint", error.hint)?;
        keywords.set_item("table", error.table.as_deref())
    })
}

/// The exception of a [`DecodeError`].
pub fn decode(py: Python<'_>, error: &DecodeError) -> PyErr {
    raise(py, "DecodeError", &error.message, |keywords| {
        keywords.set_item("hint", &error.hint)?;
        keywords.set_item("table", &error.table)
    })
}

fn raise(
    py: Python<'_>,
    class: &str,
    message: &str,
    fill: impl FnOnce(&Bound<'_, PyDict>) -> PyResult<()>,
) -> PyErr {
    let make = || {
        let keywords = PyDict::new(py);
        fill(&keywords)?;
        py.import("penstock.errors")?
            .getattr(class)?
            .call((message,), Some(&keywords))
    };
    make().map_or_else(|error| error, PyErr::from_value)
}
