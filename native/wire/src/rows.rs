//! How the tuples of one version of a table become packed rows.

use std::sync::Arc;

use crate::batch::{Operation, Span};
use crate::error::ProtocolError;
use crate::exact;
use crate::projection::Projection;
use crate::reader::Reader;
use crate::table::Table;
use crate::tuple::{Value, Values};

/// A tuple as it came, checked.
#[derive(Debug, Clone, Copy)]
struct Tuple<'a> {
    bytes: &'a [u8],
    /// Whether the log did not repeat some value.
    partial: bool,
}

/// A change's packed rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Images {
    pub before: Option<Span>,
    pub after: Option<Span>,
    pub key: Option<Span>,
    pub old_key: Option<Span>,
}

/// Reads and packs the rows of one version of a table.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The table that goes on.
    pub table: Arc<Table>,
    /// The table as it comes.
    source: Arc<Table>,
    projection: Option<Projection>,
    binary: bool,
}

impl Layout {
    /// `projection`: makes rows of the table out of those that come; None where they are its rows.
    /// `binary`: whether values may come in binary form.
    pub fn new(table: &Arc<Table>, projection: Option<Projection>, binary: bool) -> Self {
        let source = projection.as_ref().map_or(table, Projection::source);
        Self {
            table: Arc::clone(table),
            source: Arc::clone(source),
            projection,
            binary,
        }
    }

    /// Read the tuples of a row message, after its relation, and append what they are to `into`.
    #[inline]
    pub fn images(
        &self,
        operation: Operation,
        reader: &mut Reader<'_>,
        into: &mut Vec<u8>,
    ) -> Result<Images, ProtocolError> {
        let form = reader.byte()?;
        if form == b'N' && operation != Operation::Delete {
            let after = Some(self.pack(self.tuple(reader)?, into)?);
            return Ok(Images {
                after,
                ..Images::default()
            });
        }
        if !matches!(form, b'K' | b'O') || operation == Operation::Insert {
            return Err(no_tuple(form, reader.at() - 1));
        }
        let whole = form == b'O';
        let old = self.tuple(reader)?;
        if operation == Operation::Delete {
            return if whole {
                Ok(Images {
                    before: Some(self.pack(old, into)?),
                    ..Images::default()
                })
            } else {
                Ok(Images {
                    key: self.pack_key(old, into)?,
                    ..Images::default()
                })
            };
        }
        let form = reader.byte()?;
        if form != b'N' {
            return Err(no_tuple(form, reader.at() - 1));
        }
        let new = self.tuple(reader)?;
        let completed = self.completed(old, new, whole)?;
        let new = completed.as_deref().map_or(new, Tuple::whole);
        Ok(Images {
            before: if whole {
                Some(self.pack(old, into)?)
            } else {
                None
            },
            after: Some(self.pack(new, into)?),
            key: None,
            old_key: if self.key_changed(old, new)? {
                self.pack_key(old, into)?
            } else {
                None
            },
        })
    }

    /// The tuple that comes next; its number of columns must be the table's.
    #[inline]
    fn tuple<'a>(&self, reader: &mut Reader<'a>) -> Result<Tuple<'a>, ProtocolError> {
        let arity = usize::from(reader.short()?);
        if arity != self.source.columns.len() {
            let announced = self.source.columns.len();
            let message = format!("a row of {arity} columns, but RELATION announced {announced}");
            return Err(ProtocolError::new(message, reader.at() - 2).table(&self.table.text));
        }
        let start = reader.at();
        let rest = reader.rest();
        let mut values = Values::new(reader.data(), start);
        let mut partial = false;
        for column in 0..arity {
            let at = values.at();
            match values.next(column, arity)? {
                Value::Unchanged => partial = true,
                Value::Binary(_) if !self.binary => return Err(unasked(column, arity, at)),
                _ => {}
            }
        }
        reader.seek(values.at());
        let bytes = rest.get(..values.at() - start).unwrap_or(&[]);
        Ok(Tuple { bytes, partial })
    }

    /// Append a row. All rows pass here, whatever they came as.
    #[inline]
    fn pack(&self, tuple: Tuple<'_>, into: &mut Vec<u8>) -> Result<Span, ProtocolError> {
        let start = into.len();
        match &self.projection {
            None => into.extend_from_slice(tuple.bytes),
            Some(projection) => projection.row(tuple.bytes, into)?,
        }
        span(start, into.len())
    }

    /// Append the key's columns alone, in key order; None where the table has no key.
    fn pack_key(
        &self,
        tuple: Tuple<'_>,
        into: &mut Vec<u8>,
    ) -> Result<Option<Span>, ProtocolError> {
        if self.table.key.is_empty() {
            return Ok(None);
        }
        let start = into.len();
        if let Some(projection) = &self.projection {
            projection.key(tuple.bytes, into)?;
            return span(start, into.len()).map(Some);
        }
        for &column in &self.table.key {
            let mut values = Values::new(tuple.bytes, 0);
            let arity = self.table.columns.len();
            for before in 0..column {
                values.next(before, arity)?;
            }
            values.next(column, arity)?.pack(into);
        }
        span(start, into.len()).map(Some)
    }

    /// The new tuple with the values that it does not repeat taken from the old one, which is of
    /// all columns (`whole`) or of the key's only; None where it is complete as it is.
    fn completed(
        &self,
        old: Tuple<'_>,
        new: Tuple<'_>,
        whole: bool,
    ) -> Result<Option<Vec<u8>>, ProtocolError> {
        if !new.partial {
            return Ok(None);
        }
        let arity = self.source.columns.len();
        let mut bytes = Vec::with_capacity(new.bytes.len());
        let (mut olds, mut news) = (Values::new(old.bytes, 0), Values::new(new.bytes, 0));
        for column in 0..arity {
            let (before, after) = (olds.next(column, arity)?, news.next(column, arity)?);
            let carried = whole || self.source.key.contains(&column);
            let value = if carried && after == Value::Unchanged {
                before
            } else {
                after
            };
            value.pack(&mut bytes);
        }
        Ok(Some(bytes))
    }

    /// Whether the key is another in the new tuple.
    fn key_changed(&self, old: Tuple<'_>, new: Tuple<'_>) -> Result<bool, ProtocolError> {
        let Some(&last) = self.source.key.iter().max() else {
            return Ok(false);
        };
        let arity = self.source.columns.len();
        let (mut olds, mut news) = (Values::new(old.bytes, 0), Values::new(new.bytes, 0));
        for column in 0..=last {
            let (before, after) = (olds.next(column, arity)?, news.next(column, arity)?);
            let kept = after == Value::Unchanged || before == after;
            if !kept
                && self.source.key.contains(&column)
                && !self.one_text(column, before, after)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether two values that came in different bytes are the same for all that: the send form
    /// has several kinds of NaN, and arrays that say that they have nulls and do not.
    #[cold]
    fn one_text(
        &self,
        column: usize,
        before: Value<'_>,
        after: Value<'_>,
    ) -> Result<bool, ProtocolError> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let before = self.text(column, before, &mut first)?;
        Ok(before.is_some() && before == self.text(column, after, &mut second)?)
    }

    fn text<'a>(
        &self,
        column: usize,
        value: Value<'a>,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        match value {
            Value::Text(text) => Ok(Some(text)),
            Value::Binary(bytes) => exact::text(&self.source, column, bytes, scratch).map(Some),
            Value::Null | Value::Unchanged => Ok(None),
        }
    }
}

impl<'a> Tuple<'a> {
    /// A tuple made by [`Layout::completed`].
    fn whole(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            partial: false,
        }
    }
}

/// The place of what was appended to a batch.
pub fn span(start: usize, end: usize) -> Result<Span, ProtocolError> {
    Span::new(start, end).ok_or_else(|| ProtocolError::nowhere("a row of more than 4 GiB"))
}

#[cold]
fn no_tuple(form: u8, at: usize) -> ProtocolError {
    ProtocolError::new(format!("a row has no tuple {form}"), at)
}

#[cold]
fn unasked(column: usize, arity: usize, at: usize) -> ProtocolError {
    let column = column + 1;
    let message = format!("column {column} of {arity} is in binary form, which was not asked for");
    ProtocolError::new(message, at).hint("START_REPLICATION must have binary 'false'")
}
