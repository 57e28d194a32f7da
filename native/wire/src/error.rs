//! What goes wrong: always with the place, never a panic.

use std::fmt;

/// Bytes that the protocol does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolError {
    /// What is wrong.
    pub message: String,
    /// Where in the payload; None where no single byte is to blame.
    pub offset: Option<usize>,
    /// What to do about it; may be empty.
    pub hint: &'static str,
    /// The table's name, where it is known.
    pub table: Option<String>,
}

impl ProtocolError {
    pub fn new(message: impl Into<String>, offset: usize) -> Self {
        Self {
            message: message.into(),
            offset: Some(offset),
            hint: "",
            table: None,
        }
    }

    /// The same, for what no single byte is to blame for.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            offset: None,
            hint: "",
            table: None,
        }
    }

    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    pub fn table(mut self, table: &str) -> Self {
        self.table = Some(table.to_owned());
        self
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ProtocolError {}

/// A value that its column's type does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The table's name, `schema.name`.
    pub table: String,
    /// What is wrong, with the column's name.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

/// What stops an encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodeError {
    Decode(DecodeError),
    /// The packed row itself is damaged.
    Protocol(ProtocolError),
}

impl From<DecodeError> for EncodeError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<ProtocolError> for EncodeError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}
