//! Arrow types and schemas, as `penstock.model.arrow` makes them.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use penstock_wire::table::{Kind, Table, Type};

/// The Arrow type that a column has.
pub fn usual(kind: &Type) -> DataType {
    match (kind.base, kind.kind, &kind.element) {
        (_, Kind::Array, Some(element)) => list(match usual(element) {
            DataType::FixedSizeBinary(_) => DataType::Utf8,
            item => item,
        }),
        (21, ..) => DataType::Int16,
        (23, ..) => DataType::Int32,
        (26, ..) => DataType::UInt32,
        (700, ..) => DataType::Float32,
        (_, Kind::Boolean, _) => DataType::Boolean,
        (_, Kind::Integer, _) => DataType::Int64,
        (_, Kind::Float, _) => DataType::Float64,
        (_, Kind::Numeric, _) => decimal(kind.modifier),
        (_, Kind::Bytes, _) => DataType::Binary,
        (_, Kind::Uuid, _) => DataType::FixedSizeBinary(16),
        (_, Kind::Date, _) => DataType::Date32,
        (1083, ..) => DataType::Time64(TimeUnit::Microsecond),
        (_, Kind::Timestamp, _) => DataType::Timestamp(TimeUnit::Microsecond, None),
        (_, Kind::TimestampTz, _) => utc(),
        _ => DataType::Utf8,
    }
}

/// `numeric(p,s)` as a decimal where that holds it, else as text.
fn decimal(modifier: i32) -> DataType {
    let packed = modifier.wrapping_sub(4);
    let (precision, scale) = (packed >> 16 & 0xFFFF, packed & 0x7FF);
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) if modifier >= 4 && i32::from(p) >= scale => {
            DataType::Decimal128(p, s)
        }
        _ => DataType::Utf8,
    }
}

/// Some Arrow type.
pub fn any_type(choice: u8) -> DataType {
    match choice % 18 {
        0 => DataType::Boolean,
        1 => DataType::Int16,
        2 => DataType::Int32,
        3 => DataType::Int64,
        4 => DataType::UInt32,
        5 => DataType::Float32,
        6 => DataType::Float64,
        7 => DataType::Decimal128(38, 9),
        8 => DataType::Decimal128(choice % 38 + 1, (choice / 38) as i8),
        9 => DataType::Utf8,
        10 => DataType::Binary,
        11 => DataType::FixedSizeBinary(16),
        12 => DataType::Date32,
        13 => DataType::Time64(TimeUnit::Microsecond),
        14 => DataType::Timestamp(TimeUnit::Microsecond, None),
        15 => utc(),
        16 => DataType::Null, // that no column has
        _ => list(any_type(choice / 18)),
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The schema of a table's record batches.
pub fn schema(table: &Table, types: Vec<DataType>) -> Schema {
    let columns: Vec<Field> = table
        .columns
        .iter()
        .zip(types)
        .map(|(column, kind)| Field::new(&column.name, kind, true))
        .collect();
    let key: Fields = table.key.iter().map(|i| columns[*i].clone()).collect();
    let pair = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ]);
    let pairs = Arc::new(Field::new("entries", DataType::Struct(pair), false));
    let operation = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let mut fields = columns;
    fields.extend([
        Field::new("_op", operation, false),
        Field::new("_id", DataType::Utf8, false),
        Field::new("_mark", DataType::Utf8, false),
        Field::new("_version", DataType::Int64, true),
        Field::new("_ordinal", DataType::Int64, false),
        Field::new("_committed_at", utc(), true),
        Field::new("_unchanged", list(DataType::Utf8), true),
    ]);
    if !key.is_empty() {
        fields.push(Field::new("_old_key", DataType::Struct(key), true));
    }
    fields.push(Field::new("_text", DataType::Map(pairs, false), true));
    Schema::new(fields)
}
