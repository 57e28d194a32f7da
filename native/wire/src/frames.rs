//! Messages as they stand in the server's stream: a letter, a length that counts itself, a payload.

use std::ops::Range;

use crate::error::ProtocolError;

const COPY_DATA: u8 = b'd';

/// The size of a walsender's keepalive.
const KEEPALIVE: usize = 18;

/// A message, and the bytes behind it.
struct Message<'a> {
    letter: u8,
    payload: &'a [u8],
    rest: &'a [u8],
}

/// The message that bytes begin with; None where it is cut.
fn first(bytes: &[u8]) -> Result<Option<Message<'_>>, ProtocolError> {
    let Some((&[letter, a, b, c, d], rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]);
    let Some(length) = length.checked_sub(4) else {
        let message = format!("a message of {length} bytes");
        return Err(ProtocolError::nowhere(message));
    };
    let found = rest.split_at_checked(length as usize);
    Ok(found.map(|(payload, rest)| Message {
        letter,
        payload,
        rest,
    }))
}

/// Where the payloads of whole CopyData messages lie.
pub fn ranges(bytes: &[u8]) -> impl Iterator<Item = Result<Range<usize>, ProtocolError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = first(rest).map(|found| found.filter(|found| found.letter == COPY_DATA));
        let at = bytes.len() - rest.len();
        Some(match found {
            Ok(Some(message)) => {
                rest = message.rest;
                let end = bytes.len() - rest.len();
                Ok(end - message.payload.len()..end)
            }
            Ok(None) => {
                let message = "a CopyData message is cut or is none";
                Err(ProtocolError::new(message, at))
            }
            Err(error) => Err(error),
        })
    })
}

/// The payloads of whole CopyData messages.
pub fn payloads(bytes: &[u8]) -> Result<Vec<&[u8]>, ProtocolError> {
    ranges(bytes)
        .map(|range| Ok(bytes.get(range?).unwrap_or_default()))
        .collect()
}

/// What arrived of a stream: CopyData messages, and others between them.
#[derive(Debug, Default)]
pub struct Messages {
    /// What arrived, and room behind it.
    bytes: Vec<u8>,
    /// Where what arrived ends.
    end: usize,
    /// Where the whole CopyData messages at the beginning end.
    copied: usize,
}

impl Messages {
    /// How many bytes are there.
    pub fn len(&self) -> usize {
        self.end
    }

    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Room for so many bytes more of the stream; [`Messages::push`] says how many came.
    pub fn room(&mut self, size: usize) -> &mut [u8] {
        let end = self.end.saturating_add(size);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.end..end).unwrap_or_default()
    }

    /// So many bytes were written into the room.
    pub fn push(&mut self, size: usize) -> Result<(), ProtocolError> {
        self.end = self.end.saturating_add(size).min(self.bytes.len());
        self.look()
    }

    fn arrived(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    fn look(&mut self) -> Result<(), ProtocolError> {
        let mut rest = self.arrived().get(self.copied..).unwrap_or_default();
        while let Some(message) = first(rest)?.filter(|found| found.letter == COPY_DATA) {
            rest = message.rest;
        }
        self.copied = self.end - rest.len();
        Ok(())
    }

    /// The whole CopyData messages that stand before any other.
    pub fn copied(&self) -> &[u8] {
        self.bytes.get(..self.copied).unwrap_or_default()
    }

    /// Of a log: the position that the last payload of [`Messages::copied`] begins with, behind its
    /// letter, and the keepalives among them.
    pub fn heard(&self) -> Result<(u64, Vec<&[u8]>), ProtocolError> {
        let copied = self.copied();
        let mut last: &[u8] = &[];
        let mut keepalives = Vec::new();
        for range in ranges(copied) {
            last = copied.get(range?).unwrap_or_default();
            if last.len() == KEEPALIVE && last.first() == Some(&b'k') {
                keepalives.push(last);
            }
        }
        let position = last.get(1..).and_then(|behind| behind.first_chunk());
        let position = position.copied().map_or(0, u64::from_be_bytes);
        Ok((position, keepalives))
    }

    /// Take what [`Messages::copied`] gives: with the memory that it lies in, unless that is much
    /// larger.
    pub fn take(&mut self) -> Vec<u8> {
        let copied = std::mem::take(&mut self.copied);
        if copied < self.bytes.len() / 2 {
            let taken = self.bytes.get(..copied).unwrap_or_default().to_vec();
            self.drop(0, copied);
            return taken;
        }
        let mut taken = std::mem::take(&mut self.bytes);
        self.bytes
            .extend_from_slice(taken.get(copied..self.end).unwrap_or_default());
        self.end = self.bytes.len();
        taken.truncate(copied);
        taken
    }

    /// Close the gap that these bytes leave.
    fn drop(&mut self, from: usize, to: usize) {
        self.bytes.copy_within(to..self.end, from);
        self.end -= to - from;
    }

    /// Take the message that follows the CopyData messages; None where it is not all there.
    pub fn control(&mut self) -> Result<Option<(u8, Vec<u8>)>, ProtocolError> {
        let rest = self.arrived().get(self.copied..).unwrap_or_default();
        let Some(found) = first(rest)? else {
            return Ok(None);
        };
        let taken = (found.letter, found.payload.to_vec());
        let end = self.end - found.rest.len();
        self.drop(self.copied, end);
        self.look()?;
        Ok(Some(taken))
    }

    /// Whether nothing follows the CopyData messages.
    pub fn is_whole(&self) -> bool {
        self.copied == self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(messages: &mut Messages, bytes: &[u8]) -> Result<(), ProtocolError> {
        let room = messages.room(bytes.len() + 3); // more than comes
        room[..bytes.len()].copy_from_slice(bytes);
        messages.push(bytes.len())
    }

    const STREAM: &[u8] = b"H\0\0\0\x05xd\0\0\0\x05ad\0\0\0\x04c\0\0\0\x04Z\0\0\0\x05I";

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        for size in 1..STREAM.len() {
            let mut messages = Messages::default();
            let (mut copied, mut letters) = (Vec::new(), Vec::new());
            for chunk in STREAM.chunks(size) {
                push(&mut messages, chunk).unwrap();
                copied.extend(messages.take());
                while let Some((letter, _)) = messages.control().unwrap() {
                    letters.push(letter);
                    copied.extend(messages.take());
                }
            }
            assert!(messages.is_whole() && messages.copied().is_empty());
            assert_eq!(letters, b"HcZ");
            assert_eq!(payloads(&copied).unwrap(), [b"a".as_slice(), b""]);
        }
    }

    #[test]
    fn positions_and_keepalives_of_a_log_are_noted() {
        let mut stream = b"d\0\0\0\x16k".to_vec();
        stream.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 7, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        stream.extend_from_slice(b"d\0\0\0\x0ew\0\0\0\0\0\0\0\x09x");
        for size in 1..stream.len() {
            let mut messages = Messages::default();
            for chunk in stream.chunks(size) {
                push(&mut messages, chunk).unwrap();
            }
            assert_eq!(messages.heard().unwrap(), (9, vec![&stream[5..23]]));
            messages.take();
            assert_eq!(messages.heard().unwrap(), (0, vec![]));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        assert_eq!(
            payloads(b"d\0\0\0\x04d\0\0\0\x06b").unwrap_err().offset,
            Some(5)
        );
        assert!(payloads(b"c\0\0\0\x04").is_err());
        assert!(push(&mut Messages::default(), b"d\0\0\0\x03").is_err());
    }
}
