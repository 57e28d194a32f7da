//! A packed batch, as Python holds it.

use std::sync::Arc;

use penstock_wire::batch;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyList};

use crate::arrow;
use crate::debezium::Debezium;
use crate::objects::Events;
use crate::{json, loads};

/// Events of one stream, packed. `penstock.model.PackedBatch` is its face.
#[pyclass(frozen, module = "penstock_native")]
pub struct Batch {
    pub inner: Arc<batch::Batch>,
    /// The `penstock.model.Table` of each of the batch's tables.
    pub tables: Arc<Vec<Py<PyAny>>>,
}

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.inner.events.len()
    }

    /// The events as objects, made one by one.
    fn __iter__(slf: Bound<'_, Self>) -> PyResult<Events> {
        Events::new(slf.py(), slf.get())
    }

    /// The stream's name.
    #[getter]
    fn stream(&self) -> &str {
        &self.inner.stream
    }

    /// How many changes it holds.
    #[getter]
    fn changes(&self) -> usize {
        self.inner.changes()
    }

    /// When the last transaction that it shows was committed, in µs since 1970.
    #[getter]
    fn committed_us(&self) -> Option<i64> {
        self.inner.committed_us()
    }

    /// The last mark: its transaction part and ordinal.
    #[getter]
    fn last(&self) -> Option<(String, u64)> {
        self.inner.last()
    }

    /// Where reading may start again after it; None inside a transaction.
    #[getter]
    fn position(&self) -> Option<u64> {
        self.inner.position
    }

    /// The records of a format (by its name here) as JSON lines.
    fn lines<'py>(&self, py: Python<'py>, format: &str) -> PyResult<Bound<'py, PyBytes>> {
        json::lines(py, &self.inner, format)
    }

    /// The records of a format, by its name here or its encoder, as tuples
    /// `(topic, key, value, headers)`.
    fn records<'py>(
        &self,
        py: Python<'py>,
        format: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(encoder) = format.cast::<Debezium>() {
            let records = encoder.borrow_mut().records(py, self)?;
            return Ok(Bound::new(py, records)?.into_any());
        }
        json::records(py, &self.inner, &format.extract::<PyBackedStr>()?).map(Bound::into_any)
    }

    /// What a target that can COPY takes (`penstock.model.Batch.loads`).
    fn loads<'py>(&self, py: Python<'py>, least: usize) -> PyResult<Bound<'py, PyList>> {
        loads::loads(py, self, least)
    }

    /// Size in wire bytes.
    #[getter]
    fn size(&self) -> usize {
        self.inner.size
    }

    /// The changes as Arrow record batches, one per table; `schema` gives a table's pyarrow schema.
    fn to_arrow(
        &self,
        py: Python<'_>,
        schema: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<arrow::RecordBatch>> {
        arrow::to_arrow(py, self, schema)
    }
}
