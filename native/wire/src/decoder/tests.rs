//! The decoder against its own invariants; that it decodes as Python does is proved from Python.

use super::*;
use crate::batch::Span;
use crate::table::{Column, Kind, Type};
use crate::tuple::Value;

fn table(handle: u32, oid: u32, key: Vec<usize>) -> Arc<Table> {
    let column = |name: &str| Column {
        name: name.to_owned(),
        kind: Type {
            oid: 25,
            base: 25,
            modifier: -1,
            kind: Kind::Text,
            element: None,
        },
    };
    Arc::new(Table {
        handle,
        oid,
        text: format!("public.t{oid}"),
        columns: vec![column("id"), column("note")],
        key,
    })
}

fn frame(message: &[&[u8]]) -> Vec<u8> {
    [b"w", &[0; 24][..], &message.concat()].concat()
}

fn begin(lsn: u64) -> Vec<u8> {
    frame(&[b"B", &lsn.to_be_bytes(), &[0; 8], &[0, 0, 0, 7]])
}

fn commit(lsn: u64) -> Vec<u8> {
    let end = lsn + 1;
    frame(&[b"C\0", &lsn.to_be_bytes(), &end.to_be_bytes(), &[0; 8]])
}

fn relation(oid: u32) -> Vec<u8> {
    let columns = b"\x01id\0\0\0\0\x19\xff\xff\xff\xff\0note\0\0\0\0\x19\xff\xff\xff\xff";
    frame(&[b"R", &oid.to_be_bytes(), b"public\0t\0d\0\x02", columns])
}

fn tuple(values: [&[u8]; 2]) -> Vec<u8> {
    let mut bytes = vec![0, 2];
    for value in values {
        match value {
            b"UNCHANGED" => Value::Unchanged.pack(&mut bytes),
            value => Value::Text(value).pack(&mut bytes),
        }
    }
    bytes
}

fn insert(oid: u32, values: [&[u8]; 2]) -> Vec<u8> {
    frame(&[b"I", &oid.to_be_bytes(), b"N", &tuple(values)])
}

fn update(oid: u32, form: &[u8], old: [&[u8]; 2], new: [&[u8]; 2]) -> Vec<u8> {
    let (old, new) = (tuple(old), tuple(new));
    frame(&[b"U", &oid.to_be_bytes(), form, &old, b"N", &new])
}

fn decoder(max_bytes: usize) -> Decoder {
    Decoder::new(Settings {
        database: "shop".to_owned(),
        messages: None,
        max_bytes,
        binary: false,
    })
}

/// Feed all, reading every relation as a table with the first column as its key.
fn feed(decoder: &mut Decoder, payloads: &[Vec<u8>]) -> Vec<Batch> {
    let mut at = 0;
    while at < payloads.len() {
        let rest = payloads[at..].iter().map(Vec::as_slice);
        at += decoder.decode(rest).unwrap();
        if let Some(oid) = decoder.needs() {
            let shape = table(oid, oid, vec![0]);
            decoder.announce(None, &shape);
            decoder.read(oid, &shape, None);
        }
    }
    decoder.take()
}

fn texts(batch: &Batch, span: Option<Span>) -> Vec<String> {
    let Some(span) = span else { return Vec::new() };
    let mut values = batch.values(span);
    let mut texts = Vec::new();
    while values.at() < span.end() {
        texts.push(match values.next(0, 1).unwrap() {
            Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        });
    }
    texts
}

fn rows(batch: &Batch) -> Vec<(String, Vec<String>)> {
    let rows = batch.events.iter().filter_map(|event| match event {
        Event::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| {
        assert!(batch.origins.len() > row.origin as usize);
        let table = &batch.tables[row.table as usize];
        (table.text.clone(), texts(batch, row.after))
    })
    .collect()
}

#[test]
fn what_is_complete_goes_and_the_rest_keeps_its_places() {
    let mut decoder = decoder(1 << 20);
    let first = feed(
        &mut decoder,
        &[
            begin(0x10),
            relation(1),
            relation(2),
            insert(1, [b"1", b"a"]),
            insert(2, [b"2", b"b"]),
            commit(0x10),
            begin(0x20),
            insert(2, [b"3", b"c"]),
            insert(1, [b"4", b"d"]),
        ],
    );
    let whole = first.last().unwrap();
    assert_eq!(whole.position, Some(0x11));
    assert_eq!(
        rows(whole),
        [("public.t2".to_owned(), vec!["2".to_owned(), "b".to_owned()])]
    );
    let rest = feed(&mut decoder, &[insert(2, [b"5", b"e"]), commit(0x20)]);
    let [rest] = rest.as_slice() else {
        panic!("one batch")
    };
    let seen: Vec<_> = rows(rest)
        .into_iter()
        .map(|(table, row)| (table, row.concat()))
        .collect();
    let expected = [
        ("public.t2", "3c"),
        ("public.t1", "4d"),
        ("public.t2", "5e"),
    ];
    assert_eq!(
        seen,
        expected.map(|(table, row)| (table.to_owned(), row.to_owned()))
    );
    let counts: Vec<_> = rest
        .counts
        .iter()
        .map(|(i, n)| (rest.tables[*i as usize].oid, *n))
        .collect();
    assert_eq!(counts, [(2, 2), (1, 1)]);
    assert_eq!(rest.origins.len(), 1);
    assert_eq!(rest.last(), Some(("0/20".to_owned(), 2)));
}

#[test]
fn a_full_batch_is_cut_inside_a_transaction() {
    let mut decoder = decoder(100);
    let many = (0..9).map(|_| insert(1, [b"1", b"a"]));
    let payloads: Vec<_> = [begin(0x10), relation(1)].into_iter().chain(many).collect();
    let cut = feed(&mut decoder, &payloads);
    assert!(
        cut.iter()
            .all(|batch| batch.position.is_none() && batch.size < 200)
    );
    let last = feed(&mut decoder, &[commit(0x10)]);
    let [last] = last.as_slice() else {
        panic!("one batch")
    };
    assert_eq!(last.counts, [(0, 9)]);
    assert_eq!(last.position, Some(0x11));
}

#[test]
fn what_the_log_does_not_repeat_is_taken_from_the_old_row() {
    let mut decoder = decoder(1 << 20);
    let batches = feed(
        &mut decoder,
        &[
            begin(0x10),
            relation(1),
            update(1, b"O", [b"1", b"large"], [b"1", b"UNCHANGED"]),
            update(1, b"K", [b"1", b""], [b"2", b"UNCHANGED"]),
            commit(0x10),
        ],
    );
    let batch = batches.last().unwrap();
    let found = batch.events.iter().filter_map(|event| match event {
        Event::Row(row) => Some((texts(batch, row.after), texts(batch, row.old_key))),
        _ => None,
    });
    let found: Vec<_> = found.collect();
    let text = |text: &str| text.to_owned();
    assert_eq!(found[0], (vec![text("1"), text("large")], vec![]));
    assert_eq!(
        found[1],
        (vec![text("2"), text("Unchanged")], vec![text("1")])
    );
}

#[test]
fn a_payload_cut_anywhere_is_an_error() {
    let payloads = [
        begin(0x10),
        relation(1),
        insert(1, [b"1", b"a"]),
        update(1, b"K", [b"1", b""], [b"2", b"b"]),
        commit(0x10),
    ];
    for (number, payload) in payloads.iter().enumerate() {
        for length in 0..payload.len() {
            let mut decoder = decoder(1 << 20);
            feed(&mut decoder, &payloads[..number]);
            let result = decoder.decode([&payload[..length]]);
            let undecided = decoder.needs().is_some();
            assert!(
                result.is_err() || undecided,
                "payload {number} cut at {length}"
            );
        }
    }
}
