use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};

use super::column::Column;
use super::{Error, heights, record_batches, text};
use crate::batch::{Batch, Event, Operation, Origin, Row, Span};
use crate::error::EncodeError;
use crate::table::{self, Kind, Table, Type};
use crate::tuple::Value;

fn kind(base: u32) -> Type {
    Type {
        oid: base,
        base,
        modifier: -1,
        kind: Kind::Other,
        element: None,
    }
}

fn field(name: &str, kind: DataType) -> Field {
    let metadata = HashMap::from([("penstock.type".to_owned(), "sql".to_owned())]);
    Field::new(name, kind, true).with_metadata(metadata)
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A table of `id` (the key), `n` and `d`, and its schema.
fn table() -> (Arc<Table>, Arc<Schema>) {
    let columns = [("id", 20), ("n", 1700), ("d", 1082)];
    let column = |(name, base): (&str, u32)| table::Column {
        name: name.into(),
        kind: kind(base),
    };
    let table = Table {
        handle: 1,
        oid: 1,
        text: "public.t".into(),
        columns: columns.map(column).into(),
        key: vec![0],
    };
    let strings = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let pair = [
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ];
    let pairs = Field::new("entries", DataType::Struct(Fields::from_iter(pair)), false);
    let key = DataType::Struct(Fields::from_iter([field("id", DataType::Int64)]));
    let words = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let schema = Schema::new(vec![
        field("id", DataType::Int64),
        field("n", DataType::Decimal128(5, 2)),
        field("d", DataType::Date32),
        Field::new("_op", words, false),
        Field::new("_id", DataType::Utf8, false),
        Field::new("_mark", DataType::Utf8, false),
        Field::new("_version", DataType::Int64, true),
        Field::new("_ordinal", DataType::Int64, false),
        Field::new("_committed_at", utc(), true),
        Field::new("_unchanged", strings, true),
        Field::new("_old_key", key, true),
        Field::new("_text", DataType::Map(Arc::new(pairs), false), true),
    ]);
    (Arc::new(table), Arc::new(schema))
}

fn batch() -> Batch {
    let mut batch = Batch::new("main".into(), "shop".into());
    batch.tables.push(table().0);
    batch.origins.push(Origin::Transaction {
        lsn: 0x99,
        xid: 7,
        committed_us: 5,
    });
    batch.origins.push(Origin::Snapshot {
        mark: "snapshot:public.t@1".into(),
        lsn: 0x50,
    });
    batch
}

fn pack(batch: &mut Batch, values: &[Value]) -> Option<Span> {
    let start = batch.bytes.len();
    for value in values {
        value.pack(&mut batch.bytes);
    }
    Span::new(start, batch.bytes.len())
}

fn row(operation: Operation, ordinal: u64, after: Option<Span>) -> Row {
    Row {
        operation,
        table: 0,
        origin: 0,
        ordinal,
        before: None,
        after,
        key: None,
        old_key: None,
    }
}

fn build(batch: &Batch) -> Result<RecordBatch, Error> {
    let tables = heights(batch).into_iter().map(|height| (height, table().1));
    Ok(record_batches(batch, tables)?.remove(0))
}

fn strings(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch.column_by_name(name).unwrap().as_string::<i32>();
    column.iter().map(|text| text.unwrap().to_owned()).collect()
}

#[test]
fn changes_of_all_kinds() {
    use Value::{Binary, Null, Text, Unchanged};
    let mut all = batch();
    let after = pack(
        &mut all,
        &[Text(b"1"), Text(b"1.50"), Binary(&0i32.to_be_bytes())],
    );
    all.events
        .push(Event::Row(row(Operation::Insert, 0, after)));
    let after = pack(&mut all, &[Text(b"2"), Text(b"NaN"), Unchanged]);
    let old_key = pack(&mut all, &[Text(b"1")]);
    all.events.push(Event::Row(Row {
        old_key,
        ..row(Operation::Update, 1, after)
    }));
    let key = pack(&mut all, &[Text(b"2")]);
    all.events.push(Event::Row(Row {
        key,
        ..row(Operation::Delete, 2, None)
    }));
    all.events.push(Event::Truncate {
        table: 0,
        origin: 0,
        ordinal: 3,
        cascade: false,
        restart_identity: false,
    });
    let after = pack(
        &mut all,
        &[Text(b"3"), Null, Binary(&i32::MAX.to_be_bytes())],
    );
    all.events.push(Event::Row(Row {
        origin: 1,
        ..row(Operation::Read, 0, after)
    }));

    let built = build(&all).unwrap();
    let ids = built.column(0).as_primitive::<Int64Type>();
    assert_eq!(
        ids.iter().collect::<Vec<_>>(),
        [Some(1), Some(2), Some(2), None, Some(3)]
    );
    let operations = built
        .column_by_name("_op")
        .unwrap()
        .as_dictionary::<Int8Type>();
    assert_eq!(operations.keys().values().as_ref(), [0, 1, 2, 3, 4]);
    let marks = [
        "0/99:0",
        "0/99:1",
        "0/99:2",
        "0/99:3",
        "snapshot:public.t@1:0",
    ];
    assert_eq!(strings(&built, "_id"), marks);
    assert_eq!(strings(&built, "_mark"), marks);
    let versions = built
        .column_by_name("_version")
        .unwrap()
        .as_primitive::<Int64Type>();
    assert_eq!(versions.values().as_ref(), [0x99, 0x99, 0x99, 0x99, 0x4F]);
    let unchanged = built.column_by_name("_unchanged").unwrap().as_list::<i32>();
    assert_eq!(unchanged.null_count(), 4);
    assert_eq!(unchanged.value(1).as_string::<i32>().value(0), "d");
    let old_keys = built.column_by_name("_old_key").unwrap().as_struct();
    assert_eq!(old_keys.null_count(), 4);
    assert_eq!(old_keys.column(0).as_primitive::<Int64Type>().value(1), 1);
    let texts = built.column_by_name("_text").unwrap().as_map();
    assert_eq!(texts.null_count(), 3);
    let shown = [texts.value(1), texts.value(4)].map(|entry| {
        let (name, text) = (
            entry.column(0).as_string::<i32>(),
            entry.column(1).as_string::<i32>(),
        );
        (name.value(0).to_owned(), text.value(0).to_owned())
    });
    let expected = [("n", "NaN"), ("d", "infinity")];
    assert_eq!(
        shown,
        expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
    );
    assert_eq!(
        built.column_by_name("_committed_at").unwrap().null_count(),
        1
    );
}

#[test]
fn what_is_no_value_is_an_error() {
    let mut all = batch();
    let after = pack(&mut all, &[Value::Text(b"x\xff"), Value::Null, Value::Null]);
    all.events
        .push(Event::Row(row(Operation::Insert, 0, after)));
    let Err(Error::Encode(EncodeError::Decode(error))) = build(&all) else {
        panic!("no error");
    };
    assert_eq!(error.message, r"public.t.id: cannot read 'x\xff' as sql");
    assert_eq!(error.table, "public.t");
}

#[test]
fn a_damaged_row_is_an_error() {
    let mut all = batch();
    let after = pack(&mut all, &[Value::Text(b"1"), Value::Null]);
    all.events
        .push(Event::Row(row(Operation::Insert, 0, after)));
    assert!(matches!(
        build(&all),
        Err(Error::Encode(EncodeError::Protocol(_)))
    ));
}

#[test]
fn a_schema_of_another_table_is_an_error() {
    let mut all = batch();
    all.events.push(Event::Row(row(Operation::Delete, 0, None)));
    let (_, schema) = table();
    for fields in [
        &schema.fields()[..0],
        &schema.fields()[1..],
        &schema.fields()[..5],
    ] {
        let schema = Arc::new(Schema::new(Fields::from(fields.to_vec())));
        let tables = heights(&all)
            .into_iter()
            .map(|height| (height, Arc::clone(&schema)));
        assert!(matches!(record_batches(&all, tables), Err(Error::Arrow(_))));
    }
}

/// What a column of one text and of one send form hold is the same.
#[test]
fn send_forms_are_the_same_values() {
    let words = |words: &[u16]| {
        words
            .iter()
            .flat_map(|w| w.to_be_bytes())
            .collect::<Vec<u8>>()
    };
    let decimal = DataType::Decimal128(12, 2);
    let forms: [(DataType, u32, &str, Vec<u8>); 21] = [
        (DataType::Boolean, 16, "t", vec![1]),
        (DataType::Int16, 21, "-2", (-2i16).to_be_bytes().into()),
        (DataType::Int32, 23, "-2", (-2i32).to_be_bytes().into()),
        (DataType::Int64, 20, "-2", (-2i64).to_be_bytes().into()),
        (DataType::UInt32, 26, "4294967295", vec![255; 4]),
        (DataType::Float32, 700, "1.1", 1.1f32.to_be_bytes().into()),
        (
            DataType::Float64,
            701,
            "-Infinity",
            f64::NEG_INFINITY.to_be_bytes().into(),
        ),
        (decimal.clone(), 1700, "0.00", words(&[0, 0, 0, 2])),
        (
            decimal.clone(),
            1700,
            "-12345.60",
            words(&[3, 1, 0x4000, 2, 1, 2345, 6000]),
        ),
        (
            decimal.clone(),
            1700,
            "0.07",
            words(&[1, 0xFFFF, 0, 2, 700]),
        ),
        (
            decimal.clone(),
            1700,
            "1000000000.00",
            words(&[1, 2, 0, 2, 10]),
        ),
        (DataType::Utf8, 25, "ä", "ä".into()),
        (DataType::Utf8, 3802, "{}", b"\x01{}".into()),
        (DataType::Binary, 17, "\\x00ff", vec![0, 255]),
        (
            DataType::FixedSizeBinary(16),
            2950,
            "00000000-0000-0000-0000-0000000000ff",
            [vec![0; 15], vec![255]].concat(),
        ),
        (DataType::Date32, 1082, "2000-01-01", vec![0; 4]),
        (
            DataType::Date32,
            1082,
            "9999-12-31",
            2_921_939i32.to_be_bytes().into(),
        ),
        (
            DataType::Time64(TimeUnit::Microsecond),
            1083,
            "00:00:01",
            1_000_000i64.to_be_bytes().into(),
        ),
        (
            DataType::Timestamp(TimeUnit::Microsecond, None),
            1114,
            "1999-12-31 23:59:59.5",
            (-500_000i64).to_be_bytes().into(),
        ),
        (utc(), 1184, "2000-01-01 00:00:00+00", vec![0; 8]),
        (
            utc(),
            1184,
            "0001-01-01 00:00:00+00",
            (-63_082_281_600_000_000i64).to_be_bytes().into(),
        ),
    ];
    for (arrow, base, text, sent) in forms {
        let mut by_text = Column::new(&arrow, &kind(base), 1).unwrap();
        let mut by_form = Column::new(&arrow, &kind(base), 1).unwrap();
        assert_eq!(by_text.text(text.as_bytes()), Ok(()), "{text}");
        assert!(by_form.sent(base, &sent), "{text}");
        assert_eq!(
            &by_text.finish().unwrap(),
            &by_form.finish().unwrap(),
            "{text}"
        );
    }
}

/// These are left to their exact texts, and nothing is stored.
#[test]
fn send_forms_that_are_not_simple() {
    let words = |words: &[u16]| {
        words
            .iter()
            .flat_map(|w| w.to_be_bytes())
            .collect::<Vec<u8>>()
    };
    let decimal = DataType::Decimal128(4, 2);
    let forms: [(DataType, u32, Vec<u8>); 14] = [
        (DataType::Boolean, 16, vec![]),
        (DataType::Boolean, 16, vec![1, 1]),
        (DataType::Int32, 23, vec![0; 5]),
        (DataType::Int32, 20, vec![0; 4]),
        (DataType::Utf8, 25, vec![255]),
        (DataType::Utf8, 3802, b"\x02{}".into()),
        (decimal.clone(), 1700, words(&[0, 0, 0xC000, 2])),
        (decimal.clone(), 1700, words(&[1, 0, 0, 2, 100])),
        (decimal.clone(), 1700, words(&[1, 0, 0, 3, 1])),
        (decimal.clone(), 1700, words(&[1, 0xFFFF, 0, 2, 1])),
        (decimal.clone(), 1700, words(&[2, 0, 0, 2, 1])),
        (DataType::Date32, 1082, i32::MIN.to_be_bytes().into()),
        (
            DataType::Time64(TimeUnit::Microsecond),
            1083,
            text::DAY.to_be_bytes().into(),
        ),
        (utc(), 1184, i64::MAX.to_be_bytes().into()),
    ];
    for (arrow, base, sent) in forms {
        let mut column = Column::new(&arrow, &kind(base), 1).unwrap();
        assert!(!column.sent(base, &sent), "{arrow} {sent:?}");
        assert_eq!(column.finish().unwrap().len(), 0);
    }
}
