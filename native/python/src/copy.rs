//! The reader of copied rows, as Python holds it.

use std::sync::Arc;

use penstock_wire::copy::{self, Format};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::batch::Batch;
use crate::errors;
use crate::frames::Frames;
use crate::projection::compiled;
use crate::shape::Shape;

/// Turns one table's copied rows into the batches of its snapshot.
///
/// Parameters
/// ----------
/// stream, attempt: which snapshot it is.
/// at: all that the rows show was committed before.
/// binary: whether the rows come in binary format.
/// first, last: whether it is the first or the last of the tables that are copied now.
/// projection: a `penstock.model.projection.Projection` that makes rows of the shape out of those
///     that come.
#[pyclass(module = "penstock_native")]
pub struct Copy {
    inner: copy::Copy,
    tables: Arc<Vec<Py<PyAny>>>,
}

#[pymethods]
impl Copy {
    #[new]
    #[pyo3(signature = (shape, *, stream, database, attempt, at, binary, first=false, last=false, projection=None))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn new(
        py: Python<'_>,
        shape: &Shape,
        stream: &str,
        database: &str,
        attempt: u32,
        at: u64,
        binary: bool,
        first: bool,
        last: bool,
        projection: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let format = if binary { Format::Binary } else { Format::Text };
        let mut inner = copy::Copy::new(stream, database, &shape.inner, attempt, at, format);
        inner.stands(first, last);
        if let Some(projection) = projection {
            inner.project(compiled(projection)?);
        }
        Ok(Self {
            inner,
            tables: Arc::new(vec![shape.table.clone_ref(py)]),
        })
    }

    /// The rows of a list of payloads, or of Frames. Raises ProtocolError.
    fn read(&mut self, py: Python<'_>, data: &Bound<'_, PyAny>, end: bool) -> PyResult<Batch> {
        let inner = &mut self.inner;
        let batch = if let Ok(frames) = data.cast::<Frames>() {
            let bytes = frames.borrow_mut().take()?;
            py.detach(|| inner.read_messages(bytes, end))
        } else {
            let list: Vec<Bound<'_, PyBytes>> = data.cast::<PyList>()?.extract()?;
            let payloads: Vec<&[u8]> = list.iter().map(|payload| payload.as_bytes()).collect();
            py.detach(|| inner.read(&payloads, end))
        };
        Ok(Batch {
            inner: Arc::new(batch.map_err(|error| errors::protocol(py, &error))?),
            tables: Arc::clone(&self.tables),
        })
    }

    /// How many rows were read.
    #[getter]
    fn rows(&self) -> u64 {
        self.inner.rows()
    }
}
