//! What of a row goes on: which columns, in which order, masked how.
//!
//! The twin of `penstock.model.projection`, which also judges whether a projection fits its table.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::ProtocolError;
use crate::exact;
use crate::table::Table;
use crate::tuple::{Value, Values};

/// What stands in a value's place, made of its exact text.
#[derive(Debug, Clone)]
pub enum Masking {
    Fixed(Vec<u8>),
    /// So many characters of its beginning.
    Truncate(usize),
    /// In lower-case hexadecimal; `Hmac` here has the key, and has seen no text yet.
    Hmac(Hmac<Sha256>),
}

impl Masking {
    /// HMAC-SHA256 under a key of any length.
    pub fn hmac(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self::Hmac)
    }

    /// Append to a packed row what stands in the place of this text.
    fn pack(&self, text: &[u8], into: &mut Vec<u8>) {
        match self {
            Self::Fixed(fixed) => Value::Text(fixed).pack(into),
            Self::Truncate(length) => Value::Text(first(text, *length)).pack(into),
            Self::Hmac(keyed) => {
                let mut digits = [0; 64];
                let code = keyed.clone().chain_update(text).finalize().into_bytes();
                for (pair, byte) in digits.chunks_exact_mut(2).zip(code) {
                    pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
                }
                Value::Text(&digits).pack(into);
            }
        }
    }
}

fn digit(number: u8) -> u8 {
    number + if number < 10 { b'0' } else { b'a' - 10 }
}

/// The first characters of a UTF-8 text.
fn first(text: &[u8], length: usize) -> &[u8] {
    let begins = |(_, byte): &(usize, &u8)| **byte & 0xc0 != 0x80;
    let end = text.iter().enumerate().filter(begins).nth(length);
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// A column that goes on: its position in the source's table.
#[derive(Debug, Clone)]
pub struct Output {
    pub column: usize,
    pub masking: Option<Masking>,
}

/// What goes on of one version of a table.
#[derive(Debug, Clone)]
pub struct Projection {
    /// The table as its source shows it.
    source: Arc<Table>,
    outputs: Vec<Output>,
    /// The key's columns, in key order.
    key: Vec<Output>,
}

impl Projection {
    /// None where an output is no column of the table, or a column of its key does not go on.
    pub fn new(source: Arc<Table>, outputs: Vec<Output>) -> Option<Self> {
        let known = |output: &Output| output.column < source.columns.len();
        if !outputs.iter().all(known) {
            return None;
        }
        let output = |column: &usize| outputs.iter().find(|output| output.column == *column);
        let key: Option<Vec<Output>> = source.key.iter().map(|c| output(c).cloned()).collect();
        key.map(|key| Self {
            source,
            outputs,
            key,
        })
    }

    /// The table as its source shows it.
    pub fn source(&self) -> &Arc<Table> {
        &self.source
    }

    /// Append to `into` what goes on of a packed row of the source's table.
    pub fn row(&self, row: &[u8], into: &mut Vec<u8>) -> Result<(), ProtocolError> {
        self.project(row, &self.outputs, into)
    }

    /// Append the key's columns alone, in key order, of a packed row of the source's table.
    pub fn key(&self, row: &[u8], into: &mut Vec<u8>) -> Result<(), ProtocolError> {
        self.project(row, &self.key, into)
    }

    fn project(
        &self,
        row: &[u8],
        outputs: &[Output],
        into: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let arity = self.source.columns.len();
        let mut values = Values::new(row, 0);
        let mut at = 0;
        for output in outputs {
            if output.column < at {
                (values, at) = (Values::new(row, 0), 0);
            }
            for column in at..output.column {
                values.next(column, arity)?;
            }
            let value = values.next(output.column, arity)?;
            at = output.column + 1;
            match (&output.masking, value) {
                (Some(masking), Value::Text(text)) => masking.pack(text, into),
                (Some(masking), Value::Binary(bytes)) => {
                    let mut scratch = Vec::new();
                    let text = exact::text(&self.source, output.column, bytes, &mut scratch)?;
                    masking.pack(text, into);
                }
                (_, value) => value.pack(into),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, Kind, Type};

    fn table(key: &[usize]) -> Arc<Table> {
        let column = |name: &str, base| Column {
            name: name.into(),
            kind: Type {
                oid: base,
                base,
                modifier: -1,
                kind: Kind::Other,
                element: None,
            },
        };
        Arc::new(Table {
            handle: 1,
            oid: 1,
            text: "public.t".into(),
            columns: vec![column("a", 23), column("b", 25), column("c", 25)],
            key: key.to_vec(),
        })
    }

    fn packed(values: &[Value<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| value.pack(&mut bytes));
        bytes
    }

    fn clear(column: usize) -> Output {
        Output {
            column,
            masking: None,
        }
    }

    fn masked(column: usize, masking: Masking) -> Output {
        Output {
            column,
            masking: Some(masking),
        }
    }

    fn row(projection: &Projection, values: &[Value<'_>]) -> Result<Vec<u8>, ProtocolError> {
        let mut out = Vec::new();
        projection.row(&packed(values), &mut out)?;
        Ok(out)
    }

    #[test]
    fn columns_in_another_order() {
        let projection = Projection::new(table(&[]), vec![clear(2), clear(0), clear(0)]).unwrap();
        let out = row(
            &projection,
            &[Value::Text(b"1"), Value::Null, Value::Unchanged],
        );
        let expected = packed(&[Value::Unchanged, Value::Text(b"1"), Value::Text(b"1")]);
        assert_eq!(out.unwrap(), expected);
    }

    #[test]
    fn null_and_unchanged_are_not_masked() {
        let fixed = |column| masked(column, Masking::Fixed(b"***".to_vec()));
        let projection = Projection::new(table(&[]), vec![fixed(0), fixed(1), fixed(2)]).unwrap();
        let out = row(
            &projection,
            &[Value::Null, Value::Unchanged, Value::Text(b"x")],
        );
        let expected = packed(&[Value::Null, Value::Unchanged, Value::Text(b"***")]);
        assert_eq!(out.unwrap(), expected);
    }

    #[test]
    fn truncate_counts_characters() {
        assert_eq!(first("äöü".as_bytes(), 2), "äö".as_bytes());
        assert_eq!(first("äöü".as_bytes(), 3), "äöü".as_bytes());
        assert_eq!(first(b"", 3), b"");
        assert_eq!(first(b"\x80\x80a", 1), b"\x80\x80a");
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac() {
        let hmac = Masking::hmac(b"Jefe").unwrap();
        let mut out = Vec::new();
        hmac.pack(b"what do ya want for nothing?", &mut out);
        let expected = b"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(out, packed(&[Value::Text(expected)]));
        assert!(!format!("{hmac:?}").contains("Jefe"));
    }

    #[test]
    fn a_binary_value_is_masked_by_its_text() {
        let truncate = masked(0, Masking::Truncate(2));
        let projection = Projection::new(table(&[0]), vec![clear(0)]).unwrap();
        let value = 1234_i32.to_be_bytes();
        let out = row(
            &projection,
            &[Value::Binary(&value), Value::Null, Value::Null],
        );
        assert_eq!(out.unwrap(), packed(&[Value::Binary(&value)]));
        let projection = Projection::new(table(&[]), vec![truncate]).unwrap();
        let out = row(
            &projection,
            &[Value::Binary(&value), Value::Null, Value::Null],
        );
        assert_eq!(out.unwrap(), packed(&[Value::Text(b"12")]));
        let error = row(
            &projection,
            &[Value::Binary(b"1"), Value::Null, Value::Null],
        );
        assert!(error.unwrap_err().message.starts_with("column 1 of 3"));
    }

    #[test]
    fn the_key_is_masked_like_the_row() {
        let fixed = masked(0, Masking::Fixed(b"***".to_vec()));
        let projection = Projection::new(table(&[2, 0]), vec![fixed, clear(2)]).unwrap();
        let mut out = Vec::new();
        let whole = packed(&[Value::Text(b"1"), Value::Null, Value::Text(b"x")]);
        projection.key(&whole, &mut out).unwrap();
        assert_eq!(out, packed(&[Value::Text(b"x"), Value::Text(b"***")]));
    }

    #[test]
    fn what_is_no_projection_of_the_table() {
        assert!(Projection::new(table(&[0]), vec![clear(1)]).is_none());
        assert!(Projection::new(table(&[]), vec![clear(3)]).is_none());
    }

    #[test]
    fn a_row_that_ends_early() {
        let projection = Projection::new(table(&[]), vec![clear(2)]).unwrap();
        assert!(row(&projection, &[Value::Null]).is_err());
    }
}
