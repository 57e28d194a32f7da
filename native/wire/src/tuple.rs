//! Packed rows: pgoutput's TupleData without its count. One head per column (`n` null,
//! `u` unchanged, `t` text, `b` binary), the last two with a length and so many bytes.
//!
//! Whatever a row came as, log or COPY, inside a batch it is this.

use crate::error::ProtocolError;

/// A column's value as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Null,
    /// The log did not repeat it.
    Unchanged,
    /// The server's exact text in UTF-8.
    Text(&'a [u8]),
    /// The type's send form.
    Binary(&'a [u8]),
}

impl Value<'_> {
    /// Append the value to a packed row.
    pub fn pack(self, into: &mut Vec<u8>) {
        let (form, bytes) = match self {
            Value::Null => return into.push(b'n'),
            Value::Unchanged => return into.push(b'u'),
            Value::Text(bytes) => (b't', bytes),
            Value::Binary(bytes) => (b'b', bytes),
        };
        into.push(form);
        // A value comes in a message, whose length the protocol keeps in 31 bits.
        into.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        into.extend_from_slice(bytes);
    }
}

/// Reads the values of a packed row, in column order.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Values<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where the next value begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next value; `column` of `arity`, counted from 0, for the error's words.
    #[inline]
    pub fn next(&mut self, column: usize, arity: usize) -> Result<Value<'a>, ProtocolError> {
        let at = self.at;
        let Some(&form) = self.bytes.get(at) else {
            let message = format!("the tuple ends before column {} of {arity}", column + 1);
            return Err(ProtocolError::new(message, at));
        };
        match form {
            b'n' => {
                self.at = at + 1;
                Ok(Value::Null)
            }
            b'u' => {
                self.at = at + 1;
                Ok(Value::Unchanged)
            }
            b't' | b'b' => {
                let Some(&[a, b, c, d]) = self.bytes.get(at + 1..at + 5) else {
                    let message = format!("column {} of {arity} has no length", column + 1);
                    return Err(ProtocolError::new(message, at));
                };
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                let rest = &self.bytes[at + 5..];
                let Some(value) = rest.get(..length) else {
                    let message = format!(
                        "column {} of {arity} announces {length} bytes, {} left",
                        column + 1,
                        rest.len()
                    );
                    return Err(ProtocolError::new(message, at + 1));
                };
                self.at = at + 5 + length;
                Ok(if form == b't' {
                    Value::Text(value)
                } else {
                    Value::Binary(value)
                })
            }
            _ => {
                let message = format!("column {} of {arity} has unknown form {form}", column + 1);
                Err(ProtocolError::new(message, at))
            }
        }
    }
}
