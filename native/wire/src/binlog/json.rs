//! MySQL's binary JSON as the text that the server shows (the reference: `wire.jsonb`).

use super::clock;
use super::event::Fields;
use super::number::{self, Decimal};
use super::{Leave, Result};

use crate::json;

const LARGE_ARRAY: u8 = 3;
const STRING: u8 = 12;
const OPAQUE: u8 = 15;
const DEEPEST: usize = 100;

const TIMESTAMP: u8 = 7;
const DATE: u8 = 10;
const TIME: u8 = 11;
const DATETIME: u8 = 12;
const NEWDECIMAL: u8 = 246;

/// Append the text of a binary JSON value.
pub fn text(raw: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let Some((&kind, rest)) = raw.split_first() else {
        out.extend_from_slice(b"null"); // what an empty value means to the server
        return Ok(());
    };
    let mut document = Document { left: raw.len() };
    document.value(kind, rest, 0, out)
}

/// What may still be read: in hostile bytes values may share theirs.
struct Document {
    left: usize,
}

impl Document {
    fn spend(&mut self, length: usize) -> Result<()> {
        self.left = self.left.checked_sub(length).ok_or(Leave)?;
        Ok(())
    }

    fn value(&mut self, kind: u8, bytes: &[u8], depth: usize, out: &mut Vec<u8>) -> Result<()> {
        let mut fields = Fields::new(bytes);
        match kind {
            0..=LARGE_ARRAY => {
                if depth >= DEEPEST {
                    return Err(Leave);
                }
                self.container(kind, bytes, depth + 1, out)
            }
            4 => {
                out.extend_from_slice(match fields.byte()? {
                    0 => b"null",
                    1 => b"true",
                    2 => b"false",
                    _ => return Err(Leave),
                });
                Ok(())
            }
            5 => signed(i16::from_le_bytes(fields.array()?).into(), out),
            6 => unsigned(fields.two()?.into(), out),
            7 => signed(i32::from_le_bytes(fields.array()?).into(), out),
            8 => unsigned(fields.four()?.into(), out),
            9 => signed(i64::from_le_bytes(fields.array()?), out),
            10 => unsigned(fields.eight()?, out),
            11 => {
                let begin = out.len();
                number::double(f64::from_le_bytes(fields.array()?), out)?;
                let shown = out.get(begin..).unwrap_or_default();
                if !shown.iter().any(|byte| matches!(byte, b'.' | b'e')) {
                    out.extend_from_slice(b".0");
                }
                Ok(())
            }
            STRING => {
                let length = length(&mut fields)?;
                let raw = fields.take(length)?;
                self.spend(length)?;
                string(raw, out)
            }
            OPAQUE => {
                let code = fields.byte()?;
                let length = length(&mut fields)?;
                let raw = fields.take(length)?;
                self.spend(length)?;
                opaque(code, raw, out)
            }
            _ => Err(Leave),
        }
    }

    /// An object or array: counts, then where keys and values are, from its begin.
    fn container(&mut self, kind: u8, bytes: &[u8], depth: usize, out: &mut Vec<u8>) -> Result<()> {
        let large = matches!(kind, 1 | 3);
        let is_object = kind <= 1;
        let wide = if large { 4 } else { 2 };
        let mut fields = Fields::new(bytes);
        let count = fields.integer(wide)? as usize; // four bytes at most
        let size = fields.integer(wide)? as usize;
        let entry = 1 + wide + if is_object { wide + 2 } else { 0 };
        let head = (2 * wide).saturating_add(count.saturating_mul(entry));
        let bytes = bytes.get(..size).ok_or(Leave)?;
        if head > size {
            return Err(Leave);
        }
        self.spend(head)?;
        let heads = bytes.get(2 * wide..head).ok_or(Leave)?;
        let split = if is_object { count * (wide + 2) } else { 0 };
        let (keys, values) = heads.split_at_checked(split).ok_or(Leave)?;
        let (mut keys, mut values) = (Fields::new(keys), Fields::new(values));
        let mut last: Option<&[u8]> = None;
        out.push(if is_object { b'{' } else { b'[' });
        for n in 0..count {
            if n > 0 {
                out.extend_from_slice(b", ");
            }
            if is_object {
                let at = keys.integer(wide)? as usize;
                let length = usize::from(keys.two()?);
                self.spend(length)?;
                let key = bytes.get(at..).and_then(|rest| rest.get(..length));
                let key = key.ok_or(Leave)?;
                // Sorted, so that none comes twice.
                if last.is_some_and(|last| (last.len(), last) >= (key.len(), key)) {
                    return Err(Leave);
                }
                last = Some(key);
                string(key, out)?;
                out.extend_from_slice(b": ");
            }
            let kind = values.byte()?;
            let held = values.take(wide)?;
            if matches!(kind, 4..=6) || large && matches!(kind, 7 | 8) {
                self.value(kind, held, depth, out)?;
                continue;
            }
            let mut place = Fields::new(held);
            let at = place.integer(wide)? as usize;
            if at < head {
                return Err(Leave); // behind the entries, so that there are no cycles
            }
            let inner = bytes.get(at..).ok_or(Leave)?;
            self.value(kind, inner, depth, out)?;
        }
        out.push(if is_object { b'}' } else { b']' });
        Ok(())
    }
}

/// A length in groups of seven bits, the lowest first.
fn length(fields: &mut Fields<'_>) -> Result<usize> {
    let mut length = 0u64;
    for shift in (0..=28).step_by(7) {
        let byte = fields.byte()?;
        length |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(length).map_err(|_| Leave);
        }
    }
    Err(Leave)
}

fn signed(value: i64, out: &mut Vec<u8>) -> Result<()> {
    if value < 0 {
        out.push(b'-');
    }
    unsigned(value.unsigned_abs(), out)
}

fn unsigned(value: u64, out: &mut Vec<u8>) -> Result<()> {
    number::plain(value, out);
    Ok(())
}

fn string(raw: &[u8], out: &mut Vec<u8>) -> Result<()> {
    std::str::from_utf8(raw).map_err(|_| Leave)?;
    out.push(b'"');
    json::inner(raw, out);
    out.push(b'"');
    Ok(())
}

/// A value of an SQL type: decimals and times have texts, the rest is base64.
fn opaque(code: u8, raw: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if code == NEWDECIMAL {
        let [precision, scale, digits @ ..] = raw else {
            return Err(Leave);
        };
        let decimal = Decimal::new((*precision).into(), (*scale).into()).ok_or(Leave)?;
        return decimal.text(digits.get(..decimal.size()).ok_or(Leave)?, out);
    }
    out.push(b'"');
    if matches!(code, DATE | DATETIME | TIMESTAMP | TIME) {
        let packed = i64::from_le_bytes(raw.try_into().map_err(|_| Leave)?);
        moment(code, packed, out)?;
    } else {
        out.extend_from_slice(b"base64:type");
        number::plain(code.into(), out);
        out.push(b':');
        let begin = out.len();
        json::base64_of(raw, out); // within quotes
        out.remove(begin);
        out.pop();
    }
    out.push(b'"');
    Ok(())
}

fn moment(code: u8, packed: i64, out: &mut Vec<u8>) -> Result<()> {
    let (negative, packed) = (packed < 0, packed.unsigned_abs());
    let (whole, micros) = (packed >> 24, packed & 0xFF_FFFF);
    if code == TIME {
        if negative {
            out.push(b'-');
        }
        let hour = whole >> 12 & 1023;
        if hour > 99 {
            number::plain(hour / 100, out);
        }
        out.extend_from_slice(&clock::clock(hour, whole >> 6 & 63, whole & 63));
        return clock::fraction(micros, 6, out);
    }
    let months = whole >> 22;
    let day = clock::day(months / 13, months % 13, whole >> 17 & 31)?;
    out.extend_from_slice(&day);
    if code == DATE {
        return Ok(());
    }
    out.push(b' ');
    out.extend_from_slice(&clock::clock(whole >> 12 & 31, whole >> 6 & 63, whole & 63));
    clock::fraction(micros, 6, out)
}
