//! The columns that are added to a table's own: what happened, where, when, and what they miss.

use std::sync::Arc;

use arrow_array::types::{Int8Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, DictionaryArray, ListArray, MapArray, StringArray, StructArray};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::{ArrowError, DataType, Schema};

use super::column::{Bytes, Unfit, offsets, primitive, too_large};
use crate::batch::{Batch, Operation, Origin, Row};
use crate::json_frame::number;

/// As Python's `penstock.model.OPERATIONS`.
const OPERATIONS: [&str; 6] = ["insert", "update", "delete", "truncate", "read", "upsert"];

pub(super) struct Added {
    operations: Vec<i8>,
    ids: Bytes,
    versions: Vec<i64>,
    has_version: NullBufferBuilder,
    ordinals: Vec<i64>,
    committed: Vec<i64>,
    has_committed: NullBufferBuilder,
    unchanged: Lists,
    names: Bytes,
    texts: Lists,
    /// The origin that `id` is of.
    origin: Option<u32>,
    id: Id,
}

/// The id of one change after the other.
#[derive(Default)]
struct Id {
    text: Vec<u8>,
    /// Where the ordinal begins.
    mark: usize,
    ordinal: Option<u64>,
}

impl Id {
    fn begin(&mut self, origin: Option<&Origin>) {
        self.text.clear();
        if let Some(origin) = origin {
            self.text.extend_from_slice(origin.to_string().as_bytes());
        }
        self.text.push(b':');
        self.mark = self.text.len();
        self.ordinal = None;
    }

    fn of(&mut self, ordinal: u64) -> &[u8] {
        let follows = self.ordinal.and_then(|last| last.checked_add(1)) == Some(ordinal);
        match self.text.last_mut() {
            Some(digit @ b'0'..=b'8') if follows => *digit += 1,
            _ => {
                self.text.truncate(self.mark);
                number(ordinal, &mut self.text);
            }
        }
        self.ordinal = Some(ordinal);
        &self.text
    }
}

/// Where the lists of a column end; one that has no entries is null.
struct Lists {
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    entries: Bytes,
}

impl Lists {
    fn new(height: usize) -> Self {
        let mut offsets = Vec::with_capacity(height + 1);
        offsets.push(0);
        Self {
            offsets,
            nulls: NullBufferBuilder::new(height),
            entries: Bytes::new(0),
        }
    }

    /// So many lists without entries.
    fn close_empty(&mut self, count: usize) {
        let end = self.offsets.last().copied().unwrap_or(0);
        self.offsets.resize(self.offsets.len() + count, end);
        self.nulls.append_n_nulls(count);
    }

    fn close(&mut self) -> Result<(), ArrowError> {
        let end = i32::try_from(self.entries.len()).map_err(|_| too_large())?;
        self.nulls.append(self.offsets.last() != Some(&end));
        self.offsets.push(end);
        Ok(())
    }
}

impl Added {
    pub(super) fn new(height: usize) -> Self {
        Self {
            operations: Vec::with_capacity(height),
            ids: Bytes::new(height),
            versions: Vec::with_capacity(height),
            has_version: NullBufferBuilder::new(height),
            ordinals: Vec::with_capacity(height),
            committed: Vec::with_capacity(height),
            has_committed: NullBufferBuilder::new(height),
            unchanged: Lists::new(height),
            names: Bytes::new(0),
            texts: Lists::new(height),
            origin: None,
            id: Id::default(),
        }
    }

    /// The log did not repeat a column of the change that comes next.
    pub(super) fn unchanged(&mut self, name: &str) -> Result<(), ArrowError> {
        push(&mut self.unchanged.entries, name)
    }

    /// A column of the change that comes next cannot hold this text.
    pub(super) fn text(&mut self, name: &str, text: &str) -> Result<(), ArrowError> {
        push(&mut self.names, name)?;
        push(&mut self.texts.entries, text)
    }

    /// A change, once all of its columns are told.
    pub(super) fn change(&mut self, batch: &Batch, row: &Row) -> Result<(), ArrowError> {
        self.begin(batch, row.origin);
        self.place(row.ordinal)?;
        self.tell(batch, row, 1);
        self.unchanged.close()?;
        self.texts.close()
    }

    /// Changes of one origin and one operation that miss nothing.
    pub(super) fn changes(
        &mut self,
        batch: &Batch,
        rows: impl Iterator<Item = Row>,
    ) -> Result<(), ArrowError> {
        let (mut last, mut count) = (None, 0);
        for row in rows {
            if last.is_none() {
                self.begin(batch, row.origin);
            }
            self.place(row.ordinal)?;
            (last, count) = (Some(row), count + 1);
        }
        if let Some(row) = last {
            self.tell(batch, &row, count);
        }
        self.unchanged.close_empty(count);
        self.texts.close_empty(count);
        Ok(())
    }

    /// The changes that follow are of this origin.
    fn begin(&mut self, batch: &Batch, origin: u32) {
        if self.origin != Some(origin) {
            self.origin = Some(origin);
            self.id.begin(batch.origins.get(origin as usize));
        }
    }

    /// What so many changes share.
    fn tell(&mut self, batch: &Batch, row: &Row, count: usize) {
        let origin = batch.origins.get(row.origin as usize);
        let version = origin.and_then(Origin::version);
        let committed = origin.and_then(Origin::committed_us);
        let operation = match row.operation {
            Operation::Insert => 0,
            Operation::Update => 1,
            Operation::Delete => 2,
            Operation::Truncate => 3,
            Operation::Read => 4,
        };
        let height = self.operations.len() + count;
        self.operations.resize(height, operation);
        self.versions.resize(height, version.unwrap_or(0) as i64); // positions have 63 bits
        match version {
            Some(_) => self.has_version.append_n_non_nulls(count),
            None => self.has_version.append_n_nulls(count),
        }
        self.committed.resize(height, committed.unwrap_or(0));
        match committed {
            Some(_) => self.has_committed.append_n_non_nulls(count),
            None => self.has_committed.append_n_nulls(count),
        }
    }

    fn place(&mut self, ordinal: u64) -> Result<(), ArrowError> {
        let id = self.ids.push(self.id.of(ordinal));
        id.map_err(|_| too_large())?;
        self.ordinals.push(ordinal as i64);
        Ok(())
    }

    /// Append the columns in the schema's order.
    pub(super) fn finish(
        mut self,
        schema: &Schema,
        old_key: Option<ArrayRef>,
        arrays: &mut Vec<ArrayRef>,
    ) -> Result<(), ArrowError> {
        let words = StringArray::from_iter_values(OPERATIONS);
        let operations = primitive::<Int8Type>(self.operations, None)?;
        let ids: ArrayRef = Arc::new(self.ids.strings(None)?);
        let committed =
            primitive::<TimestampMicrosecondType>(self.committed, self.has_committed.finish())?;
        arrays.extend([
            Arc::new(DictionaryArray::try_new(operations, Arc::new(words))?) as ArrayRef,
            Arc::clone(&ids),
            ids, // an id is its mark
            Arc::new(primitive::<Int64Type>(
                self.versions,
                self.has_version.finish(),
            )?),
            Arc::new(primitive::<Int64Type>(self.ordinals, None)?),
            Arc::new(committed.with_timezone("UTC")),
        ]);
        let mut rest = schema.fields().iter().skip(arrays.len());
        let unchanged = self.unchanged;
        if let Some(DataType::List(field)) = rest.next().map(|field| field.data_type()) {
            arrays.push(Arc::new(list(unchanged, Arc::clone(field))?));
        }
        arrays.extend(old_key);
        if let Some(DataType::Map(entries, sorted)) =
            schema.fields().last().map(|field| field.data_type())
            && let DataType::Struct(parts) = entries.data_type()
        {
            let Lists {
                offsets: ends,
                mut nulls,
                entries: texts,
            } = self.texts;
            let columns: Vec<ArrayRef> = vec![
                Arc::new(self.names.strings(None)?),
                Arc::new(texts.strings(None)?),
            ];
            let pairs = StructArray::try_new(parts.clone(), columns, None)?;
            let entries = Arc::clone(entries);
            let map = MapArray::try_new(entries, offsets(ends), pairs, nulls.finish(), *sorted)?;
            arrays.push(Arc::new(map));
        }
        Ok(())
    }
}

fn list(lists: Lists, field: arrow_schema::FieldRef) -> Result<ListArray, ArrowError> {
    let Lists {
        offsets: ends,
        mut nulls,
        entries,
    } = lists;
    let names = Arc::new(entries.strings(None)?);
    ListArray::try_new(field, offsets(ends), names, nulls.finish())
}

fn push(into: &mut Bytes, text: &str) -> Result<(), ArrowError> {
    into.push(text.as_bytes()).map_err(|unfit| match unfit {
        Unfit::TooLarge | Unfit::Misfit | Unfit::Wrong => too_large(),
    })
}
