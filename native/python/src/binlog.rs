//! The decoder of the binlog, as Python holds it.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_wire::batch::{Event, Operation, Origin, Row};
use penstock_wire::binlog::decoder;
use penstock_wire::binlog::rows::Reader;
use penstock_wire::binlog::state::{Layout, Open, Reading};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::batch::Batch;
use crate::binlog_values::{pack, read_facts, read_field};
use crate::objects;
use crate::projection::compiled;
use crate::shape::Shape;

const MANY: usize = 256;

/// Source and number of the transaction, whether it ends by an event of its own, how many changes
/// it had, whether it was announced, its `penstock.model.Origin`, and its changes by table.
type State<'py, Table> = (
    String,
    u64,
    bool,
    u64,
    bool,
    Bound<'py, PyAny>,
    Vec<(Table, u64)>,
);

/// Turns events into batches, and leaves those that are rare to the reference, which tells what
/// came of them (`penstock.sources.mysql.wire.native`).
///
/// Parameters
/// ----------
/// facts: about the source, for changes.
/// max_bytes: how large a batch may get before it is cut inside a transaction.
/// checksums: whether events end in a checksum until a format description says so.
/// named: whether transactions are known by their names, not by their places.
#[pyclass(module = "penstock_native")]
pub struct Binlog {
    inner: decoder::Decoder,
    /// The `penstock.model.Table` of a shape, by its handle; old ones go when so many are there.
    tables: HashMap<u32, Py<PyAny>>,
    many: usize,
    /// The origin that was told last.
    origin: Option<(Py<PyAny>, Origin)>,
}

#[pymethods]
impl Binlog {
    #[new]
    #[pyo3(signature = (*, facts, max_bytes, checksums, named))]
    fn new(
        facts: &Bound<'_, PyDict>,
        max_bytes: usize,
        checksums: bool,
        named: bool,
    ) -> PyResult<Self> {
        Ok(Self {
            inner: decoder::Decoder::new(read_facts(facts)?, max_bytes, checksums, named),
            tables: HashMap::new(),
            many: MANY,
            origin: None,
        })
    }

    /// Decode a list of events from one on, until a batch is full; where it stopped, and whether
    /// because an event was left. `inner`: whether they came in another event.
    fn decode(
        &mut self,
        py: Python<'_>,
        events: &Bound<'_, PyList>,
        start: usize,
        inner: bool,
    ) -> PyResult<(usize, bool)> {
        let events = events.get_slice(start, events.len());
        let events = events.extract::<Vec<Bound<'_, PyBytes>>>()?;
        let bytes: Vec<&[u8]> = events.iter().map(|event| event.as_bytes()).collect();
        let (decoder, count) = (&mut self.inner, bytes.len());
        let used = py.detach(|| decoder.decode(bytes, inner));
        let left = used < count && !self.inner.assembly.is_ready();
        Ok((start + used, left))
    }

    /// What is complete, as batches; the rest of an open transaction is kept.
    fn take(&mut self, py: Python<'_>) -> Vec<Batch> {
        let taken = self.inner.assembly.take();
        let made = taken.into_iter().map(|batch| {
            let tables = batch
                .tables
                .iter()
                .filter_map(|table| self.tables.get(&table.handle));
            let tables = tables.map(|table| table.clone_ref(py)).collect();
            Batch {
                inner: Arc::new(batch),
                tables: Arc::new(tables),
            }
        });
        let batches = made.collect();
        if self.tables.len() > self.many {
            let used = self.inner.handles();
            self.tables.retain(|handle, _| used.contains(handle));
            self.many = MANY.max(2 * self.tables.len());
        }
        batches
    }

    /// The transactions that were read here up to a batch's position, since the last call: source,
    /// first and last number, and the place behind them, a file and a position.
    fn committed(&mut self, position: u64) -> Vec<(String, u64, u64, String, u64)> {
        let runs = self.inner.committed(position).into_iter();
        runs.map(|run| {
            let file = run.file.to_string();
            (run.source, run.first, run.last, file, run.position)
        })
        .collect()
    }

    // -- the state that the reference goes on from

    /// The place in the log, and whether events end in a checksum.
    #[getter]
    fn place(&self) -> (&str, u64, bool) {
        let inner = &self.inner;
        (&inner.file, inner.position, inner.checksums)
    }

    #[setter]
    fn set_place(&mut self, place: (PyBackedStr, u64, bool)) {
        let inner = &mut self.inner;
        if *inner.file != *place.0 {
            inner.file = Arc::from(&*place.0);
        }
        (inner.position, inner.checksums) = (place.1, place.2);
    }

    /// The open transaction, if there is one.
    #[getter]
    fn transaction<'py>(&mut self, py: Python<'py>) -> PyResult<Option<State<'py, String>>> {
        let Some(open) = self.inner.opened().cloned() else {
            return Ok(None);
        };
        let transaction = &self.inner.transaction;
        let counts = transaction.counts.iter();
        let counts = match transaction.begun {
            true => counts.map(|(t, n)| (t.text.clone(), *n)).collect(),
            false => Vec::new(),
        };
        let origin = match &self.origin {
            Some((object, known)) if *known == transaction.origin => object.clone_ref(py),
            _ => objects::named_origin(py, &transaction.origin)?,
        };
        let state = (
            open.source,
            open.number,
            open.explicit,
            transaction.ordinal,
            transaction.begun,
            origin.bind(py).clone(),
            counts,
        );
        self.origin = transaction
            .begun
            .then(|| (origin, transaction.origin.clone()));
        Ok(Some(state))
    }

    /// Go on in this transaction, whose counts are by Shape, or outside any.
    #[pyo3(signature = (state=None))]
    fn go_on(&mut self, state: Option<State<'_, PyRef<'_, Shape>>>) -> PyResult<()> {
        let Some((source, number, explicit, ordinal, begun, origin, counts)) = state else {
            self.inner.go_on(None);
            return Ok(());
        };
        if !begun {
            self.origin = None; // whose facts may have been added to
        }
        let origin = self.native_origin(&origin)?;
        let counts = counts.into_iter();
        let counts = counts.map(|(shape, count)| (Arc::clone(&shape.inner), count));
        let transaction = &mut self.inner.transaction;
        transaction.resume(origin, ordinal, begun, counts.collect());
        self.inner.go_on(Some(Open {
            source,
            number,
            explicit,
        }));
        Ok(())
    }

    // -- tables

    /// Take note of a description of a table, by the bytes behind its number; its number here. Rows
    /// are read by `fields`, where all of its columns can be, and left where not; there is no
    /// `shape` where the table is not wanted.
    #[pyo3(signature = (description, shape=None, fields=None, key=Vec::new(), projection=None))]
    fn learn(
        &mut self,
        py: Python<'_>,
        description: &[u8],
        shape: Option<&Shape>,
        fields: Option<Vec<Bound<'_, PyTuple>>>,
        key: Vec<usize>,
        projection: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u32> {
        let layout = match (shape, fields) {
            (None, _) => Layout::Unwanted,
            (Some(_), None) => Layout::Left,
            (Some(shape), Some(fields)) => {
                self.keep(py, shape);
                let fields = fields
                    .iter()
                    .map(read_field)
                    .collect::<PyResult<Vec<_>>>()?;
                if key.iter().any(|&column| column >= fields.len()) {
                    return Err(PyValueError::new_err("a key column beyond the last"));
                }
                let projection = projection.map(compiled).transpose()?;
                let rows = Reader::new(fields, key, projection);
                Layout::Rows(Box::new(Reading::new(&shape.inner, rows)))
            }
        };
        Ok(self.inner.learn(description, layout))
    }

    /// A description means another table from here on.
    fn forget(&mut self, id: u32) {
        self.inner.forget(id);
    }

    /// Whether a description is still kept.
    fn is_kept(&self, id: u32) -> bool {
        self.inner.is_kept(id)
    }

    /// A table's rows are read so from now on, and no more as by `before`; its news were told.
    #[pyo3(signature = (before, now))]
    fn make_current(&mut self, before: Option<u32>, now: Option<u32>) {
        self.inner.make_current(before, now);
    }

    /// The description that a table's number stands for in this statement.
    fn described(&self, number: u64) -> Option<u32> {
        self.inner.described(number)
    }

    /// A table's number stands for a description in this statement.
    fn describe(&mut self, number: u64, id: u32) {
        self.inner.describe(number, id);
    }

    /// The statement has ended.
    fn end_statement(&mut self) {
        self.inner.end_statement();
    }

    // -- events of the reference

    /// A change (`penstock.model.Change`) of the table that the shape is of.
    fn change(&mut self, py: Python<'_>, shape: &Shape, change: &Bound<'_, PyAny>) -> PyResult<()> {
        self.keep(py, shape);
        let origin = self.origin_index(&change.getattr(intern!(py, "origin"))?)?;
        let ordinal = change.getattr(intern!(py, "ordinal"))?.extract()?;
        let operation: PyBackedStr = change.getattr(intern!(py, "operation"))?.extract()?;
        let operation = match &*operation {
            "insert" => Operation::Insert,
            "update" => Operation::Update,
            "delete" => Operation::Delete,
            "truncate" => Operation::Truncate,
            other => return Err(PyValueError::new_err(format!("an event {other}"))),
        };
        let batch = &mut self.inner.assembly.batch;
        let table = batch.table(&shape.inner);
        let event = if operation == Operation::Truncate {
            Event::Truncate {
                table,
                origin,
                ordinal,
                cascade: false,
                restart_identity: false,
            }
        } else {
            let mut image = |name: &Bound<'_, PyString>| {
                let values = change.getattr(name)?;
                pack(&values, &mut batch.bytes)
            };
            Event::Row(Row {
                operation,
                table,
                origin,
                ordinal,
                before: image(intern!(py, "values_before"))?,
                after: image(intern!(py, "values_after"))?,
                key: image(intern!(py, "key_new"))?,
                old_key: image(intern!(py, "key_old"))?,
            })
        };
        batch.events.push(event);
        Ok(())
    }

    /// A transaction begins.
    fn begin(&mut self, origin: &Bound<'_, PyAny>) -> PyResult<()> {
        let origin = self.origin_index(origin)?;
        self.inner
            .assembly
            .batch
            .events
            .push(Event::Begin { origin });
        Ok(())
    }

    /// A transaction ends, whose changes are counted by Shape.
    fn end(
        &mut self,
        origin: &Bound<'_, PyAny>,
        counts: Vec<(PyRef<'_, Shape>, u64)>,
    ) -> PyResult<()> {
        let origin = self.origin_index(origin)?;
        for (shape, _) in &counts {
            self.keep(shape.py(), shape);
        }
        let batch = &mut self.inner.assembly.batch;
        let from = batch.counts.len() as u32;
        for (shape, count) in &counts {
            let table = batch.table(&shape.inner);
            batch.counts.push((table, *count));
        }
        batch.events.push(Event::End {
            origin,
            from,
            counts: counts.len() as u32,
        });
        Ok(())
    }

    /// Tell of a table's new shape: a batch of its own begins with the news.
    #[pyo3(signature = (before, after))]
    fn announce(&mut self, py: Python<'_>, before: Option<&Shape>, after: &Shape) {
        for shape in before.into_iter().chain([after]) {
            self.keep(py, shape);
        }
        let batch = &mut self.inner.assembly.batch;
        let before = before.map(|shape| batch.table(&shape.inner));
        let after = batch.table(&after.inner);
        batch.events.push(Event::Schema { before, after });
    }

    /// Bytes of the events that are not handed over yet.
    #[getter]
    fn size(&self) -> usize {
        self.inner.assembly.batch.size
    }

    /// Bytes that events of the reference came in.
    fn grow(&mut self, size: usize) {
        self.inner.assembly.batch.size += size;
    }

    /// No transaction is open: what was read is complete up to here.
    fn seal(&mut self) {
        self.inner.seal();
    }

    /// End the batch at the last transaction end.
    fn close_sealed(&mut self) {
        self.inner.assembly.close_sealed();
    }

    /// End the batch here.
    fn close_all(&mut self) {
        self.inner.assembly.close_all();
    }

    /// End the batch if it is full.
    fn cut(&mut self) {
        self.inner.cut();
    }
}

impl Binlog {
    fn keep(&mut self, py: Python<'_>, shape: &Shape) {
        self.tables
            .entry(shape.inner.handle)
            .or_insert_with(|| shape.table.clone_ref(py));
    }

    fn origin_index(&mut self, origin: &Bound<'_, PyAny>) -> PyResult<u32> {
        let origin = self.native_origin(origin)?;
        let batch = &mut self.inner.assembly.batch;
        if batch.origins.last() != Some(&origin) {
            batch.origins.push(origin);
        }
        Ok(batch.origins.len() as u32 - 1)
    }

    /// A `penstock.model.Origin` of a transaction of the log.
    fn native_origin(&mut self, origin: &Bound<'_, PyAny>) -> PyResult<Origin> {
        if let Some((object, known)) = &self.origin
            && object.is(origin)
        {
            return Ok(known.clone());
        }
        let py = origin.py();
        let transaction = origin.getattr(intern!(py, "transaction"))?;
        let mark: PyBackedStr = origin.getattr(intern!(py, "mark"))?.extract()?;
        let facts = origin.getattr(intern!(py, "source"))?;
        let made = Origin::Named {
            mark: Arc::from(&*mark),
            committed_us: match transaction.is_none() {
                true => None,
                false => transaction
                    .getattr(intern!(py, "committed_us"))?
                    .extract()?,
            },
            facts: read_facts(facts.cast::<PyDict>()?)?.into(),
        };
        self.origin = Some((origin.clone().unbind(), made.clone()));
        Ok(made)
    }
}
