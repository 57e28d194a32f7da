//! Events into batches: cut at a commit where possible, inside a transaction only for size.

use std::mem;
use std::sync::Arc;

use crate::batch::{Batch, Extent};

/// The size of most batches of a busy log.
const USUAL: usize = 1 << 20;

/// Gathers the events of a stream; whoever decodes appends to `batch` and adds to its size.
#[derive(Debug)]
pub struct Assembly {
    pub batch: Batch,
    /// Another number whenever indexes into `batch` that were noted before are of no use any more.
    pub epoch: u64,
    position: u64, // where reading may start again after the sealed events
    handed: u64,   // the position of the last checkpoint handed over
    sealed: Extent,
    ready: Vec<Batch>,
}

impl Assembly {
    pub fn new(stream: &str, database: &str) -> Self {
        Self {
            batch: Batch::new(Arc::from(stream), Arc::from(database)),
            epoch: 1, // what was never noted is of epoch 0
            position: 0,
            handed: 0,
            sealed: Extent::default(),
            ready: Vec::new(),
        }
    }

    /// No transaction is open, and reading from `position` on repeats nothing of before.
    pub fn advance(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// The position of the last batch that ended with one.
    pub fn handed(&self) -> u64 {
        self.handed
    }

    /// No transaction is open: all events so far may be handed over.
    pub fn seal(&mut self) {
        self.sealed = self.batch.extent();
    }

    /// End the batch at the last transaction end; an empty one if only the position moved.
    pub fn close_sealed(&mut self) {
        if self.sealed.is_empty() && self.position == self.handed {
            return;
        }
        let mut closed = self.split(self.sealed);
        closed.position = (self.position != 0).then_some(self.position);
        self.ready.push(closed);
        self.sealed = Extent::default();
        self.handed = self.position;
    }

    /// End the batch here, inside a transaction if one is open.
    pub fn close_all(&mut self) {
        self.close_sealed();
        if !self.batch.events.is_empty() {
            let closed = self.split(self.batch.extent());
            self.ready.push(closed);
        }
        self.batch.size = 0;
    }

    /// End a batch that is full: at the last commit, or else where it is.
    pub fn cut(&mut self, max_bytes: usize) {
        self.close_sealed();
        if self.batch.size >= max_bytes {
            self.close_all();
        }
    }

    /// Whether a batch has ended since the last [`Assembly::take`].
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The batches that have ended since the last call.
    pub fn take(&mut self) -> Vec<Batch> {
        mem::take(&mut self.ready)
    }

    fn split(&mut self, at: Extent) -> Batch {
        if at.is_empty() {
            let (stream, database) = (&self.batch.stream, &self.batch.database);
            let mut closed = Batch::new(Arc::clone(stream), Arc::clone(database));
            closed.size = at.size();
            self.batch.size -= at.size();
            return closed;
        }
        self.epoch += 1;
        let closed = self.batch.split(at);
        if self.batch.bytes.is_empty() {
            self.batch.bytes.reserve(closed.bytes.len().min(USUAL)); // the next is about as large
        }
        closed
    }
}
