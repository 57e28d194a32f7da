//! Changes as Arrow record batches, the twin of Python's `penstock.model.arrow`.
//!
//! Which Arrow type a column has is decided there: a schema comes in for each table, and says by its
//! types how texts are read.

mod added;
mod column;
mod list;
mod sent;
#[cfg(test)]
mod tests;
mod text;
mod tile;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::{ArrowError, DataType, Field, Schema};

use self::added::Added;
use self::column::{Column, Unfit};
use self::tile::Place;
use crate::batch::{Batch, Event, Operation, Row, Span};
use crate::error::{DecodeError, EncodeError};
use crate::exact;
use crate::table::Table;
use crate::tuple::Value;

/// Why there are no record batches.
#[derive(Debug)]
pub enum Error {
    Encode(EncodeError),
    /// The schema is not one of the table, or the rows are too many for one record batch.
    Arrow(ArrowError),
}

impl<E: Into<EncodeError>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Encode(error.into())
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error)
    }
}

type Result<T> = std::result::Result<T, Error>;

/// A table that a batch has changes of, by its position among the batch's tables, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Height {
    pub table: usize,
    pub rows: usize,
}

/// The tables that a batch has changes of, in order of their appearance.
pub fn heights(batch: &Batch) -> Vec<Height> {
    let mut heights: Vec<Height> = Vec::new();
    let mut places = vec![None; batch.tables.len()];
    for row in batch.events.iter().filter_map(change) {
        let table = row.table as usize;
        if let Some(place) = places.get_mut(table) {
            let place = *place.get_or_insert_with(|| {
                heights.push(Height { table, rows: 0 });
                heights.len() - 1
            });
            heights[place].rows += 1;
        }
    }
    heights
}

/// The record batches of a batch's changes, one for each of its [`heights`].
///
/// Each comes with the schema of its table: the table's own columns and then those that are added,
/// as `penstock.model.arrow.schema` makes it.
pub fn record_batches(
    batch: &Batch,
    tables: impl IntoIterator<Item = (Height, Arc<Schema>)>,
) -> Result<Vec<RecordBatch>> {
    let mut places = vec![usize::MAX; batch.tables.len()];
    let mut all: Vec<Rows> = Vec::new();
    for (Height { table, rows }, schema) in tables {
        if let (Some(place), Some(table)) = (places.get_mut(table), batch.tables.get(table)) {
            *place = all.len();
            all.push(Rows::new(table, schema, rows)?);
        }
    }
    let mut events = batch.events.as_slice();
    while !events.is_empty() {
        let run = tile::alike(events).unwrap_or_else(|| events.get(..1).unwrap_or_default());
        events = events.get(run.len()..).unwrap_or_default();
        let table = run.first().and_then(change).map(|row| row.table as usize);
        let place = table.and_then(|table| places.get(table));
        if let Some(rows) = place.and_then(|&place| all.get_mut(place)) {
            rows.add(batch, run)?;
        }
    }
    all.into_iter().map(Rows::finish).collect()
}

/// The change that an event is; a truncate is one without a row.
fn change(event: &Event) -> Option<Row> {
    match *event {
        Event::Row(row) => Some(row),
        Event::Truncate {
            table,
            origin,
            ordinal,
            ..
        } => Some(Row {
            operation: Operation::Truncate,
            table,
            origin,
            ordinal,
            before: None,
            after: None,
            key: None,
            old_key: None,
        }),
        _ => None,
    }
}

/// The rows of one table, column by column.
struct Rows<'a> {
    table: &'a Table,
    schema: Arc<Schema>,
    cells: Cells,
    old_key: Cells,
    has_old_key: NullBufferBuilder,
    added: Added,
}

impl<'a> Rows<'a> {
    fn new(table: &'a Table, schema: Arc<Schema>, height: usize) -> Result<Self> {
        let mut cells = Cells::default();
        for (place, field) in (0..table.columns.len()).zip(schema.fields()) {
            cells.add(table, place, field, field.name().clone(), height)?;
        }
        // The last column is the texts, the one before it the old key where there is a key.
        let mut old_key = Cells::default();
        if let Some(field) = schema.fields().iter().rev().nth(1)
            && let DataType::Struct(parts) = field.data_type()
            && !table.key.is_empty()
        {
            for (&place, part) in table.key.iter().zip(parts) {
                let name = format!("{}.{}", field.name(), part.name());
                old_key.add(table, place, part, name, 0)?;
            }
        }
        Ok(Self {
            table,
            schema,
            cells,
            old_key,
            has_old_key: NullBufferBuilder::new(height),
            added: Added::new(height),
        })
    }

    /// One change, or rows that are alike.
    fn add(&mut self, batch: &Batch, run: &[Event]) -> Result<()> {
        if run.len() > 1 && self.cells.tile(batch, run) {
            self.old_key.nulls(run.len());
            self.has_old_key.append_n_nulls(run.len());
            return Ok(self.added.changes(batch, run.iter().filter_map(change))?);
        }
        run.iter()
            .filter_map(change)
            .try_for_each(|row| self.add_one(batch, &row))
    }

    fn add_one(&mut self, batch: &Batch, row: &Row) -> Result<()> {
        if let Some(span) = row.after.or(row.before) {
            self.cells.row(self.table, batch, span, &mut self.added)?;
        } else if let Some(span) = row.key {
            self.key_alone(batch, span)?;
        } else {
            self.cells.nulls(1);
        }
        if let Some(span) = row.old_key {
            self.old_key.row(self.table, batch, span, &mut self.added)?;
        } else {
            self.old_key.nulls(1);
        }
        self.has_old_key.append(row.old_key.is_some());
        self.added.change(batch, row)?;
        Ok(())
    }

    /// A row of which only the key is known.
    fn key_alone(&mut self, batch: &Batch, span: Span) -> Result<()> {
        let mut row = vec![Value::Null; self.table.columns.len()];
        let mut values = batch.values(span);
        for (n, &i) in self.table.key.iter().enumerate() {
            let value = values.next(n, self.table.key.len())?;
            if let Some(place) = row.get_mut(i) {
                *place = value;
            }
        }
        for (cell, value) in self.cells.columns.iter_mut().zip(row) {
            cell.put(self.table, value, &mut self.added, &mut self.cells.scratch)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<RecordBatch> {
        let mut arrays = self.cells.finish()?;
        let key = self.old_key.finish()?;
        let old_key = match self
            .schema
            .fields()
            .iter()
            .rev()
            .nth(1)
            .map(|f| f.data_type())
        {
            Some(DataType::Struct(parts)) if !key.is_empty() => {
                let mut has = self.has_old_key;
                let array = StructArray::try_new(parts.clone(), key, has.finish())?;
                Some(Arc::new(array) as ArrayRef)
            }
            _ => None,
        };
        self.added.finish(&self.schema, old_key, &mut arrays)?;
        Ok(RecordBatch::try_new(self.schema, arrays)?)
    }
}

/// Columns side by side.
#[derive(Default)]
struct Cells {
    columns: Vec<Cell>,
    scratch: Vec<u8>,
    places: Vec<Place>,
}

impl Cells {
    fn add(
        &mut self,
        table: &Table,
        place: usize,
        field: &Field,
        name: String,
        height: usize,
    ) -> Result<()> {
        let Some(column) = table.columns.get(place) else {
            return Err(ArrowError::SchemaError(format!("{name} is no column")).into());
        };
        self.columns.push(Cell {
            place,
            base: column.kind.base,
            name,
            sql: field
                .metadata()
                .get("penstock.type")
                .cloned()
                .unwrap_or_default(),
            values: Column::new(field.data_type(), &column.kind, height)?,
        });
        Ok(())
    }

    /// A packed row of these columns.
    fn row(&mut self, table: &Table, batch: &Batch, span: Span, added: &mut Added) -> Result<()> {
        let arity = self.columns.len();
        let mut values = batch.values(span);
        for (i, cell) in self.columns.iter_mut().enumerate() {
            cell.put(table, values.next(i, arity)?, added, &mut self.scratch)?;
        }
        Ok(())
    }

    /// Rows that are alike; false where nothing was stored, as they have to be read value by value.
    fn tile(&mut self, batch: &Batch, run: &[Event]) -> bool {
        let arity = self.columns.len();
        if tile::places(batch, run, arity, &mut self.places).is_none() {
            return false;
        }
        let height = self.columns.first().map_or(0, |cell| cell.values.len());
        let columns = self.columns.iter_mut().zip(self.places.chunks(run.len()));
        for (cell, places) in columns {
            let stored = cell.values.sent_at(cell.base, &batch.bytes, places);
            if stored.is_none() {
                for cell in &mut self.columns {
                    cell.values.truncate(height);
                }
                return false;
            }
        }
        true
    }

    fn nulls(&mut self, count: usize) {
        for cell in &mut self.columns {
            cell.values.nulls(count);
        }
    }

    fn finish(self) -> Result<Vec<ArrayRef>> {
        self.columns
            .into_iter()
            .map(|cell| Ok(cell.values.finish()?))
            .collect()
    }
}

/// A column as it is filled.
struct Cell {
    /// Its position in the table.
    place: usize,
    base: u32,
    /// What the added columns call it.
    name: String,
    /// The source's spelling of its type.
    sql: String,
    values: Column,
}

impl Cell {
    #[inline]
    fn put(
        &mut self,
        table: &Table,
        value: Value<'_>,
        added: &mut Added,
        scratch: &mut Vec<u8>,
    ) -> Result<()> {
        let text = match value {
            Value::Text(text) => text,
            Value::Null => {
                self.values.null();
                return Ok(());
            }
            Value::Unchanged => {
                self.values.null();
                return Ok(added.unchanged(&self.name)?);
            }
            Value::Binary(bytes) => {
                if self.values.sent(self.base, bytes) {
                    return Ok(());
                }
                exact::text(table, self.place, bytes, scratch)?
            }
        };
        match self.values.text(text) {
            Ok(()) => Ok(()),
            Err(Unfit::Misfit) => {
                self.values.null();
                let text = std::str::from_utf8(text).map_err(|_| self.wrong(table, text))?;
                Ok(added.text(&self.name, text)?)
            }
            Err(Unfit::Wrong) => Err(self.wrong(table, text).into()),
            Err(Unfit::TooLarge) => Err(column::too_large().into()),
        }
    }

    fn wrong(&self, table: &Table, text: &[u8]) -> DecodeError {
        let mut shown = String::new();
        for &byte in text.iter().take(80) {
            match byte {
                0..0x80 => shown.push(byte.into()),
                _ => shown.push_str(&format!("\\x{byte:02x}")),
            }
        }
        DecodeError {
            table: table.text.clone(),
            message: format!(
                "{}.{}: cannot read '{shown}' as {}",
                table.text, self.name, self.sql
            ),
            hint: "the session must have client_encoding=UTF8 and bytea_output=hex".to_owned(),
        }
    }
}
