//! CopyData messages as they stand in the connection's stream: each payload behind the letter `d`
//! and a length, which counts itself.

use crate::error::ProtocolError;

/// The payloads of whole messages.
pub fn payloads(mut bytes: &[u8]) -> Result<Vec<&[u8]>, ProtocolError> {
    let end = bytes.len();
    let mut payloads = Vec::new();
    while !bytes.is_empty() {
        let Some((payload, rest)) = frame(bytes) else {
            let message = "a CopyData message is cut or is none";
            return Err(ProtocolError::new(message, end - bytes.len()));
        };
        payloads.push(payload);
        bytes = rest;
    }
    Ok(payloads)
}

/// How many bytes of whole messages stand at the beginning.
pub fn whole(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((_, after)) = frame(rest) {
        rest = after;
    }
    bytes.len() - rest.len()
}

fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let &[b'd', a, b, c, d, ref rest @ ..] = bytes else {
        return None;
    };
    let length = u32::from_be_bytes([a, b, c, d]).checked_sub(4)?;
    rest.split_at_checked(length as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_where_they_end() {
        let bytes = b"d\0\0\0\x05ad\0\0\0\x04d\0\0\0\x06b";
        assert_eq!(whole(bytes), 11);
        assert_eq!(payloads(&bytes[..11]).unwrap(), [b"a".as_slice(), b""]);
        assert_eq!(payloads(bytes).unwrap_err().offset, Some(11));
        assert_eq!(whole(b"d\0\0\0\x03abc"), 0);
    }
}
