//! CopyData messages as they stand in a stream, on their way from a socket to a decoder.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Whole CopyData messages. Who reads them takes their bytes away, which spares a copy.
#[pyclass(module = "penstock_native")]
pub struct Frames {
    bytes: Option<Vec<u8>>,
}

impl Frames {
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { bytes: Some(bytes) }
    }

    pub fn take(&mut self) -> PyResult<Vec<u8>> {
        self.bytes.take().ok_or_else(gone)
    }

    fn get(&self) -> PyResult<&Vec<u8>> {
        self.bytes.as_ref().ok_or_else(gone)
    }
}

fn gone() -> PyErr {
    PyValueError::new_err("these messages were read before")
}

#[pymethods]
impl Frames {
    #[new]
    fn new(bytes: &Bound<'_, PyBytes>) -> Self {
        Self::of(bytes.as_bytes().to_vec())
    }

    fn __len__(&self) -> PyResult<usize> {
        self.get().map(Vec::len)
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.get().map(|bytes| PyBytes::new(py, bytes))
    }

    /// Add the messages that follow these, and take them away there.
    fn extend(&mut self, next: &mut Self) -> PyResult<()> {
        let bytes = self.bytes.as_mut().ok_or_else(gone)?;
        bytes.append(&mut next.take()?);
        Ok(())
    }
}
