//! Fields of messages, each length checked against the bytes that are left.

use crate::error::ProtocolError;

/// Reads fields off a payload.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// `at` is not beyond the end of `data`.
    pub fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at }
    }

    /// All bytes, with what was read.
    #[inline]
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Where the next field begins.
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// What is not read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.data.get(self.at..).unwrap_or(&[])
    }

    /// Go on at `at`.
    #[inline]
    pub fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// Leave the rest unread.
    #[inline]
    pub fn skip(&mut self) {
        self.at = self.data.len();
    }

    /// Numbers of fixed sizes, `N` bytes together.
    #[inline]
    pub fn numbers<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        match self.rest().first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => {
                let message = format!("the message ends inside {N} bytes of numbers");
                Err(ProtocolError::new(message, self.at))
            }
        }
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8, ProtocolError> {
        let [byte] = self.numbers()?;
        Ok(byte)
    }

    #[inline]
    pub fn short(&mut self) -> Result<u16, ProtocolError> {
        Ok(u16::from_be_bytes(self.numbers()?))
    }

    /// An OID, a length.
    #[inline]
    pub fn unsigned(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.numbers()?))
    }

    /// A log sequence number.
    #[inline]
    pub fn position(&mut self) -> Result<u64, ProtocolError> {
        Ok(u64::from_be_bytes(self.numbers()?))
    }

    /// So many bytes.
    #[inline]
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], ProtocolError> {
        let rest = self.rest();
        let Some(bytes) = rest.get(..length) else {
            let message = format!("{length} bytes announced, {} left", rest.len());
            return Err(ProtocolError::new(message, self.at));
        };
        self.at += length;
        Ok(bytes)
    }

    /// A text that ends with a zero byte.
    pub fn text(&mut self) -> Result<&'a str, ProtocolError> {
        let rest = self.rest();
        let Some((text, _)) = memchr::memchr(0, rest).and_then(|end| rest.split_at_checked(end))
        else {
            return Err(ProtocolError::new("a text has no end", self.at));
        };
        let start = self.at;
        self.at += text.len() + 1;
        std::str::from_utf8(text).map_err(|error| {
            let wrong = text.get(error.valid_up_to()).copied().unwrap_or(0);
            let reason = match (error.error_len(), wrong) {
                (None, _) => "unexpected end of data",
                (Some(_), 0xC2..=0xF4) => "invalid continuation byte",
                (Some(_), _) => "invalid start byte",
            };
            let message = format!("a text is not UTF-8: {reason}");
            ProtocolError::new(message, start + error.valid_up_to())
                .hint("the session must have client_encoding=UTF8")
        })
    }

    /// An error unless all was read.
    #[inline]
    pub fn end(&self) -> Result<(), ProtocolError> {
        match self.rest().len() {
            0 => Ok(()),
            left => Err(ProtocolError::new(
                format!("{left} bytes follow the message"),
                self.at,
            )),
        }
    }
}
