//! Arrays, ranges and multiranges: values inside others, quoted where their text needs it.

use super::form::{Parts, wrong};
use super::number::signed;
use super::{Done, scalar, value};
use crate::table::Type;

const DEPTH: usize = 6; // the server's own limit of dimensions
const BOX: u32 = 603;
const EMPTY: u8 = 1;
const LOW_INCLUSIVE: u8 = 2;
const HIGH_INCLUSIVE: u8 = 4;
const LOW_INFINITE: u8 = 8;
const HIGH_INFINITE: u8 = 16;

/// Dimensions, whether it has nulls, the elements' type, and for each dimension its length and
/// lower bound; then the elements.
pub fn array(element: &Type, raw: &[u8], out: &mut Vec<u8>) -> Done {
    let mut parts = Parts::new(raw);
    let (depth, nulls) = (parts.integer()?, parts.integer()?);
    let found = u32::from_be_bytes(parts.array()?);
    let dimensions = usize::try_from(depth).ok().filter(|&depth| depth <= DEPTH);
    let (Some(dimensions), 0 | 1) = (dimensions, nulls) else {
        return Err(wrong(format!(
            "an array of {depth} dimensions, with {nulls} for nulls"
        )));
    };
    if found != element.oid {
        return Err(wrong(format!(
            "an array of type {found} where {} is due",
            element.oid
        )));
    }
    let mut sizes = Vec::with_capacity(dimensions);
    let start = out.len();
    let mut shifted = false;
    for _ in 0..dimensions {
        let (size, low) = (parts.integer()?, parts.integer()?);
        let high = i64::from(low) + i64::from(size) - 1;
        let Some(length) = u64::try_from(size).ok().filter(|&size| size > 0) else {
            return Err(wrong(format!("a dimension of {size} from {low} on")));
        };
        if high > i64::from(i32::MAX) {
            return Err(wrong(format!("a dimension of {size} from {low} on")));
        }
        sizes.push(length);
        shifted |= low != 1;
        out.push(b'[');
        signed(low.into(), out)?;
        out.push(b':');
        signed(high, out)?;
        out.push(b']');
    }
    if shifted {
        out.push(b'=');
    } else {
        out.truncate(start);
    }
    let Some(mut count) = sizes.first().map(|_| 1u64) else {
        out.extend_from_slice(b"{}");
        return parts.end();
    };
    // After how many elements a brace of each dimension is closed and opened, from the inside.
    let mut braces = Vec::with_capacity(dimensions);
    for size in sizes.iter().rev() {
        count = count.saturating_mul(*size);
        braces.push(count);
    }
    if count.saturating_mul(4) > parts.left() as u64 {
        let sizes = sizes
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join("x");
        return Err(wrong(format!("{sizes} elements in {} bytes", parts.left())));
    }
    let delimiter = if element.base == BOX { b';' } else { b',' };
    for i in 0..count {
        if i > 0 {
            out.push(delimiter);
        }
        out.extend(
            braces
                .iter()
                .take_while(|&&after| i % after == 0)
                .map(|_| b'{'),
        );
        match parts.part()? {
            None => out.extend_from_slice(b"NULL"),
            Some(raw) => {
                let start = out.len();
                value(element, raw, out)?;
                quote(start, delimiter, out);
            }
        }
        out.extend(
            braces
                .iter()
                .take_while(|&&after| (i + 1) % after == 0)
                .map(|_| b'}'),
        );
    }
    parts.end()
}

/// Quote an element's text, from `start` on, if it is empty, NULL, or has a special byte.
fn quote(start: usize, delimiter: u8, out: &mut Vec<u8>) {
    let special = |byte: u8| {
        matches!(byte, b'"' | b'\\' | b'{' | b'}' | b' ' | b'\t'..=b'\r') || byte == delimiter
    };
    let text = out.get(start..).unwrap_or_default();
    let null = text.eq_ignore_ascii_case(b"NULL");
    if !text.is_empty() && !null && !text.iter().any(|&byte| special(byte)) {
        return;
    }
    let text = out.split_off(start);
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// What it has and includes, then its bounds.
pub fn range(bound: u32, raw: &[u8], out: &mut Vec<u8>) -> Done {
    let mut parts = Parts::new(raw);
    let flags = parts.byte()?;
    if flags > 0x1F {
        return Err(wrong(format!("a range with flags {flags}")));
    }
    if flags & EMPTY != 0 {
        out.extend_from_slice(b"empty");
        return parts.end();
    }
    out.push(if flags & LOW_INCLUSIVE != 0 {
        b'['
    } else {
        b'('
    });
    if flags & LOW_INFINITE == 0 {
        end(bound, &mut parts, out)?;
    }
    out.push(b',');
    if flags & HIGH_INFINITE == 0 {
        end(bound, &mut parts, out)?;
    }
    out.push(if flags & HIGH_INCLUSIVE != 0 {
        b']'
    } else {
        b')'
    });
    parts.end()
}

fn end(bound: u32, parts: &mut Parts<'_>, out: &mut Vec<u8>) -> Done {
    let Some(raw) = parts.part()? else {
        return Err(wrong("a bound that is null"));
    };
    let start = out.len();
    scalar(bound, raw, out)?;
    // The bounds are numbers and times: blanks are all that they have of what is quoted.
    if out.get(start..).unwrap_or_default().contains(&b' ') {
        out.insert(start, b'"');
        out.push(b'"');
    }
    Ok(())
}

/// The number of its ranges, and the ranges.
pub fn multirange(bound: u32, raw: &[u8], out: &mut Vec<u8>) -> Done {
    let mut parts = Parts::new(raw);
    let count = parts.integer()?;
    let fits = i64::from(count) * 5 <= parts.left() as i64;
    if count < 0 || !fits {
        return Err(wrong(format!("{count} ranges in {} bytes", parts.left())));
    }
    out.push(b'{');
    for i in 0..count {
        if i > 0 {
            out.push(b',');
        }
        let Some(raw) = parts.part()? else {
            return Err(wrong("a range that is null"));
        };
        range(bound, raw, out)?;
    }
    out.push(b'}');
    parts.end()
}
