//! The messages of a stream, as Python holds them.

use penstock_wire::frames;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors;

/// What arrived of a server's stream: CopyData messages, and others between them.
#[pyclass(module = "penstock_native")]
#[derive(Default)]
pub struct Messages {
    inner: frames::Messages,
}

#[pymethods]
impl Messages {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Add what arrived. Raises ProtocolError.
    fn push(&mut self, py: Python<'_>, bytes: &Bound<'_, PyBytes>) -> PyResult<()> {
        let pushed = self.inner.push(bytes.as_bytes());
        pushed.map_err(|error| errors::protocol(py, &error))
    }

    /// Bytes of whole CopyData messages that stand before any other.
    #[getter]
    fn size(&self) -> usize {
        self.inner.copied().len()
    }

    /// Of a log: the position that the last of these messages begins with, behind its letter (0 where
    /// there is none), and the keepalives among them.
    fn heard<'py>(&self, py: Python<'py>) -> PyResult<(u64, Vec<Bound<'py, PyBytes>>)> {
        let heard = self.inner.heard();
        let (position, keepalives) = heard.map_err(|error| errors::protocol(py, &error))?;
        let keepalives = keepalives.into_iter().map(|one| PyBytes::new(py, one));
        Ok((position, keepalives.collect()))
    }

    /// Take these messages.
    fn take<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let copied = PyBytes::new(py, self.inner.copied());
        self.inner.discard();
        copied
    }

    /// Take the message that follows them, by its letter and payload; None where it is not all
    /// there. Raises ProtocolError.
    fn control<'py>(&mut self, py: Python<'py>) -> PyResult<Option<(u8, Bound<'py, PyBytes>)>> {
        let control = self.inner.control();
        let control = control.map_err(|error| errors::protocol(py, &error))?;
        Ok(control.map(|(letter, payload)| (letter, PyBytes::new(py, &payload))))
    }

    /// Whether nothing follows the CopyData messages.
    #[getter]
    fn whole(&self) -> bool {
        self.inner.is_whole()
    }
}
