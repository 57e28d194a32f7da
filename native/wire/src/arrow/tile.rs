//! Many rows at once, column by column: what a column's values are is asked once, not for each.
//!
//! Only for rows whose values all came in send forms that Arrow stores as they are. Others are
//! read value by value, which also finds the words for what is wrong.

use arrow_buffer::BooleanBufferBuilder;

use super::column::{self, Bytes, Column};
use super::sent;
use crate::batch::{Batch, Event, Row, Span};
use crate::tuple::{Form, NULL, Value, Values};

/// How many rows are read at once: the places of their values stay in the processor's nearest cache.
const MOST: usize = 256;

/// Fewer rows are not worth it.
const LEAST: usize = 8;

/// Values up to so many bytes are copied as so many, which is one instruction or two.
const SHORT: usize = 32;

/// The new rows that events begin with: of one table, origin and operation, and with nothing known
/// but their columns. None where they are too few.
pub(super) fn alike(events: &[Event]) -> Option<&[Event]> {
    let Some(&Event::Row(first)) = events.first() else {
        return None;
    };
    let is_alike = |event: &&Event| {
        matches!(event, Event::Row(row)
            if row.table == first.table
                && row.origin == first.origin
                && row.operation == first.operation
                && row.after.is_some()
                && row.before.or(row.key).or(row.old_key).is_none())
    };
    let count = events.iter().take(MOST).take_while(is_alike).count();
    events.get(..count).filter(|_| count >= LEAST)
}

/// Where a value lies in a batch's bytes; a length of [`NULL`] is a null's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    start: u32,
    length: u32,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            start: 0,
            length: NULL,
        }
    }
}

impl Place {
    fn is_null(self) -> bool {
        self.length == NULL
    }

    #[inline]
    fn get(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes
            .get(self.start as usize..)?
            .get(..self.length as usize)
    }

    /// The value if it has `N` bytes.
    #[inline]
    fn array<const N: usize>(self, bytes: &[u8]) -> Option<[u8; N]> {
        if self.length as usize != N {
            return None;
        }
        bytes.get(self.start as usize..)?.first_chunk().copied()
    }
}

/// The places of the values of rows that are alike, one column after the other; None where a value
/// came in another form.
pub(super) fn places(
    batch: &Batch,
    run: &[Event],
    arity: usize,
    into: &mut Vec<Place>,
) -> Option<()> {
    into.clear();
    into.resize(arity * run.len(), Place::default());
    for (at, event) in run.iter().enumerate() {
        let &Event::Row(Row { after, .. }) = event else {
            return None;
        };
        let after = after?;
        let columns = into.chunks_exact_mut(run.len());
        let cells = columns.filter_map(|column| column.get_mut(at));
        match batch.form {
            Form::Copied => copied(&batch.bytes, after, cells)?,
            Form::Tuple => tuple(batch.values(after), arity, cells)?,
        }
    }
    Some(())
}

#[inline]
fn copied<'a>(bytes: &[u8], row: Span, cells: impl Iterator<Item = &'a mut Place>) -> Option<()> {
    let mut start = row.start();
    for cell in cells {
        let length = u32::from_be_bytes(*bytes.get(start..)?.first_chunk()?);
        start += 4;
        *cell = Place {
            start: start as u32, // spans count in 32 bits
            length,
        };
        if length != NULL {
            start += length as usize;
        }
    }
    (start == row.end()).then_some(())
}

#[inline]
fn tuple<'a>(
    mut values: Values<'_>,
    arity: usize,
    cells: impl Iterator<Item = &'a mut Place>,
) -> Option<()> {
    for (column, cell) in cells.enumerate() {
        match values.next(column, arity).ok()? {
            Value::Null => *cell = Place::default(),
            Value::Binary(value) => {
                *cell = Place {
                    start: (values.at() - value.len()) as u32,
                    length: value.len() as u32,
                };
            }
            Value::Text(_) | Value::Unchanged => return None,
        }
    }
    Some(())
}

impl Column {
    /// Store the values at these places; on None some may have been stored.
    pub(super) fn sent_at(&mut self, base: u32, bytes: &[u8], places: &[Place]) -> Option<()> {
        self.values.sent_at(base, bytes, places)?;
        if places.iter().any(|place| place.is_null()) {
            for place in places {
                self.nulls.append(!place.is_null());
            }
        } else {
            self.nulls.append_n_non_nulls(places.len());
        }
        Some(())
    }
}

impl column::Values {
    /// As [`column::Values::sent`] stores each of them; nulls as anything.
    fn sent_at(&mut self, base: u32, bytes: &[u8], places: &[Place]) -> Option<()> {
        match (self, base) {
            (Self::Boolean(v), 16) => booleans(v, bytes, places),
            (Self::Int16(v), 21) => fixed(v, bytes, places, |b| Some(i16::from_be_bytes(b))),
            (Self::Int32(v), 23) => fixed(v, bytes, places, |b| Some(i32::from_be_bytes(b))),
            (Self::Int64(v), 20) => fixed(v, bytes, places, |b| Some(i64::from_be_bytes(b))),
            (Self::UInt32(v), 26) => fixed(v, bytes, places, |b| Some(u32::from_be_bytes(b))),
            (Self::Float32(v), 700) => fixed(v, bytes, places, |b| Some(sent::float32(b))),
            (Self::Float64(v), 701) => fixed(v, bytes, places, |b| Some(sent::float64(b))),
            (Self::Decimal(v, digits), 1700) => {
                let digits = *digits;
                each(v, places, |place| sent::numeric(place.get(bytes)?, digits))
            }
            (Self::Text(v), base) if sent::is_text(base) => texts(v, bytes, places, None, true),
            (Self::Text(v), sent::JSONB) => texts(v, bytes, places, Some(1), true),
            (Self::Binary(v), 17) => texts(v, bytes, places, None, false),
            (Self::Date(v), 1082) => fixed(v, bytes, places, sent::date),
            (Self::Time(v), 1083) => fixed(v, bytes, places, sent::time),
            (Self::Timestamp(v), 1114) | (Self::TimestampTz(v, _), 1184) => {
                fixed(v, bytes, places, sent::timestamp)
            }
            (Self::Uuid(v), 2950) => {
                for place in places {
                    v.extend_from_slice(&if place.is_null() {
                        [0; 16]
                    } else {
                        place.array(bytes)?
                    });
                }
                Some(())
            }
            _ => None,
        }
    }
}

#[inline]
fn each<T: Default>(
    out: &mut Vec<T>,
    places: &[Place],
    read: impl Fn(Place) -> Option<T>,
) -> Option<()> {
    out.reserve(places.len());
    for &place in places {
        out.push(if place.is_null() {
            T::default()
        } else {
            read(place)?
        });
    }
    Some(())
}

#[inline]
fn fixed<const N: usize, T: Default>(
    out: &mut Vec<T>,
    bytes: &[u8],
    places: &[Place],
    read: impl Fn([u8; N]) -> Option<T>,
) -> Option<()> {
    each(out, places, |place| read(place.array(bytes)?))
}

fn booleans(out: &mut BooleanBufferBuilder, bytes: &[u8], places: &[Place]) -> Option<()> {
    for place in places {
        out.append(!place.is_null() && sent::boolean(place.array(bytes)?)?);
    }
    Some(())
}

/// Values of any length, without the byte that each of them begins with if one is given.
fn texts(
    out: &mut Bytes,
    bytes: &[u8],
    places: &[Place],
    version: Option<u8>,
    is_utf8: bool,
) -> Option<()> {
    let before = out.bytes.len();
    out.offsets.reserve(places.len());
    for place in places {
        if !place.is_null() {
            let mut value = place.get(bytes)?;
            let mut start = place.start as usize;
            if let Some(version) = version {
                let (&first, rest) = value.split_first()?;
                if first != version {
                    return None;
                }
                (value, start) = (rest, start + 1);
            }
            // Where no value begins inside a character, they are UTF-8 if they are so in a row.
            if is_utf8 && value.first().is_some_and(|byte| byte & 0xC0 == 0x80) {
                return None;
            }
            match bytes.get(start..).and_then(<[u8]>::first_chunk::<SHORT>) {
                Some(more) if value.len() <= SHORT => {
                    let end = out.bytes.len() + value.len();
                    out.bytes.extend_from_slice(more);
                    out.bytes.truncate(end);
                }
                _ => out.bytes.extend_from_slice(value),
            }
        }
        out.offsets.push(i32::try_from(out.bytes.len()).ok()?);
    }
    if is_utf8 {
        std::str::from_utf8(out.bytes.get(before..)?).ok()?;
    }
    Some(())
}
