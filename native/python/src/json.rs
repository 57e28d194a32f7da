//! JSON lines and records of a packed batch.

use penstock_wire::batch;
use penstock_wire::error::EncodeError;
use penstock_wire::json_lines::{self, Format, Record};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use crate::{errors, spare};

/// The lines of the batch's records; encoded without the GIL.
pub fn lines<'py>(
    py: Python<'py>,
    batch: &batch::Batch,
    format: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let format = known(format)?;
    spare::with(|out| {
        let made = py.detach(|| json_lines::lines(batch, format, out));
        made.map_err(|error| failed(py, &error))?;
        Ok(PyBytes::new(py, out))
    })
}

/// The batch's records as tuples `(topic, key, value, headers)`; encoded without the GIL.
pub fn records<'py>(
    py: Python<'py>,
    batch: &batch::Batch,
    format: &str,
) -> PyResult<Bound<'py, PyList>> {
    let format = known(format)?;
    spare::with(|out| {
        let made = py.detach(|| json_lines::records(batch, format, out));
        let made = made.map_err(|error| failed(py, &error))?;
        tuples(py, batch, made, out)
    })
}

fn tuples<'py>(
    py: Python<'py>,
    batch: &batch::Batch,
    records: Vec<Record>,
    bytes: &[u8],
) -> PyResult<Bound<'py, PyList>> {
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
    } in records
    {
        let part = |place: Option<_>| {
            place
                .and_then(|place| bytes.get::<std::ops::Range<usize>>(place))
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
        found.append((topics.get(table as usize), part(key), part(value), headers))?;
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
