//! Texts, bytes, identifiers, network addresses, bit strings and geometry.

use super::Done;
use super::float::float8;
use super::form::{Parts, fixed, wrong};
use super::number::unsigned;

/// Where the digits of a uuid's bytes stand in its text.
const UUID: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const INET: u8 = 2;
const INET6: u8 = 3;

/// The hexadecimal digits of each byte.
static HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut i = 0;
    while i < 256 {
        pairs[i] = [digits[i / 16], digits[i % 16]];
        i += 1;
    }
    pairs
};

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    let digits = out.get_mut(start..).unwrap_or_default();
    for (pair, &byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&HEX[usize::from(byte)]);
    }
}

pub fn bytea(raw: &[u8], out: &mut Vec<u8>) -> Done {
    out.reserve(2 + 2 * raw.len());
    out.extend_from_slice(b"\\x");
    hex(raw, out);
    Ok(())
}

pub fn uuid(raw: &[u8], out: &mut Vec<u8>) -> Done {
    let bytes: [u8; 16] = fixed(raw)?;
    let mut text = [b'-'; 36];
    for (place, byte) in UUID.into_iter().zip(bytes) {
        if let Some(pair) = text.get_mut(place..place + 2) {
            pair.copy_from_slice(&HEX[usize::from(byte)]);
        }
    }
    out.extend_from_slice(&text);
    Ok(())
}

pub fn hardware(bytes: &[u8], out: &mut Vec<u8>) -> Done {
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 {
            out.push(b':');
        }
        hex(&[*byte], out);
    }
    Ok(())
}

/// Block and offset.
pub fn tid(raw: &[u8], out: &mut Vec<u8>) -> Done {
    let [a, b, c, d, e, f] = fixed(raw)?;
    out.push(b'(');
    unsigned(u32::from_be_bytes([a, b, c, d]).into(), out)?;
    out.push(b',');
    unsigned(u16::from_be_bytes([e, f]).into(), out)?;
    out.push(b')');
    Ok(())
}

/// The number of bits, then bytes.
pub fn bits(raw: &[u8], out: &mut Vec<u8>) -> Done {
    let mut parts = Parts::new(raw);
    let length = parts.integer()?;
    let left = parts.left();
    let bytes = parts.take(left)?;
    match usize::try_from(length) {
        Ok(count) if count.div_ceil(8) == left => {
            let end = out.len() + count;
            out.extend(
                bytes
                    .iter()
                    .flat_map(|byte| (0..8).rev().map(move |place| b'0' + (byte >> place & 1))),
            );
            out.truncate(end);
            Ok(())
        }
        _ => Err(wrong(format!("{length} bits in {left} bytes"))),
    }
}

/// Family, bits of the mask, whether it is a cidr, length, address.
pub fn address(raw: &[u8], out: &mut Vec<u8>) -> Done {
    let mut parts = Parts::new(raw);
    let [family, mask, network, size] = parts.array()?;
    let full = match (family, size) {
        (INET, 4) => 32,
        (INET6, 16) => 128,
        _ => 0,
    };
    if full == 0 || network > 1 || mask > full {
        let message = format!("an address of family {family}, {size} bytes and {mask} bits");
        return Err(wrong(message));
    }
    if family == INET {
        let packed = parts.array()?;
        parts.end()?;
        dotted(packed, out)?;
    } else {
        let packed = parts.array()?;
        parts.end()?;
        ipv6(packed, out)?;
    }
    if network == 1 || mask < full {
        out.push(b'/');
        unsigned(mask.into(), out)?;
    }
    Ok(())
}

fn dotted(packed: [u8; 4], out: &mut Vec<u8>) -> Done {
    for (i, byte) in packed.into_iter().enumerate() {
        if i > 0 {
            out.push(b'.');
        }
        unsigned(byte.into(), out)?;
    }
    Ok(())
}

/// The longest run of two zeros or more is left out; what embeds an IPv4 address ends in it.
fn ipv6(packed: [u8; 16], out: &mut Vec<u8>) -> Done {
    let words = u128::from_be_bytes(packed);
    let word = |i: usize| (words >> (112 - 16 * i)) as u16;
    let (mut start, mut length) = (0, 0);
    for i in 0..8 {
        let run = (i..8).take_while(|&j| word(j) == 0).count();
        if run > length {
            (start, length) = (i, run);
        }
    }
    let sides = if length < 2 {
        [(0, 8), (8, 8)]
    } else {
        [(0, start), (start + length, 8)]
    };
    if start == 0 && (length == 6 || (length == 5 && word(5) == 0xFFFF)) {
        out.extend_from_slice(if length == 6 { b"::" } else { b"::ffff:" });
        return dotted((words as u32).to_be_bytes(), out);
    }
    for (side, (from, to)) in sides.into_iter().enumerate() {
        if side == 1 && length >= 2 {
            out.extend_from_slice(b"::");
        }
        for i in from..to {
            if i > from {
                out.push(b':');
            }
            let digits = word(i).to_be_bytes().map(|byte| HEX[usize::from(byte)]);
            let digits = digits.as_flattened();
            let zeros = digits
                .iter()
                .take(3)
                .take_while(|&&digit| digit == b'0')
                .count();
            out.extend(digits.iter().skip(zeros));
        }
    }
    Ok(())
}

/// So many points.
pub fn points(count: usize, raw: &[u8], out: &mut Vec<u8>) -> Done {
    let mut parts = Parts::new(raw);
    listed(&mut parts, count, out)?;
    parts.end()
}

pub fn lseg(raw: &[u8], out: &mut Vec<u8>) -> Done {
    out.push(b'[');
    points(2, raw, out)?;
    out.push(b']');
    Ok(())
}

/// The three numbers of its equation.
pub fn line(raw: &[u8], out: &mut Vec<u8>) -> Done {
    let mut parts = Parts::new(raw);
    out.push(b'{');
    for i in 0..3 {
        if i > 0 {
            out.push(b',');
        }
        float8(parts.array()?, out)?;
    }
    out.push(b'}');
    parts.end()
}

/// Centre and radius.
pub fn circle(raw: &[u8], out: &mut Vec<u8>) -> Done {
    let mut parts = Parts::new(raw);
    out.push(b'<');
    listed(&mut parts, 1, out)?;
    out.push(b',');
    float8(parts.array()?, out)?;
    out.push(b'>');
    parts.end()
}

/// The number of points, and the points.
pub fn polygon(raw: &[u8], out: &mut Vec<u8>) -> Done {
    out.push(b'(');
    counted(Parts::new(raw), out)?;
    out.push(b')');
    Ok(())
}

/// Whether it is closed, the number of points, and the points.
pub fn path(raw: &[u8], out: &mut Vec<u8>) -> Done {
    let mut parts = Parts::new(raw);
    let (opening, closing) = match parts.byte()? {
        0 => (b'[', b']'),
        1 => (b'(', b')'),
        _ => return Err(wrong("neither open nor closed")),
    };
    out.push(opening);
    counted(parts, out)?;
    out.push(closing);
    Ok(())
}

fn counted(mut parts: Parts<'_>, out: &mut Vec<u8>) -> Done {
    let count = parts.integer()?;
    match usize::try_from(count) {
        Ok(points) if points.checked_mul(16) == Some(parts.left()) => {
            listed(&mut parts, points, out)
        }
        _ => Err(wrong(format!("{count} points in {} bytes", parts.left()))),
    }
}

fn listed(parts: &mut Parts<'_>, count: usize, out: &mut Vec<u8>) -> Done {
    for i in 0..count {
        out.extend_from_slice(if i > 0 { b",(" } else { b"(" });
        float8(parts.array()?, out)?;
        out.push(b',');
        float8(parts.array()?, out)?;
        out.push(b')');
    }
    Ok(())
}
