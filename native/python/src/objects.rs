//! Events of a packed batch as the model's objects, made one by one.

use std::sync::Arc;

use penstock_wire::batch::{self, Event, Fact, Operation, Row, Span};
use penstock_wire::exact;
use penstock_wire::lsn::Lsn;
use penstock_wire::table::Table;
use penstock_wire::tuple::{Value, Values};
use pyo3::exceptions::PyIndexError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use crate::batch::Batch;
use crate::errors;

/// The model's classes, looked up once.
struct Model {
    change: Py<PyAny>,
    message: Py<PyAny>,
    origin: Py<PyAny>,
    transaction: Py<PyAny>,
    mark: Py<PyAny>,
    schema_change: Py<PyAny>,
    transaction_begin: Py<PyAny>,
    transaction_end: Py<PyAny>,
    snapshot_begin: Py<PyAny>,
    snapshot_end: Py<PyAny>,
    unchanged: Py<PyAny>,
}

static MODEL: PyOnceLock<Model> = PyOnceLock::new();

impl Model {
    fn get(py: Python<'_>) -> PyResult<&'static Self> {
        MODEL.get_or_try_init(py, || {
            let module = py.import("penstock.model")?;
            let get = |name: &str| module.getattr(name).map(Bound::unbind);
            Ok(Self {
                change: get("Change")?,
                message: get("Message")?,
                origin: get("Origin")?,
                transaction: get("Transaction")?,
                mark: get("Mark")?,
                schema_change: get("SchemaChange")?,
                transaction_begin: get("TransactionBegin")?,
                transaction_end: get("TransactionEnd")?,
                snapshot_begin: get("SnapshotBegin")?,
                snapshot_end: get("SnapshotEnd")?,
                unchanged: get("UNCHANGED")?,
            })
        })
    }
}

/// Iterates a batch's events.
#[pyclass(module = "penstock_native")]
pub struct Events {
    model: &'static Model,
    batch: Arc<batch::Batch>,
    tables: Arc<Vec<Py<PyAny>>>,
    next: usize,
    /// The origin that was made last, by its index: those of one batch that are the same in the log
    /// are the same object.
    origin: Option<(u32, Py<PyAny>)>,
}

#[pymethods]
impl Events {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let batch = Arc::clone(&self.batch);
        let Some(event) = batch.events.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        self.object(py, event).map(Some)
    }
}

impl Events {
    pub fn new(py: Python<'_>, batch: &Batch) -> PyResult<Self> {
        Ok(Self {
            model: Model::get(py)?,
            batch: Arc::clone(&batch.inner),
            tables: Arc::clone(&batch.tables),
            next: 0,
            origin: None,
        })
    }

    /// The event of that index.
    pub fn at(&mut self, py: Python<'_>, index: usize) -> PyResult<Py<PyAny>> {
        let batch = Arc::clone(&self.batch);
        let event = batch.events.get(index);
        let event = event.ok_or_else(|| PyIndexError::new_err("an event beyond the last"))?;
        self.object(py, event)
    }

    fn object(&mut self, py: Python<'_>, event: &Event) -> PyResult<Py<PyAny>> {
        let model = self.model;
        match *event {
            Event::Row(ref row) => self.row(py, row),
            Event::Truncate {
                table,
                origin,
                ordinal,
                cascade,
                restart_identity,
            } => {
                let origin = self.origin(py, origin)?;
                let arguments = (intern!(py, "truncate"), self.table(table)?, origin, ordinal);
                let change = model.change.call1(py, arguments)?;
                if cascade || restart_identity {
                    let headers = PyDict::new(py);
                    if cascade {
                        headers.set_item("cascade", "true")?;
                    }
                    if restart_identity {
                        headers.set_item("restart_identity", "true")?;
                    }
                    change.setattr(py, "headers", headers)?;
                }
                Ok(change)
            }
            Event::Message(ref message) => {
                let mark = model
                    .mark
                    .call1(py, (message.at.to_string(), message.ordinal))?;
                let transaction = match message.origin {
                    Some(origin) => self.origin(py, origin)?.getattr(py, "transaction")?,
                    None => py.None(),
                };
                let content = PyBytes::new(py, self.batch.slice(message.content));
                model
                    .message
                    .call1(py, (&message.prefix, content, mark, transaction))
            }
            Event::Schema { before, after } => {
                let before = before.map(|table| self.table(table)).transpose()?;
                model.schema_change.call1(py, (before, self.table(after)?))
            }
            Event::Begin { origin } => {
                let origin = self.origin(py, origin)?;
                model.transaction_begin.call1(py, (origin,))
            }
            Event::End {
                origin,
                from,
                counts,
            } => {
                let origin = self.origin(py, origin)?;
                let found = PyDict::new(py);
                let (from, counts) = (from as usize, counts as usize);
                for (table, count) in self.batch.counts.iter().skip(from).take(counts) {
                    found.set_item(&self.shape(*table)?.text, count)?;
                }
                model.transaction_end.call1(py, (origin, found))
            }
            Event::SnapshotBegin {
                table,
                attempt,
                first,
            } => model
                .snapshot_begin
                .call1(py, (self.table(table)?, attempt, first)),
            Event::SnapshotEnd {
                table,
                attempt,
                rows,
                last,
            } => model
                .snapshot_end
                .call1(py, (self.table(table)?, attempt, rows, last)),
        }
    }

    fn row(&mut self, py: Python<'_>, row: &Row) -> PyResult<Py<PyAny>> {
        let operation = operation(py, row.operation);
        let origin = self.origin(py, row.origin)?;
        let shape = self.shape(row.table)?;
        let arity = shape.columns.len();
        let image = |span: Option<Span>| {
            span.map(|span| self.list(py, self.batch.values(span), shape, 0..arity))
                .transpose()
        };
        let key = |span: Option<Span>| {
            let columns = shape.key.iter().copied();
            span.map(|span| self.list(py, self.batch.values(span), shape, columns))
                .transpose()
        };
        let (before, after) = (image(row.before)?, image(row.after)?);
        let (table, ordinal) = (self.table(row.table)?, row.ordinal);
        if row.key.is_none() && row.old_key.is_none() {
            let arguments = (operation, table, origin, ordinal, before, after);
            return self.model.change.call1(py, arguments);
        }
        let (key, old) = (key(row.key)?, key(row.old_key)?);
        self.model.change.call1(
            py,
            (operation, table, origin, ordinal, before, after, key, old),
        )
    }

    /// The raw values of a packed row of those columns.
    fn list<'py>(
        &self,
        py: Python<'py>,
        mut values: Values<'_>,
        shape: &Table,
        columns: impl ExactSizeIterator<Item = usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        let arity = shape.columns.len();
        let raws = columns.map(|column| {
            let value = values
                .next(column, arity)
                .map_err(|error| errors::protocol(py, &error))?;
            self.raw(py, value, shape, column)
        });
        let raws: Vec<Bound<'py, PyAny>> = raws.collect::<PyResult<_>>()?;
        PyList::new(py, raws)
    }

    /// What stands for a value in a row: its exact text, None or UNCHANGED.
    fn raw<'py>(
        &self,
        py: Python<'py>,
        value: Value<'_>,
        shape: &Table,
        column: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(match value {
            Value::Text(bytes) => PyBytes::new(py, bytes).into_any(),
            Value::Binary(bytes) => {
                let mut text = Vec::new();
                exact::text(shape, column, bytes, &mut text)
                    .map(|text| PyBytes::new(py, text).into_any())
                    .map_err(|error| errors::protocol(py, &error))?
            }
            Value::Null => py.None().into_bound(py),
            Value::Unchanged => self.model.unchanged.bind(py).clone(),
        })
    }

    fn shape(&self, index: u32) -> PyResult<&Table> {
        let found = self.batch.tables.get(index as usize);
        found
            .map(Arc::as_ref)
            .ok_or_else(|| PyIndexError::new_err("a table beyond the last"))
    }

    fn table(&self, index: u32) -> PyResult<&Py<PyAny>> {
        let found = self.tables.get(index as usize);
        found.ok_or_else(|| PyIndexError::new_err("a table beyond the last"))
    }

    fn origin(&mut self, py: Python<'_>, index: u32) -> PyResult<Py<PyAny>> {
        if let Some((known, origin)) = &self.origin
            && *known == index
        {
            return Ok(origin.clone_ref(py));
        }
        let found = self.batch.origins.get(index as usize);
        let found = found.ok_or_else(|| PyIndexError::new_err("an origin beyond the last"))?;
        let origin = if let batch::Origin::Named { .. } = found {
            named_origin(py, found)?
        } else {
            self.positioned(py, found)?
        };
        self.origin = Some((index, origin.clone_ref(py)));
        Ok(origin)
    }

    fn positioned(&self, py: Python<'_>, found: &batch::Origin) -> PyResult<Py<PyAny>> {
        let transaction = match *found {
            batch::Origin::Transaction {
                xid, committed_us, ..
            } => self
                .model
                .transaction
                .call1(py, (xid.to_string(), committed_us))?,
            _ => py.None(),
        };
        let source = PyDict::new(py);
        source.set_item(intern!(py, "type"), intern!(py, "postgres"))?;
        source.set_item(intern!(py, "database"), &*self.batch.database)?;
        source.set_item(intern!(py, "lsn"), Lsn(found.lsn()).to_string())?;
        let arguments = (found.to_string(), transaction, found.version(), source);
        self.model.origin.call1(py, arguments)
    }
}

/// The `penstock.model.Origin` of a transaction that has a name.
pub fn named_origin(py: Python<'_>, origin: &batch::Origin) -> PyResult<Py<PyAny>> {
    let model = Model::get(py)?;
    let name = origin.to_string();
    let transaction = match origin.committed_us() {
        Some(committed) => model.transaction.call1(py, (&name, committed))?,
        None => py.None(),
    };
    let source = PyDict::new(py);
    if let batch::Origin::Named { facts, .. } = origin {
        for (name, fact) in facts.iter() {
            match fact {
                Fact::None => source.set_item(&**name, py.None())?,
                Fact::Number(number) => source.set_item(&**name, number)?,
                Fact::Text(text) => source.set_item(&**name, &**text)?,
            }
        }
    }
    let arguments = (name, transaction, origin.version(), source);
    model.origin.call1(py, arguments)
}

fn operation(py: Python<'_>, operation: Operation) -> &Bound<'_, PyString> {
    match operation {
        Operation::Insert => intern!(py, "insert"),
        Operation::Update => intern!(py, "update"),
        Operation::Delete => intern!(py, "delete"),
        Operation::Truncate => intern!(py, "truncate"),
        Operation::Read => intern!(py, "read"),
    }
}
