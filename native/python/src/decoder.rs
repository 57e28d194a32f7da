//! The decoder, as Python holds it.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use penstock_wire::decoder::{self, Settings};
use penstock_wire::frames;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::batch::Batch;
use crate::errors;
use crate::frames::Frames;
use crate::projection::compiled;
use crate::shape::Shape;

const MANY: usize = 256;

/// Payloads that came together.
enum Payloads {
    List(VecDeque<Py<PyBytes>>),
    /// Bytes, and where payloads lie in them.
    Frames(Vec<u8>, VecDeque<Range<usize>>),
}

impl Payloads {
    fn get<'a>(&'a self, py: Python<'a>, into: &mut Vec<&'a [u8]>) {
        match self {
            Self::List(list) => into.extend(list.iter().map(|payload| payload.as_bytes(py))),
            Self::Frames(bytes, ranges) => {
                let payload = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
                into.extend(ranges.iter().map(payload));
            }
        }
    }

    /// Drop the first payloads; how many are left to drop of others.
    fn drop(&mut self, count: usize) -> usize {
        let there = self.len();
        match self {
            Self::List(list) => drop(list.drain(..count.min(there))),
            Self::Frames(_, ranges) => drop(ranges.drain(..count.min(there))),
        }
        count.saturating_sub(there)
    }

    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Frames(_, ranges) => ranges.len(),
        }
    }
}

/// Turns payloads into batches, and stops at the first row of a relation that was announced anew.
///
/// Parameters
/// ----------
/// database: its name, which formats show.
/// messages: prefixes of the logical messages that are wanted; None for all.
/// max_bytes: how large a batch may get before it is cut inside a transaction.
/// binary: whether values may come in binary form.
#[pyclass(module = "penstock_native")]
pub struct Decoder {
    inner: decoder::Decoder,
    /// Payloads behind a row that could not be read yet, and that one.
    waiting: Vec<Payloads>,
    /// The `penstock.model.Table` of a shape, by its handle; old ones go when so many are there.
    tables: HashMap<u32, Py<PyAny>>,
    many: usize,
}

#[pymethods]
impl Decoder {
    #[new]
    #[pyo3(signature = (*, database, messages, max_bytes, binary=false))]
    fn new(
        database: String,
        messages: Option<Vec<String>>,
        max_bytes: usize,
        binary: bool,
    ) -> Self {
        let settings = Settings {
            database,
            messages,
            max_bytes,
            binary,
        };
        Self {
            inner: decoder::Decoder::new(settings),
            waiting: Vec::new(),
            tables: HashMap::new(),
            many: MANY,
        }
    }

    /// Keep payloads for later: a list of them, or Frames.
    fn push(&mut self, py: Python<'_>, payloads: &Bound<'_, PyAny>) -> PyResult<()> {
        self.waiting
            .push(if let Ok(frames) = payloads.cast::<Frames>() {
                let bytes = frames.borrow_mut().take()?;
                let ranges = frames::ranges(&bytes).collect::<Result<_, _>>();
                let ranges = ranges.map_err(|error| errors::protocol(py, &error))?;
                Payloads::Frames(bytes, ranges)
            } else {
                Payloads::List(payloads.cast::<PyList>()?.extract::<Vec<_>>()?.into())
            });
        Ok(())
    }

    /// Decode what waits. Raises ProtocolError; the decoder is of no use then.
    fn decode(&mut self, py: Python<'_>) -> PyResult<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut payloads = Vec::with_capacity(waiting.iter().map(Payloads::len).sum());
        for together in &waiting {
            together.get(py, &mut payloads);
        }
        let inner = &mut self.inner;
        let mut used = py
            .detach(|| inner.decode(payloads.iter().copied()))
            .map_err(|error| errors::protocol(py, &error))?;
        for together in &mut waiting {
            used = together.drop(used);
        }
        waiting.retain(|together| together.len() > 0);
        self.waiting = waiting;
        Ok(())
    }

    /// The relation that must be decided on before decoding goes on.
    #[getter]
    fn needs(&self) -> Option<u32> {
        self.inner.needs()
    }

    /// The RELATION messages since the last call, without their tag, in order.
    fn announced(&mut self, py: Python<'_>) -> Vec<Py<PyBytes>> {
        self.inner
            .announced()
            .iter()
            .map(|message| PyBytes::new(py, message).unbind())
            .collect()
    }

    /// Tell of a table's new shape: a batch of its own begins with the news.
    fn announce(&mut self, py: Python<'_>, before: Option<&Shape>, after: &Shape) {
        for shape in before.into_iter().chain([after]) {
            self.tables
                .insert(shape.inner.handle, shape.table.clone_ref(py));
        }
        self.inner
            .announce(before.map(|shape| &shape.inner), &after.inner);
    }

    /// Read the rows of a relation by this shape from now on; `projection`, a
    /// `penstock.model.projection.Projection`, makes rows of that shape out of those that come.
    #[pyo3(signature = (oid, shape, projection=None))]
    fn read(
        &mut self,
        py: Python<'_>,
        oid: u32,
        shape: &Shape,
        projection: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.tables
            .insert(shape.inner.handle, shape.table.clone_ref(py));
        let projection = projection.map(compiled).transpose()?;
        self.inner.read(oid, &shape.inner, projection);
        Ok(())
    }

    /// Read no rows of a relation.
    fn skip(&mut self, oid: u32) {
        self.inner.skip(oid);
    }

    /// What is complete, as batches; the rest of an open transaction is kept.
    fn take(&mut self, py: Python<'_>) -> Vec<Batch> {
        let taken = self.inner.take();
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

    /// The highest position seen: of commits, keepalives and the last payload of each feed.
    #[getter]
    fn received(&self) -> u64 {
        self.inner.received()
    }

    /// Whether the last payload left a transaction open.
    #[getter]
    fn in_transaction(&self) -> bool {
        self.inner.in_transaction()
    }
}
