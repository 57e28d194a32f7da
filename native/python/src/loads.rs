//! Runs of new rows of a packed batch, as `penstock.model.loads.Load`.

use std::sync::Arc;

use penstock_wire::batch;
use penstock_wire::loads::{self, Item};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyType};

use crate::batch::Batch;
use crate::errors;
use crate::objects::Events;
use crate::spare;

static LOAD: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Loads, and the other events as objects; the loads' texts are made without the GIL.
pub fn loads<'py>(py: Python<'py>, batch: &Batch, least: usize) -> PyResult<Bound<'py, PyList>> {
    spare::with(|out| {
        let made = py.detach(|| loads::loads(&batch.inner, least, out));
        let made = made.map_err(|error| errors::protocol(py, &error))?;
        objects(py, batch, made, out)
    })
}

fn objects<'py>(
    py: Python<'py>,
    batch: &Batch,
    items: Vec<Item>,
    text: &[u8],
) -> PyResult<Bound<'py, PyList>> {
    let load = LOAD.import(py, "penstock.model.loads", "Load")?;
    let mut events = Events::new(py, batch)?;
    let found = PyList::empty(py);
    for item in items {
        match item {
            Item::Event(index) => found.append(events.at(py, index)?)?,
            Item::Load(run) => {
                let text = PyBytes::new(py, text.get(run.text).unwrap_or_default());
                let definition = batch.tables.get(run.table as usize);
                let rows = run.events.len();
                let changes = Rows {
                    batch: Arc::clone(&batch.inner),
                    tables: Arc::clone(&batch.tables),
                    events: run.events,
                };
                found.append(load.call1((definition, run.read, rows, text, changes))?)?;
            }
        }
    }
    Ok(found)
}

/// Gives the rows of a load as changes.
#[pyclass(frozen, module = "penstock_native")]
struct Rows {
    batch: Arc<batch::Batch>,
    tables: Arc<Vec<Py<PyAny>>>,
    events: Vec<usize>,
}

#[pymethods]
impl Rows {
    fn __call__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let batch = Batch {
            inner: Arc::clone(&self.batch),
            tables: Arc::clone(&self.tables),
        };
        let mut events = Events::new(py, &batch)?;
        let found = PyList::empty(py);
        for &index in &self.events {
            found.append(events.at(py, index)?)?;
        }
        Ok(found)
    }
}
