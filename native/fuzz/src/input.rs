//! The fuzzer's bytes, cut into what a target needs. Where they end, all that follows is zero or
//! empty.

pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// At most so many bytes.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }

    /// Pieces, each with its length in two bytes before it, to the end.
    pub fn pieces(&mut self) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !self.is_empty() {
            let length = self.short().into();
            pieces.push(self.bytes(length));
        }
        pieces
    }
}
