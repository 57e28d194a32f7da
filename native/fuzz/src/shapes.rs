//! Tables, of an announced relation or of arbitrary bytes, and batches of arbitrary rows.

use std::sync::Arc;

use penstock_wire::arrow::{heights, record_batches};
use penstock_wire::batch::{Batch, Event, Operation, Origin, Row, Span};
use penstock_wire::json_lines::{Format, lines};
use penstock_wire::loads::loads;
use penstock_wire::projection::{Masking, Output, Projection};
use penstock_wire::table::{Column, Kind, Table, Type};

use crate::input::Input;
use crate::types::{schema, usual};

/// Built-in types that have a kind of their own. Others are `Other`, and those not built in enums.
const KINDS: &[(u32, Kind)] = &[
    (16, Kind::Boolean),
    (17, Kind::Bytes),
    (18, Kind::Text),
    (19, Kind::Text),
    (20, Kind::Integer),
    (21, Kind::Integer),
    (23, Kind::Integer),
    (25, Kind::Text),
    (26, Kind::Integer),
    (114, Kind::Json),
    (700, Kind::Float),
    (701, Kind::Float),
    (1042, Kind::Text),
    (1043, Kind::Text),
    (1082, Kind::Date),
    (1083, Kind::Time),
    (1114, Kind::Timestamp),
    (1184, Kind::TimestampTz),
    (1186, Kind::Interval),
    (1266, Kind::Time),
    (1700, Kind::Numeric),
    (2950, Kind::Uuid),
    (3802, Kind::Json),
];

const FIRST_NOT_BUILT_IN: u32 = 16_384;

/// Array types by OID, and the OID of their elements.
const ARRAYS: &[(u32, u32)] = &[
    (1000, 16),
    (1001, 17),
    (1005, 21),
    (1007, 23),
    (1009, 25),
    (1016, 20),
    (1021, 700),
    (1022, 701),
    (1115, 1114),
    (1182, 1082),
    (1185, 1184),
    (1231, 1700),
    (2951, 2950),
    (3807, 3802),
];

/// The type of an OID.
pub fn type_of(oid: u32, modifier: i32) -> Type {
    let array = ARRAYS.iter().find(|(array, _)| *array == oid);
    let known = KINDS.iter().find(|(known, _)| *known == oid);
    Type {
        oid,
        base: if oid < FIRST_NOT_BUILT_IN { oid } else { 0 },
        modifier,
        kind: match (array, known) {
            (Some(_), _) => Kind::Array,
            (_, Some((_, kind))) => *kind,
            _ if oid < FIRST_NOT_BUILT_IN => Kind::Other,
            _ => Kind::Enum,
        },
        element: array.map(|(_, element)| Box::new(type_of(*element, modifier))),
    }
}

/// The table that a RELATION message (without its tag) announces; None where it is cut short.
pub fn announced(message: &[u8], handle: u32) -> Option<Table> {
    let mut input = Input::new(message);
    let oid = u32::from_be_bytes(input.bytes(4).try_into().ok()?);
    let text = format!("{}.{}", name(&mut input), name(&mut input));
    input.byte(); // replica identity
    let mut table = Table {
        handle,
        oid,
        text,
        columns: Vec::new(),
        key: Vec::new(),
    };
    for position in 0..usize::from(input.short()) {
        if input.byte() & 1 == 1 {
            table.key.push(position);
        }
        let name = name(&mut input);
        let oid = u32::from_be_bytes(input.bytes(4).try_into().ok()?);
        let modifier = i32::from_be_bytes(input.bytes(4).try_into().ok()?);
        table.columns.push(Column {
            name,
            kind: type_of(oid, modifier),
        });
    }
    Some(table)
}

fn name(input: &mut Input<'_>) -> String {
    let mut name = Vec::new();
    while !input.is_empty() {
        match input.byte() {
            0 => break,
            byte => name.push(byte),
        }
    }
    String::from_utf8_lossy(&name).into_owned()
}

/// The table in reverse, without some columns that are not in its key, others masked each way.
pub fn projected(table: &Arc<Table>) -> (Arc<Table>, Projection) {
    let kept = |column: &usize| table.key.contains(column) || column % 3 != 1;
    let outputs: Vec<Output> = (0..table.columns.len())
        .rev()
        .filter(kept)
        .map(|column| Output {
            column,
            masking: match column % 5 {
                1 => Some(Masking::Fixed(b"x".to_vec())),
                2 => Some(Masking::Truncate(column)),
                3 => Masking::hmac(b"key"),
                _ => None,
            },
        })
        .collect();
    let column = |output: &Output| Column {
        kind: match output.masking {
            Some(_) => type_of(25, -1),
            None => table.columns[output.column].kind.clone(),
        },
        name: table.columns[output.column].name.clone(),
    };
    let place = |key: &usize| outputs.iter().position(|output| output.column == *key);
    let shown = Table {
        columns: outputs.iter().map(column).collect(),
        key: table.key.iter().filter_map(place).collect(),
        handle: table.handle,
        oid: table.oid,
        text: table.text.clone(),
    };
    let projection = Projection::new(Arc::clone(table), outputs).expect("the key goes on");
    (Arc::new(shown), projection)
}

/// A table of up to eight columns. Of each the input says the OID, in two bytes, and the modifier.
pub fn any_table(input: &mut Input<'_>) -> Table {
    let columns: Vec<Column> = (0..input.byte() % 8 + 1)
        .map(|number| Column {
            name: format!("c{number}"),
            kind: any_type(input),
        })
        .collect();
    let key = input.byte();
    Table {
        handle: 1,
        oid: FIRST_NOT_BUILT_IN,
        text: "public.t".to_owned(),
        key: (0..columns.len()).filter(|i| key >> i & 1 == 1).collect(),
        columns,
    }
}

/// The type of an OID in two bytes and a modifier in four.
pub fn any_type(input: &mut Input<'_>) -> Type {
    let oid = input.short().into();
    let modifier = input.bytes(4).try_into().map_or(-1, i32::from_be_bytes);
    type_of(oid, modifier)
}

/// A batch whose bytes are these, taken for packed rows of the table: changes of every operation,
/// as long as there are rows, the last row cut short or damaged.
pub fn any_batch(table: Table, bytes: &[u8]) -> Batch {
    let arity = table.columns.len();
    let mut batch = Batch::new("main".into(), "d".into());
    batch.bytes = bytes.to_vec();
    batch.origins.push(Origin::Transaction {
        lsn: 256,
        xid: 7,
        committed_us: 0,
    });
    batch.tables.push(Arc::new(table));
    let (mut at, mut last) = (0, None);
    while at < bytes.len() {
        let mut values = batch.values(Span::new(at, bytes.len()).expect("an input is small"));
        let whole = (0..arity).all(|column| values.next(column, arity).is_ok());
        let end = if whole { values.at() } else { bytes.len() };
        let row = Span::new(at, end);
        let ordinal = batch.events.len() as u64;
        let (operation, before, after) = match ordinal % 4 {
            0 => (Operation::Insert, None, row),
            1 => (Operation::Update, last, row),
            2 => (Operation::Delete, row, None),
            _ => (Operation::Read, None, row),
        };
        batch.events.push(Event::Row(Row {
            operation,
            table: 0,
            origin: 0,
            ordinal,
            before,
            after,
            key: None,
            old_key: None,
        }));
        (at, last) = (end, row);
    }
    batch
}

/// Everything that is made of a batch.
pub fn encode(batch: &Batch) {
    for format in [Format::Change, Format::Row] {
        let _ = lines(batch, format, &mut Vec::new());
    }
    let _ = loads(batch, 1, &mut Vec::new());
    let _ = (batch.changes(), batch.committed_us(), batch.last());
    let tables = heights(batch).into_iter().map(|height| {
        let table = &batch.tables[height.table];
        let types = table.columns.iter().map(|column| usual(&column.kind));
        (height, Arc::new(schema(table, types.collect())))
    });
    let _ = record_batches(batch, tables);
}
