//! Rows of write, update and delete events, packed.

use super::event::Fields;
use super::field::{Field, count_set, is_set};
use super::{Leave, Result};
use crate::batch::{Batch, Operation, Span};
use crate::projection::Projection;
use crate::rows::{Images, span};
use crate::tuple::{Value, Values};

/// Reads the rows of a table as one description has it.
#[derive(Debug)]
pub struct Reader {
    fields: Vec<Field>,
    /// Positions of the key's columns in key order, as the table comes.
    key: Vec<usize>,
    projection: Option<Projection>,
    /// A row before it is projected, and the one before that.
    scratch: (Vec<u8>, Vec<u8>),
}

/// Which columns an event's rows have.
struct Present<'a> {
    bitmap: &'a [u8],
    count: usize,
    whole: bool,
    /// The bits of the last byte of a row's bitmap of nulls that are of columns: servers differ in
    /// what the others are.
    last: u8,
}

impl<'a> Present<'a> {
    fn read(fields: &mut Fields<'a>, width: usize) -> Result<Self> {
        let bitmap = fields.take(width.div_ceil(8))?;
        let count = count_set(bitmap, width);
        Ok(Self {
            bitmap,
            count,
            whole: count == width,
            last: 0xFF >> (count.div_ceil(8) * 8 - count),
        })
    }
}

impl Reader {
    /// `key`: positions among the fields.
    pub fn new(fields: Vec<Field>, key: Vec<usize>, projection: Option<Projection>) -> Self {
        Self {
            fields,
            key,
            projection,
            scratch: (Vec::new(), Vec::new()),
        }
    }

    /// Read the rows behind an event's header and append them to a batch; `add` gets each of them.
    pub fn rows(
        &mut self,
        operation: Operation,
        event: &mut Fields<'_>,
        batch: &mut Batch,
        mut add: impl FnMut(&mut Batch, Images),
    ) -> Result<()> {
        let width = self.fields.len();
        if event.packed()? != width as u64 {
            return Err(Leave);
        }
        let first = Present::read(event, width)?;
        let second = match operation {
            Operation::Update => Some(Present::read(event, width)?),
            Operation::Insert if !first.whole => return Err(Leave),
            _ => None,
        };
        while !event.is_empty() {
            let before = event.rest().len();
            let images = match &second {
                Some(second) => self.update(&first, second, event, batch)?,
                None => self.one(operation, &first, event, batch)?,
            };
            if event.rest().len() == before {
                return Err(Leave); // rows without columns
            }
            add(batch, images);
        }
        Ok(())
    }

    /// An insert or a delete.
    #[inline]
    fn one(
        &mut self,
        operation: Operation,
        present: &Present<'_>,
        event: &mut Fields<'_>,
        batch: &mut Batch,
    ) -> Result<Images> {
        let start = batch.bytes.len();
        if self.projection.is_none() && present.whole {
            self.image(present, event, &mut batch.bytes)?;
            return Ok(images(operation, place(start, batch)?));
        }
        let mut row = std::mem::take(&mut self.scratch.0);
        row.clear();
        self.image(present, event, &mut row)?;
        let found = if present.whole {
            self.pack(&row, batch).map(|span| images(operation, span))
        } else {
            let key = self.pack_key(&row, batch)?.ok_or(Leave)?;
            Ok(Images {
                key: Some(key),
                ..Images::default()
            })
        };
        self.scratch.0 = row;
        found
    }

    /// An update; columns that one image leaves out are taken from the other, where they are.
    fn update(
        &mut self,
        first: &Present<'_>,
        second: &Present<'_>,
        event: &mut Fields<'_>,
        batch: &mut Batch,
    ) -> Result<Images> {
        let (mut old, mut new) = std::mem::take(&mut self.scratch);
        old.clear();
        new.clear();
        self.image(first, event, &mut old)?;
        self.image(second, event, &mut new)?;
        if !second.whole {
            new = self.completed(&old, &new)?;
        }
        let (mut changed, mut old_complete) = (false, true);
        for &column in &self.key {
            let (before, after) = (self.value(&old, column)?, self.value(&new, column)?);
            if after == Value::Unchanged {
                return Err(Leave); // the key is not known
            }
            old_complete &= before != Value::Unchanged;
            changed |= before != after;
        }
        let found = Images {
            before: match first.whole {
                true => Some(self.pack(&old, batch)?),
                false => None,
            },
            after: Some(self.pack(&new, batch)?),
            key: None,
            old_key: match changed && old_complete {
                true => self.pack_key(&old, batch)?,
                false => None,
            },
        };
        self.scratch = (old, new);
        Ok(found)
    }

    /// Append a row as it comes.
    #[inline]
    fn image(
        &self,
        present: &Present<'_>,
        event: &mut Fields<'_>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let nulls = event.take(present.count.div_ceil(8))?;
        let none = nulls.split_last().is_none_or(|(&last, others)| {
            last & present.last == 0 && others.iter().all(|&byte| byte == 0)
        });
        if present.whole && none {
            return self
                .fields
                .iter()
                .try_for_each(|field| field.pack(event, out));
        }
        let mut n = 0;
        for (i, field) in self.fields.iter().enumerate() {
            if !is_set(present.bitmap, i) {
                out.push(b'u');
                continue;
            }
            if is_set(nulls, n) {
                out.push(b'n');
            } else {
                field.pack(event, out)?;
            }
            n += 1;
        }
        Ok(())
    }

    /// A new row with what it leaves out taken from the old one.
    fn completed(&self, old: &[u8], new: &[u8]) -> Result<Vec<u8>> {
        let width = self.fields.len();
        let mut bytes = Vec::with_capacity(new.len());
        let (mut olds, mut news) = (Values::new(old, 0), Values::new(new, 0));
        for column in 0..width {
            let before = olds.next(column, width).map_err(|_| Leave)?;
            let after = news.next(column, width).map_err(|_| Leave)?;
            let value = if after == Value::Unchanged {
                before
            } else {
                after
            };
            value.pack(&mut bytes);
        }
        Ok(bytes)
    }

    fn value<'a>(&self, row: &'a [u8], column: usize) -> Result<Value<'a>> {
        let width = self.fields.len();
        let mut values = Values::new(row, 0);
        for before in 0..column {
            values.next(before, width).map_err(|_| Leave)?;
        }
        values.next(column, width).map_err(|_| Leave)
    }

    /// Append what goes on of a row.
    fn pack(&self, row: &[u8], batch: &mut Batch) -> Result<Span> {
        let start = batch.bytes.len();
        match &self.projection {
            None => batch.bytes.extend_from_slice(row),
            Some(projection) => projection.row(row, &mut batch.bytes).map_err(|_| Leave)?,
        }
        place(start, batch)
    }

    /// Append the key's columns alone, in key order; None where there is no key or not all of it.
    fn pack_key(&self, row: &[u8], batch: &mut Batch) -> Result<Option<Span>> {
        if self.key.is_empty() {
            return Ok(None);
        }
        let start = batch.bytes.len();
        for &column in &self.key {
            if self.value(row, column)? == Value::Unchanged {
                return Ok(None);
            }
        }
        match &self.projection {
            Some(projection) => projection.key(row, &mut batch.bytes).map_err(|_| Leave)?,
            None => {
                for &column in &self.key {
                    self.value(row, column)?.pack(&mut batch.bytes);
                }
            }
        }
        place(start, batch).map(Some)
    }
}

#[inline]
fn images(operation: Operation, row: Span) -> Images {
    match operation {
        Operation::Delete => Images {
            before: Some(row),
            ..Images::default()
        },
        _ => Images {
            after: Some(row),
            ..Images::default()
        },
    }
}

#[inline]
fn place(start: usize, batch: &Batch) -> Result<Span> {
    span(start, batch.bytes.len()).map_err(|_| Leave)
}
