//! The decoder, as Python holds it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use penstock_wire::decoder::{self, Settings};
use penstock_wire::frames;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::batch::Batch;
use crate::errors;
use crate::projection::compiled;
use crate::shape::Shape;

const MANY: usize = 256;

/// A payload, alone or in the midst of others.
struct Payload {
    bytes: Py<PyBytes>,
    range: Range<usize>,
}

impl Payload {
    fn get<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        let bytes = self.bytes.as_bytes(py);
        bytes.get(self.range.clone()).unwrap_or_default()
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
    waiting: Vec<Payload>,
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

    /// Keep payloads for later: a list of them, or CopyData messages as they stand in the stream.
    fn push(&mut self, py: Python<'_>, payloads: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(messages) = payloads.cast::<PyBytes>() {
            let ranges = frames::ranges(messages.as_bytes());
            let ranges = ranges.map_err(|error| errors::protocol(py, &error))?;
            self.waiting.extend(ranges.into_iter().map(|range| Payload {
                bytes: messages.clone().unbind(),
                range,
            }));
            return Ok(());
        }
        let payloads = payloads.cast::<PyList>()?;
        self.waiting.reserve(payloads.len());
        for payload in payloads {
            let bytes = payload.cast_into::<PyBytes>()?;
            let range = 0..bytes.as_bytes().len();
            self.waiting.push(Payload {
                bytes: bytes.unbind(),
                range,
            });
        }
        Ok(())
    }

    /// Decode what waits. Raises ProtocolError; the decoder is of no use then.
    fn decode(&mut self, py: Python<'_>) -> PyResult<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let payloads: Vec<&[u8]> = waiting.iter().map(|payload| payload.get(py)).collect();
        let inner = &mut self.inner;
        let used = py
            .detach(|| inner.decode(payloads.iter().copied()))
            .map_err(|error| errors::protocol(py, &error))?;
        self.waiting = waiting;
        self.waiting.drain(..used);
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
