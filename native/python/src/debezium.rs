//! Records of the format `debezium`, as Python takes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::vec;

use penstock_wire::batch;
use penstock_wire::debezium::{Code, Column, Encoder, Item, Moved, Plan, Record, Settings, marker};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyString, PyTuple};

use crate::batch::Batch;
use crate::errors;
use crate::objects::Events;

/// Bytes of records that are made at once, about: with schemas they are many times the rows'.
const SOME: usize = 256 << 10;

/// The encoder of one `penstock.formats.debezium` format.
///
/// Parameters
/// ----------
/// plan: gives a table's `penstock.formats.debezium.native.Plan`, None where its records are not
///     made here.
/// other: gives the records of an event that are not made here; called with the event, what
///     `source.snapshot` says of a snapshot's row, when the records are made, and the database.
/// now: nanoseconds since the epoch.
/// source: the first part of `source`.
/// headers: those of every record.
/// tombstones: whether a delete is followed by a record without a value.
/// skipped: the letters of operations of which no records are made.
#[pyclass(module = "penstock_native")]
pub struct Debezium {
    plan: Py<PyAny>,
    other: Py<PyAny>,
    now: Py<PyAny>,
    headers: Py<PyDict>,
    names: Names,
    settings: Arc<Settings>,
    /// By the tables' handles.
    known: HashMap<u32, Known>,
}

/// The names of the headers that records have of their own.
struct Names {
    id: Py<PyString>,
    new_key: Py<PyString>,
    old_key: Py<PyString>,
}

struct Known {
    plan: Option<Arc<Plan>>,
    topic: Py<PyString>,
}

#[pymethods]
impl Debezium {
    #[new]
    #[pyo3(signature = (*, plan, other, now, source, headers, tombstones, skipped, names))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn new(
        plan: Py<PyAny>,
        other: Py<PyAny>,
        now: Py<PyAny>,
        source: &[u8],
        headers: Py<PyDict>,
        tombstones: bool,
        skipped: &str,
        names: (Py<PyString>, Py<PyString>, Py<PyString>),
    ) -> Self {
        let (id, new_key, old_key) = names;
        Self {
            plan,
            other,
            now,
            headers,
            names: Names {
                id,
                new_key,
                old_key,
            },
            settings: Arc::new(Settings {
                source: source.to_vec(),
                tombstones,
                skipped: skipped.as_bytes().to_vec(),
            }),
            known: HashMap::new(),
        }
    }
}

impl Debezium {
    /// The batch's records, made some at a time.
    pub fn records(&mut self, py: Python<'_>, batch: &Batch) -> PyResult<Records> {
        let mut plans = Vec::with_capacity(batch.tables.len());
        let mut topics = Vec::with_capacity(batch.tables.len());
        for (shape, table) in batch.inner.tables.iter().zip(batch.tables.iter()) {
            if !self.known.contains_key(&shape.handle) {
                let known = read_plan(py, self.plan.call1(py, (table,))?.into_bound(py))?;
                self.known.insert(shape.handle, known);
            }
            if let Some(known) = self.known.get(&shape.handle) {
                plans.push(known.plan.clone());
                topics.push(known.topic.clone_ref(py));
            }
        }
        let now: i64 = self.now.call0(py)?.extract(py)?;
        let settings = Arc::clone(&self.settings);
        Ok(Records {
            encoder: Encoder::new(Arc::clone(&batch.inner), settings, plans, now),
            batch: Arc::clone(&batch.inner),
            events: Events::new(py, batch)?,
            now,
            other: self.other.clone_ref(py),
            topics,
            headers: self.headers.clone_ref(py),
            names: Names {
                id: self.names.id.clone_ref(py),
                new_key: self.names.new_key.clone_ref(py),
                old_key: self.names.old_key.clone_ref(py),
            },
            bytes: Vec::new(),
            items: Vec::new().into_iter(),
            mark: None,
            pending: None,
        })
    }
}

fn read_plan(py: Python<'_>, plan: Bound<'_, PyAny>) -> PyResult<Known> {
    if plan.is_none() {
        return Ok(Known {
            plan: None,
            topic: PyString::new(py, "").unbind(),
        });
    }
    let pair = |name: &str| -> PyResult<(Vec<u8>, Vec<u8>)> {
        let (head, tail): (Bound<'_, PyBytes>, Bound<'_, PyBytes>) =
            plan.getattr(name)?.extract()?;
        Ok((head.as_bytes().to_vec(), tail.as_bytes().to_vec()))
    };
    let mut columns = Some(Vec::new());
    for column in plan.getattr("columns")?.try_iter()? {
        let column = read_column(&column?)?;
        columns = columns.zip(column).map(|(mut columns, column)| {
            columns.push(column);
            columns
        });
    }
    let source: Bound<'_, PyBytes> = plan.getattr("source")?.extract()?;
    let made = match columns {
        Some(columns) => Some(Arc::new(Plan {
            key: pair("key")?,
            value: pair("value")?,
            source: source.as_bytes().to_vec(),
            columns,
            key_columns: plan.getattr("key_columns")?.extract()?,
        })),
        None => None,
    };
    Ok(Known {
        plan: made,
        topic: plan.getattr("topic")?.extract()?,
    })
}

/// A column of a plan; None where its code is not known here.
fn read_column(column: &Bound<'_, PyAny>) -> PyResult<Option<Column>> {
    let bytes = |name: &str| -> PyResult<Vec<u8>> {
        let bytes: Bound<'_, PyBytes> = column.getattr(name)?.extract()?;
        Ok(bytes.as_bytes().to_vec())
    };
    let code: String = column.getattr("code")?.extract()?;
    let Some(code) = Code::parse(&code) else {
        return Ok(None);
    };
    let unavailable = match column.getattr("unavailable")?.is_none() {
        true => None,
        false => Some(bytes("unavailable")?),
    };
    Ok(Some(Column {
        index: column.getattr("position")?.extract()?,
        head: bytes("head")?,
        null: bytes("null")?,
        missing: bytes("missing")?,
        unavailable,
        code,
    }))
}

/// Iterates records as tuples `(topic, key, value, headers)`.
#[pyclass(module = "penstock_native")]
pub struct Records {
    encoder: Encoder,
    batch: Arc<batch::Batch>,
    events: Events,
    now: i64,
    other: Py<PyAny>,
    topics: Vec<Py<PyString>>,
    headers: Py<PyDict>,
    names: Names,
    /// The bytes of what is in `items`.
    bytes: Vec<u8>,
    items: vec::IntoIter<Item>,
    /// The mark of an origin, by its index.
    mark: Option<(u32, String)>,
    /// Records of an event that are made by Python.
    pending: Option<Py<PyIterator>>,
}

#[pymethods]
impl Records {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        loop {
            if let Some(pending) = &self.pending {
                match pending.bind(py).clone().next() {
                    Some(record) => return record.map(|record| Some(record.unbind())),
                    None => self.pending = None,
                }
            }
            match self.items.next() {
                Some(Item::Record(record)) => return self.tuple(py, &record).map(Some),
                Some(Item::Event(index)) => self.pending = Some(self.ask(py, index)?),
                None if !self.make_some(py)? => return Ok(None),
                None => {}
            }
        }
    }
}

impl Records {
    /// Encode without the GIL; whether there was anything left.
    fn make_some(&mut self, py: Python<'_>) -> PyResult<bool> {
        let Self { encoder, bytes, .. } = self;
        bytes.clear();
        let made = py.detach(|| encoder.some(SOME, bytes));
        let items = made.map_err(|error| errors::protocol(py, &error))?;
        let any = !items.is_empty();
        self.items = items.into_iter();
        Ok(any)
    }

    /// What Python makes of an event.
    fn ask(&mut self, py: Python<'_>, index: usize) -> PyResult<Py<PyIterator>> {
        let event = self.events.at(py, index)?;
        let marker = marker(&self.batch.events, index);
        let arguments = (event, marker, self.now, &*self.batch.database);
        let records = self.other.call1(py, arguments)?;
        Ok(records.bind(py).try_iter()?.unbind())
    }

    fn tuple(&mut self, py: Python<'_>, record: &Record) -> PyResult<Py<PyAny>> {
        let part = |place: &Option<_>| {
            let place: Option<std::ops::Range<usize>> = place.clone();
            place
                .and_then(|place| self.bytes.get(place))
                .map(|bytes| PyBytes::new(py, bytes))
        };
        let (key, value) = (part(&record.key), part(&record.value));
        let headers = match &record.moved {
            None => self.headers.bind(py).copy()?,
            Some((moved, place)) => {
                let name = match moved {
                    Moved::To => &self.names.new_key,
                    Moved::From => &self.names.old_key,
                };
                let key = self.bytes.get(place.clone()).unwrap_or_default();
                let headers = PyDict::new(py);
                headers.set_item(name, PyBytes::new(py, key).call_method0("decode")?)?;
                headers.update(self.headers.bind(py).as_mapping())?;
                headers
            }
        };
        if !matches!(&self.mark, Some((origin, _)) if *origin == record.origin) {
            let origin = self.batch.origins.get(record.origin as usize);
            let origin =
                origin.ok_or_else(|| PyIndexError::new_err("an origin beyond the last"))?;
            self.mark = Some((record.origin, format!("{origin}:")));
        }
        let mark = self.mark.as_ref().map_or("", |(_, mark)| mark);
        headers.set_item(&self.names.id, format!("{mark}{}", record.ordinal))?;
        let topic = self.topics.get(record.table as usize);
        let tuple = (topic, key, value, headers).into_pyobject(py)?;
        Ok(tuple.cast_into::<PyTuple>()?.into_any().unbind())
    }
}
