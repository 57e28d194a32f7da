//! Reading a send form: fixed fields, and parts with a length before them.

use crate::error::ProtocolError;

pub fn wrong(message: impl Into<String>) -> ProtocolError {
    ProtocolError::nowhere(message)
}

/// A form of exactly so many bytes.
#[inline]
pub fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], ProtocolError> {
    raw.try_into()
        .map_err(|_| wrong(format!("{} bytes where {N} are due", raw.len())))
}

/// Reads a form field by field.
pub struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    pub fn new(raw: &'a [u8]) -> Self {
        Self { rest: raw }
    }

    /// Bytes that were not read.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next bytes.
    pub fn take(&mut self, size: usize) -> Result<&'a [u8], ProtocolError> {
        let Some((taken, rest)) = self.rest.split_at_checked(size) else {
            return Err(wrong(format!(
                "{} bytes left where {size} are due",
                self.left()
            )));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The next bytes, as many as the result holds.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            return Err(wrong(format!(
                "{} bytes left where {N} are due",
                self.left()
            )));
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, ProtocolError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// The next four bytes as a signed integer.
    pub fn integer(&mut self) -> Result<i32, ProtocolError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A part behind its length; None for null, whose length is -1.
    pub fn part(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        match self.integer()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(_) => Err(wrong(format!("a length of {length}"))),
            },
        }
    }

    /// Check that nothing is left.
    pub fn end(&self) -> Result<(), ProtocolError> {
        match self.left() {
            0 => Ok(()),
            left => Err(wrong(format!("{left} bytes too many"))),
        }
    }
}
