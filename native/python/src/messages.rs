//! The messages of a stream, as Python holds them.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;

use penstock_wire::frames;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors;
use crate::frames::Frames;

/// What arrived of a server's stream: CopyData messages, and others between them.
#[pyclass(module = "penstock_native")]
#[derive(Default)]
pub struct Messages {
    inner: frames::Messages,
}

/// What is received at least where there is so much.
const LEAST: usize = 32 << 10;

#[pymethods]
impl Messages {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Add what a socket has, which does not block, until about `enough` bytes are here: how many
    /// there were, None for nothing, 0 at its end. Raises OSError, ProtocolError.
    fn receive(
        &mut self,
        py: Python<'_>,
        socket: &Bound<'_, PyAny>,
        enough: usize,
    ) -> PyResult<Option<usize>> {
        let descriptor: i32 = socket.call_method0("fileno")?.extract()?;
        if descriptor < 0 {
            return Err(io::Error::from(ErrorKind::NotConnected).into());
        }
        // SAFETY: the socket is open, and its descriptor stays its own: it is not closed here.
        let file = ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) });
        let inner = &mut self.inner;
        let most = enough.saturating_add(LEAST).saturating_sub(inner.len());
        let room = inner.room(most.max(LEAST));
        let received = py.detach(|| {
            loop {
                match (&*file).read(room) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    received => return received,
                }
            }
        });
        match received {
            Ok(size) => {
                inner
                    .push(size)
                    .map_err(|error| errors::protocol(py, &error))?;
                Ok(Some(size))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
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
    fn take(&mut self) -> Frames {
        Frames::of(self.inner.take())
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
