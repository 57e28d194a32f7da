//! JSON lines and records of a packed batch.

use penstock_wire::batch;
use penstock_wire::error::EncodeError;
use penstock_wire::json_lines::{self, Format, Record};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use crate::errors;

/// The lines of the batch's records; encoded without the GIL.
pub fn lines<'py>(
    py: Python<'py>,
    batch: &batch::Batch,
    format: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let format = known(format)?;
    let lines = py.detach(|| json_lines::lines(batch, format));
    Ok(PyBytes::new(
        py,
        &lines.map_err(|error| failed(py, &error))?,
    ))
}

/// The batch's records as tuples `(topic, key, value, headers)`; encoded without the GIL.
pub fn records<'py>(
    py: Python<'py>,
    batch: &batch::Batch,
    format: &str,
) -> PyResult<Bound<'py, PyList>> {
    let format = known(format)?;
    let made = py.detach(|| json_lines::records(batch, format));
    let made = made.map_err(|error| failed(py, &error))?;
    let topics = batch
        .tables
        .iter()
        .map(|table| PyString::new(py, &table.text));
    let topics: Vec<Bound<'py, PyString>> = topics.collect();
    let none = PyDict::new(py);
    let found = PyList::empty(py);
    for Record {
        table,
        key,
        value,
        headers,
    } in made.records
    {
        let bytes = |place: Option<_>| {
            place
                .and_then(|place| made.bytes.get::<std::ops::Range<usize>>(place))
                .map(|bytes| PyBytes::new(py, bytes))
        };
        let headers = if headers.is_empty() {
            none.clone()
        } else {
            let own = PyDict::new(py);
            for (name, value) in headers {
                own.set_item(name, value)?;
            }
            own
        };
        found.append((
            topics.get(table as usize),
            bytes(key),
            bytes(value),
            headers,
        ))?;
    }
    Ok(found)
}

fn known(format: &str) -> PyResult<Format> {
    Format::parse(format).ok_or_else(|| PyValueError::new_err(format!("no format {format:?} here")))
}

fn failed(py: Python<'_>, error: &EncodeError) -> PyErr {
    match error {
        EncodeError::Decode(error) => errors::decode(py, error),
        EncodeError::Protocol(error) => errors::protocol(py, error),
    }
}
