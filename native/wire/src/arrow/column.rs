//! A column as it is filled: values as Arrow stores them, and which of them are null.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, PrimitiveArray,
    StringArray,
};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer, NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef, TimeUnit};

use super::list;
use super::text;
use crate::table::Type;

/// Why a text is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The Arrow type has no such value.
    Misfit,
    /// It is no value of the column's type.
    Wrong,
    /// Beyond what Arrow's offsets can count.
    TooLarge,
}

pub(super) fn too_large() -> ArrowError {
    ArrowError::InvalidArgumentError("more than 2 GiB in one column".to_owned())
}

pub(super) struct Column {
    pub(super) values: Values,
    pub(super) nulls: NullBufferBuilder,
}

pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>, Digits),
    Text(Bytes),
    Binary(Bytes),
    Uuid(Vec<u8>),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    TimestampTz(Vec<i64>, Arc<str>),
    List(Box<List>),
}

/// A decimal's digits in all, and those behind the point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digits {
    pub(super) precision: u8,
    pub(super) scale: u8,
}

/// Values of any length, one behind the other.
pub(super) struct Bytes {
    pub(super) offsets: Vec<i32>,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct List {
    offsets: Vec<i32>,
    pub(super) elements: Column,
    field: FieldRef,
    pub(super) delimiter: u8,
}

impl Bytes {
    pub(super) fn new(height: usize) -> Self {
        let mut offsets = Vec::with_capacity(height + 1);
        offsets.push(0);
        Self {
            offsets,
            bytes: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1 // there is always the first
    }

    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        self.write(|out| {
            out.extend_from_slice(bytes);
            Some(())
        })
    }

    /// Add the value that `write` appends to the bytes; none where it gives None.
    #[inline]
    pub(super) fn write(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
    ) -> Result<(), Unfit> {
        let before = self.bytes.len();
        let end = write(&mut self.bytes)
            .ok_or(Unfit::Wrong)
            .and_then(|()| i32::try_from(self.bytes.len()).map_err(|_| Unfit::TooLarge));
        match end {
            Ok(end) => self.offsets.push(end),
            Err(_) => self.bytes.truncate(before),
        }
        end.map(|_| ())
    }

    fn null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
    }

    fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        let end = self.offsets.last().copied().unwrap_or(0);
        self.bytes.truncate(end as usize);
    }

    pub(super) fn strings(self, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        StringArray::try_new(offsets(self.offsets), self.bytes.into(), nulls)
    }

    fn binary(self, nulls: Option<NullBuffer>) -> Result<BinaryArray, ArrowError> {
        BinaryArray::try_new(offsets(self.offsets), self.bytes.into(), nulls)
    }
}

/// They begin with 0 and never fall.
pub(super) fn offsets(offsets: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(offsets.into())
}

/// The same call for whichever values there are: of fixed size (`$v`), or else.
macro_rules! on_values {
    ($values:expr, $v:ident => $fixed:expr, $w:ident => $other:expr) => {
        match $values {
            Values::Int8($v) => $fixed,
            Values::Int16($v) => $fixed,
            Values::Int32($v) | Values::Date($v) => $fixed,
            Values::Int64($v)
            | Values::Time($v)
            | Values::Timestamp($v)
            | Values::TimestampTz($v, _) => $fixed,
            Values::UInt8($v) => $fixed,
            Values::UInt16($v) => $fixed,
            Values::UInt32($v) => $fixed,
            Values::UInt64($v) => $fixed,
            Values::Float32($v) => $fixed,
            Values::Float64($v) => $fixed,
            Values::Decimal($v, _) => $fixed,
            $w => $other,
        }
    };
}

impl Column {
    /// An empty column of an Arrow type, for values of a table's type.
    pub(super) fn new(kind: &DataType, source: &Type, height: usize) -> Result<Self, ArrowError> {
        let values = match kind {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(height)),
            DataType::Int8 => Values::Int8(Vec::with_capacity(height)),
            DataType::Int16 => Values::Int16(Vec::with_capacity(height)),
            DataType::Int32 => Values::Int32(Vec::with_capacity(height)),
            DataType::Int64 => Values::Int64(Vec::with_capacity(height)),
            DataType::UInt8 => Values::UInt8(Vec::with_capacity(height)),
            DataType::UInt16 => Values::UInt16(Vec::with_capacity(height)),
            DataType::UInt32 => Values::UInt32(Vec::with_capacity(height)),
            DataType::UInt64 => Values::UInt64(Vec::with_capacity(height)),
            DataType::Float32 => Values::Float32(Vec::with_capacity(height)),
            DataType::Float64 => Values::Float64(Vec::with_capacity(height)),
            &DataType::Decimal128(precision, scale @ 0..) if scale as u8 <= precision => {
                let digits = Digits {
                    precision,
                    scale: scale as u8,
                };
                Values::Decimal(Vec::with_capacity(height), digits)
            }
            DataType::Utf8 => Values::Text(Bytes::new(height)),
            DataType::Binary => Values::Binary(Bytes::new(height)),
            DataType::FixedSizeBinary(16) => Values::Uuid(Vec::with_capacity(height * 16)),
            DataType::Date32 => Values::Date(Vec::with_capacity(height)),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(Vec::with_capacity(height)),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                Values::Timestamp(Vec::with_capacity(height))
            }
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => {
                Values::TimestampTz(Vec::with_capacity(height), Arc::clone(zone))
            }
            DataType::List(field) => Values::List(Box::new(List::new(field, source, height)?)),
            other => {
                let message = format!("values of type {other} are not built");
                return Err(ArrowError::SchemaError(message));
            }
        };
        Ok(Self {
            values,
            nulls: NullBufferBuilder::new(height),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.nulls.len()
    }

    pub(super) fn nulls(&mut self, count: usize) {
        on_values!(&mut self.values, v => v.resize(v.len() + count, Default::default()), _other => {
            for _ in 0..count {
                self.null();
            }
            return;
        });
        self.nulls.append_n_nulls(count);
    }

    pub(super) fn null(&mut self) {
        on_values!(&mut self.values, v => v.push(Default::default()), other => match other {
            Values::Boolean(bits) => bits.append(false),
            Values::Text(bytes) | Values::Binary(bytes) => bytes.null(),
            Values::Uuid(bytes) => bytes.extend_from_slice(&[0; 16]),
            Values::List(list) => list.close(),
            _ => {}
        });
        self.nulls.append_null();
    }

    /// Store a value by its exact text; nothing is stored where it does not fit.
    #[inline]
    pub(super) fn text(&mut self, text: &[u8]) -> Result<(), Unfit> {
        use Unfit::{Misfit, Wrong};
        match &mut self.values {
            Values::Boolean(bits) => bits.append(text::boolean(text).ok_or(Wrong)?),
            Values::Int8(v) => v.push(text::narrow(text).ok_or(Wrong)?),
            Values::Int16(v) => v.push(text::narrow(text).ok_or(Wrong)?),
            Values::Int32(v) => v.push(text::narrow(text).ok_or(Wrong)?),
            Values::Int64(v) => v.push(text::integer(text).ok_or(Wrong)?),
            Values::UInt8(v) => v.push(text::narrow(text).ok_or(Wrong)?),
            Values::UInt16(v) => v.push(text::narrow(text).ok_or(Wrong)?),
            Values::UInt32(v) => v.push(text::narrow(text).ok_or(Wrong)?),
            Values::UInt64(v) => v.push(text::unsigned(text).ok_or(Wrong)?),
            Values::Float32(v) => v.push(text::float(text).ok_or(Wrong)?),
            Values::Float64(v) => v.push(text::float(text).ok_or(Wrong)?),
            Values::Decimal(v, digits) => v.push(text::decimal(text, *digits).ok_or(Misfit)?),
            Values::Text(v) => {
                std::str::from_utf8(text).map_err(|_| Wrong)?;
                v.push(text)?;
            }
            Values::Binary(v) => v.write(|out| text::hex(text.strip_prefix(b"\\x")?, out))?,
            Values::Uuid(v) => v.extend_from_slice(&text::uuid(text).ok_or(Wrong)?),
            Values::Date(v) => v.push(text::date(text).ok_or(Misfit)?),
            Values::Time(v) => v.push(text::time(text).ok_or(Misfit)?),
            Values::Timestamp(v) => v.push(text::timestamp(text).ok_or(Misfit)?),
            Values::TimestampTz(v, _) => v.push(text::timestamptz(text).ok_or(Misfit)?),
            Values::List(v) => v.text(text)?,
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Store a value that came in its type's send form, where that is simply done; false where
    /// nothing was stored and the exact text has to be asked.
    #[inline]
    pub(super) fn sent(&mut self, base: u32, bytes: &[u8]) -> bool {
        let stored = self.values.sent(base, bytes).is_some();
        if stored {
            self.nulls.append_non_null();
        }
        stored
    }

    /// Forget all but the first values.
    pub(super) fn truncate(&mut self, length: usize) {
        on_values!(&mut self.values, v => v.truncate(length), other => match other {
            Values::Boolean(bits) => bits.truncate(length),
            Values::Text(bytes) | Values::Binary(bytes) => bytes.truncate(length),
            Values::Uuid(bytes) => bytes.truncate(length * 16),
            Values::List(list) => list.offsets.truncate(length + 1),
            _ => {}
        });
        self.nulls.truncate(length);
    }

    pub(super) fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        Ok(match self.values {
            Values::Boolean(mut bits) => Arc::new(BooleanArray::new(bits.finish(), nulls)),
            Values::Int8(v) => Arc::new(primitive::<Int8Type>(v, nulls)?),
            Values::Int16(v) => Arc::new(primitive::<Int16Type>(v, nulls)?),
            Values::Int32(v) => Arc::new(primitive::<Int32Type>(v, nulls)?),
            Values::Int64(v) => Arc::new(primitive::<Int64Type>(v, nulls)?),
            Values::UInt8(v) => Arc::new(primitive::<UInt8Type>(v, nulls)?),
            Values::UInt16(v) => Arc::new(primitive::<UInt16Type>(v, nulls)?),
            Values::UInt32(v) => Arc::new(primitive::<UInt32Type>(v, nulls)?),
            Values::UInt64(v) => Arc::new(primitive::<UInt64Type>(v, nulls)?),
            Values::Float32(v) => Arc::new(primitive::<Float32Type>(v, nulls)?),
            Values::Float64(v) => Arc::new(primitive::<Float64Type>(v, nulls)?),
            Values::Decimal(v, Digits { precision, scale }) => Arc::new(
                primitive::<Decimal128Type>(v, nulls)?
                    .with_precision_and_scale(precision, scale as i8)?,
            ),
            Values::Text(v) => Arc::new(v.strings(nulls)?),
            Values::Binary(v) => Arc::new(v.binary(nulls)?),
            Values::Uuid(v) => Arc::new(FixedSizeBinaryArray::try_new(16, v.into(), nulls)?),
            Values::Date(v) => Arc::new(primitive::<Date32Type>(v, nulls)?),
            Values::Time(v) => Arc::new(primitive::<Time64MicrosecondType>(v, nulls)?),
            Values::Timestamp(v) => Arc::new(primitive::<TimestampMicrosecondType>(v, nulls)?),
            Values::TimestampTz(v, zone) => {
                let array = primitive::<TimestampMicrosecondType>(v, nulls)?;
                Arc::new(array.with_timezone(zone))
            }
            Values::List(v) => Arc::new(ListArray::try_new(
                v.field,
                offsets(v.offsets),
                v.elements.finish()?,
                nulls,
            )?),
        })
    }
}

pub(super) fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    PrimitiveArray::try_new(values.into(), nulls)
}

impl List {
    fn new(field: &FieldRef, source: &Type, height: usize) -> Result<Self, ArrowError> {
        let element = source.element.as_deref().unwrap_or(source);
        let mut offsets = Vec::with_capacity(height + 1);
        offsets.push(0);
        Ok(Self {
            offsets,
            elements: Column::new(field.data_type(), element, 0)?,
            field: Arc::clone(field),
            delimiter: list::delimiter(element),
        })
    }

    /// The list ends behind the elements that are there.
    fn close(&mut self) {
        self.offsets.push(self.elements.len() as i32); // checked where elements come
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Unfit> {
        let before = self.elements.len();
        let read = list::read(text, self.delimiter, &mut self.elements);
        if let Err(unfit) = read {
            self.elements.truncate(before);
            return Err(unfit);
        }
        if i32::try_from(self.elements.len()).is_err() {
            return Err(Unfit::TooLarge);
        }
        self.close();
        Ok(())
    }
}
