//! Arrow record batches, handed over by the Arrow C data interface: no pyarrow is linked.

use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowArray, to_ffi};
use arrow_array::{Array, StructArray};
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{ArrowError, Schema};
use penstock_wire::arrow::{Error, heights, record_batches};
use penstock_wire::error::EncodeError;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::batch::Batch;
use crate::errors;

/// A record batch that any Arrow library takes, by `__arrow_c_array__`.
#[pyclass(frozen, module = "penstock_native")]
pub struct RecordBatch(arrow_array::RecordBatch);

#[pymethods]
impl RecordBatch {
    /// Its schema and its data as capsules; a `requested_schema` is not obeyed, as it need not be.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema;
        let (array, schema) = export(&self.0).map_err(invalid)?;
        Ok((
            PyCapsule::new_with_value(py, schema, c"arrow_schema")?,
            PyCapsule::new_with_value(py, array, c"arrow_array")?,
        ))
    }
}

/// As arrays have no metadata, the schema is made apart.
fn export(
    batch: &arrow_array::RecordBatch,
) -> Result<(FFI_ArrowArray, FFI_ArrowSchema), ArrowError> {
    let (array, _) = to_ffi(&StructArray::from(batch.clone()).to_data())?;
    let schema = FFI_ArrowSchema::try_from(batch.schema().as_ref())?;
    Ok((array, schema))
}

/// The record batches of a batch's changes, one per table. `schema` gives the pyarrow schema of a
/// `penstock.model.Table`.
pub fn to_arrow(
    py: Python<'_>,
    batch: &Batch,
    schema: &Bound<'_, PyAny>,
) -> PyResult<Vec<RecordBatch>> {
    let mut tables = Vec::new();
    for height in heights(&batch.inner) {
        let table = &batch.tables[height.table]; // as many as the batch has
        tables.push((height, import(&schema.call1((table,))?)?));
    }
    let built = py.detach(|| record_batches(&batch.inner, tables));
    match built {
        Ok(built) => Ok(built.into_iter().map(RecordBatch).collect()),
        Err(Error::Encode(EncodeError::Decode(error))) => Err(errors::decode(py, &error)),
        Err(Error::Encode(EncodeError::Protocol(error))) => Err(errors::protocol(py, &error)),
        Err(Error::Arrow(error)) => Err(invalid(error)),
    }
}

fn import(schema: &Bound<'_, PyAny>) -> PyResult<Arc<Schema>> {
    let capsule = schema.call_method0("__arrow_c_schema__")?;
    let pointer = capsule
        .cast::<PyCapsule>()?
        .pointer_checked(Some(c"arrow_schema"))?;
    // SAFETY: a capsule of that name holds an initialized ArrowSchema (the PyCapsule interface of
    // Arrow's C data interface), and it was made just now for us alone.
    let schema = unsafe { FFI_ArrowSchema::from_raw(pointer.cast().as_ptr()) };
    Ok(Arc::new(Schema::try_from(&schema).map_err(invalid)?))
}

fn invalid(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
