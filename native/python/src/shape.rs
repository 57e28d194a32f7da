//! A version of a table, compiled for the kernel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use penstock_wire::table::{Column, Kind, Table, Type};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A `penstock.model.Table` compiled for the kernel. Raises what `Table.key_indexes` raises.
#[pyclass(frozen, module = "penstock_native")]
pub struct Shape {
    pub inner: Arc<Table>,
    /// The `penstock.model.Table`.
    #[pyo3(get)]
    pub table: Py<PyAny>,
}

#[pymethods]
impl Shape {
    #[new]
    pub fn new(table: Bound<'_, PyAny>) -> PyResult<Self> {
        let columns = table.getattr("columns")?.try_iter()?;
        let inner = Table {
            handle: NEXT.fetch_add(1, Ordering::Relaxed),
            oid: table.getattr("oid")?.extract()?,
            text: table.getattr("text")?.extract()?,
            columns: columns
                .map(|column| read_column(&column?))
                .collect::<PyResult<_>>()?,
            key: table.getattr("key_indexes")?.extract()?,
        };
        Ok(Self {
            inner: Arc::new(inner),
            table: table.unbind(),
        })
    }
}

fn read_column(column: &Bound<'_, PyAny>) -> PyResult<Column> {
    Ok(Column {
        name: column.getattr("name")?.extract()?,
        kind: read_type(&column.getattr("type")?)?,
    })
}

pub fn read_type(kind: &Bound<'_, PyAny>) -> PyResult<Type> {
    let name: PyBackedStr = kind.getattr("kind")?.getattr("value")?.extract()?;
    let element = kind.getattr("element")?;
    Ok(Type {
        oid: kind.getattr("oid")?.extract()?,
        base: kind.getattr("base")?.extract()?,
        modifier: kind.getattr("modifier")?.extract()?,
        kind: Kind::parse(&name)
            .ok_or_else(|| PyValueError::new_err(format!("there is no kind {name}")))?,
        element: if element.is_none() {
            None
        } else {
            Some(Box::new(read_type(&element)?))
        },
    })
}
