//! Packed rows: pgoutput's TupleData without its count. One head per column (`n` null,
//! `u` unchanged, `t` text, `b` binary), the last two with a length and so many bytes.
//!
//! Whatever a row came as, log or COPY, inside a batch it is this; but rows of a COPY in binary may
//! stay as they came.

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

/// How a row's values lie in its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// As pgoutput writes them.
    #[default]
    Tuple,
    /// As COPY in binary format writes them: a length and so many bytes.
    Copied,
}

/// What stands for a null's length in a copied row.
pub const NULL: u32 = u32::MAX;

/// Reads the values of a packed row, in column order.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
    form: Form,
}

impl<'a> Values<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self::of(Form::Tuple, bytes, at)
    }

    pub fn of(form: Form, bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, form }
    }

    /// Where the next value begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next value; `column` of `arity`, counted from 0, for the error's words.
    #[inline]
    pub fn next(&mut self, column: usize, arity: usize) -> Result<Value<'a>, ProtocolError> {
        if self.form == Form::Copied {
            return self.copied(column, arity);
        }
        let (&form, rest) = match self.bytes.get(self.at..).and_then(<[u8]>::split_first) {
            Some(split) => split,
            None => return Err(no_value(column, arity, self.at)),
        };
        match form {
            b't' | b'b' => {
                let Some((length, rest)) = rest.split_first_chunk() else {
                    return Err(no_length(column, arity, self.at));
                };
                let length = u32::from_be_bytes(*length) as usize;
                let Some(value) = rest.get(..length) else {
                    return Err(too_long(column, arity, self.at + 1, length, rest.len()));
                };
                self.at += 5 + length;
                Ok(if form == b't' {
                    Value::Text(value)
                } else {
                    Value::Binary(value)
                })
            }
            b'n' => {
                self.at += 1;
                Ok(Value::Null)
            }
            b'u' => {
                self.at += 1;
                Ok(Value::Unchanged)
            }
            _ => Err(unknown_form(column, arity, self.at, form)),
        }
    }

    #[inline]
    fn copied(&mut self, column: usize, arity: usize) -> Result<Value<'a>, ProtocolError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk() else {
            return Err(no_length(column, arity, self.at));
        };
        let length = u32::from_be_bytes(*length);
        if length == NULL {
            self.at += 4;
            return Ok(Value::Null);
        }
        let length = length as usize;
        let Some(value) = rest.get(..length) else {
            return Err(too_long(column, arity, self.at, length, rest.len()));
        };
        self.at += 4 + length;
        Ok(Value::Binary(value))
    }
}

#[cold]
fn no_value(column: usize, arity: usize, at: usize) -> ProtocolError {
    let column = column + 1;
    ProtocolError::new(
        format!("the tuple ends before column {column} of {arity}"),
        at,
    )
}

#[cold]
fn no_length(column: usize, arity: usize, at: usize) -> ProtocolError {
    ProtocolError::new(
        format!("column {} of {arity} has no length", column + 1),
        at,
    )
}

#[cold]
fn too_long(column: usize, arity: usize, at: usize, length: usize, left: usize) -> ProtocolError {
    let column = column + 1;
    let message = format!("column {column} of {arity} announces {length} bytes, {left} left");
    ProtocolError::new(message, at)
}

#[cold]
fn unknown_form(column: usize, arity: usize, at: usize, form: u8) -> ProtocolError {
    ProtocolError::new(
        format!("column {} of {arity} has unknown form {form}", column + 1),
        at,
    )
}
