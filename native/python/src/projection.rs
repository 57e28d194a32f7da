//! A projection, compiled for the kernel.

use penstock_wire::projection::{Masking, Output, Projection};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};

use crate::shape::Shape;

/// A `penstock.model.projection.Projection`. Raises ValueError for one that does not fit its table.
pub fn compiled(projection: &Bound<'_, PyAny>) -> PyResult<Projection> {
    let source = Shape::new(projection.getattr("source")?)?.inner;
    let outputs = projection.getattr("outputs")?.try_iter()?;
    let outputs = outputs.map(|output| read_output(&output?));
    Projection::new(source, outputs.collect::<PyResult<_>>()?)
        .ok_or_else(|| PyValueError::new_err("the projection does not fit its table"))
}

fn read_output(output: &Bound<'_, PyAny>) -> PyResult<Output> {
    let masking = output.getattr("masking")?;
    Ok(Output {
        column: output.getattr("position")?.extract()?,
        masking: if masking.is_none() {
            None
        } else {
            Some(read_masking(&masking)?)
        },
    })
}

fn read_masking(masking: &Bound<'_, PyAny>) -> PyResult<Masking> {
    let method: PyBackedStr = masking.getattr("method")?.extract()?;
    let made = match &*method {
        "fixed" => Some(Masking::Fixed(masking.getattr("text")?.extract()?)),
        "truncate" => Some(Masking::Truncate(masking.getattr("length")?.extract()?)),
        "hmac" => {
            let key: PyBackedBytes = masking.getattr("key")?.extract()?;
            Masking::hmac(&key)
        }
        _ => None,
    };
    made.ok_or_else(|| PyValueError::new_err(format!("there is no masking {method}")))
}
