//! JSON of rows and keys, compiled per version of a table.

use crate::batch::{Batch, Span};
use crate::error::{DecodeError, EncodeError};
use crate::exact;
use crate::json::{self, NULL, Unfit};
use crate::table::{Column, Table};
use crate::tuple::Value;

type Result<T> = std::result::Result<T, EncodeError>;

/// Writes a table's rows and keys.
#[derive(Debug)]
pub(crate) struct TableJson<'a> {
    pub(crate) table: &'a Table,
    /// The table's name as JSON.
    pub(crate) name: Vec<u8>,
    /// `,"column":` of each column.
    heads: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

impl<'a> TableJson<'a> {
    pub(crate) fn new(table: &'a Table) -> Self {
        let mut name = Vec::new();
        json::string(&table.text, &mut name);
        let head = |column: &Column| {
            let mut head = vec![b','];
            json::string(&column.name, &mut head);
            head.push(b':');
            head
        };
        let heads = table.columns.iter().map(head).collect();
        Self {
            table,
            name,
            heads,
            scratch: Vec::new(),
        }
    }

    /// Append the object of a whole row; whether a column is UNCHANGED, and so absent from it.
    pub(crate) fn row(&mut self, batch: &Batch, row: Span, out: &mut Vec<u8>) -> Result<bool> {
        let (begin, arity) = (out.len(), self.heads.len());
        let mut values = batch.values(row);
        let mut unchanged = false;
        for i in 0..arity {
            unchanged |= !self.member(i, values.next(i, arity)?, out)?;
        }
        end_object(begin, out);
        Ok(unchanged)
    }

    /// Append the array of the names of a row's UNCHANGED columns.
    pub(crate) fn unchanged(&self, batch: &Batch, row: Span, out: &mut Vec<u8>) -> Result<()> {
        let arity = self.heads.len();
        let mut values = batch.values(row);
        out.push(b'[');
        let begin = out.len();
        for (i, column) in self.table.columns.iter().enumerate() {
            if values.next(i, arity)? == Value::Unchanged {
                if out.len() > begin {
                    out.push(b',');
                }
                json::string(&column.name, out);
            }
        }
        out.push(b']');
        Ok(())
    }

    /// Append the object of the key in a whole row.
    pub(crate) fn key_in(&mut self, batch: &Batch, row: Span, out: &mut Vec<u8>) -> Result<()> {
        let arity = self.heads.len();
        self.key_of(out, |_, position| {
            let mut values = batch.values(row);
            for i in 0..position {
                values.next(i, arity)?;
            }
            Ok(values.next(position, arity)?)
        })
    }

    /// Append the object of a key that is packed alone.
    pub(crate) fn key(&mut self, batch: &Batch, key: Span, out: &mut Vec<u8>) -> Result<()> {
        let arity = self.table.key.len();
        let mut values = batch.values(key);
        self.key_of(out, |n, _| Ok(values.next(n, arity)?))
    }

    /// `value` gives each value by its number in the key and its column's position.
    fn key_of<'b>(
        &mut self,
        out: &mut Vec<u8>,
        mut value: impl FnMut(usize, usize) -> Result<Value<'b>>,
    ) -> Result<()> {
        let (begin, table) = (out.len(), self.table);
        let mut unknown: Vec<&str> = Vec::new();
        for (n, &position) in table.key.iter().enumerate() {
            if !self.member(position, value(n, position)?, out)? {
                unknown.extend(table.columns.get(position).map(|column| &*column.name));
            }
        }
        if !unknown.is_empty() {
            return Err(self.incomplete_key(&unknown));
        }
        end_object(begin, out);
        Ok(())
    }

    /// Append `,"column":value`; false, and nothing, for an UNCHANGED one.
    #[inline]
    fn member(&mut self, i: usize, value: Value<'_>, out: &mut Vec<u8>) -> Result<bool> {
        let (Some(head), Some(column)) = (self.heads.get(i), self.table.columns.get(i)) else {
            return Ok(true); // a key's position is a column's
        };
        let text = match value {
            Value::Text(text) => text,
            Value::Binary(form) => {
                let start = out.len();
                out.extend_from_slice(head);
                if json::sent(&column.kind, form, out) {
                    return Ok(true);
                }
                out.truncate(start);
                exact::text(self.table, i, form, &mut self.scratch)?
            }
            Value::Unchanged => return Ok(false),
            Value::Null => {
                out.extend_from_slice(head);
                out.extend_from_slice(NULL);
                return Ok(true);
            }
        };
        out.extend_from_slice(head);
        match json::value(column.kind.kind, text, out) {
            Ok(()) => Ok(true),
            Err(why) => Err(unfit(&self.table.text, column, text, why)),
        }
    }

    #[cold]
    fn incomplete_key(&self, unknown: &[&str]) -> EncodeError {
        let table = &self.table.text;
        let names = unknown.join(", ");
        EncodeError::Decode(DecodeError {
            table: table.clone(),
            message: format!("the log did not repeat {names}, part of the key of {table}"),
            hint: format!("ALTER TABLE {table} REPLICA IDENTITY FULL"),
        })
    }
}

#[cold]
fn unfit(table: &str, column: &Column, text: &[u8], why: Unfit<'_>) -> EncodeError {
    let shown: String = repr(text).chars().take(80).collect();
    EncodeError::Decode(DecodeError {
        table: table.to_owned(),
        message: format!("{table}.{}: {shown} cannot be JSON: {why}", column.name),
        hint: "the session must have client_encoding=UTF8 and bytea_output=hex".to_owned(),
    })
}

/// Turn the comma before the first member into the opening brace, and close the object.
fn end_object(begin: usize, out: &mut Vec<u8>) {
    match out.get_mut(begin) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

/// Bytes as Python shows them, as far as 80 characters of it may need.
fn repr(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        '"'
    } else {
        '\''
    };
    let mut shown = format!("b{quote}");
    for &byte in bytes.iter().take(80) {
        match byte {
            b'\t' => shown.push_str("\\t"),
            b'\n' => shown.push_str("\\n"),
            b'\r' => shown.push_str("\\r"),
            b' '..=b'~' => {
                if byte == b'\\' || char::from(byte) == quote {
                    shown.push('\\');
                }
                shown.push(char::from(byte));
            }
            _ => shown.push_str(&format!("\\x{byte:02x}")),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_python_does() {
        assert_eq!(repr(b"a'b"), "b\"a'b\"");
        assert_eq!(repr(b"a'\"b"), "b'a\\'\"b'");
        assert_eq!(repr(b"\\\t\x7f\xff"), "b'\\\\\\t\\x7f\\xff'");
    }
}
