//! How each type of column is read: where a value ends, and its exact text.

use super::event::Fields;
use super::number::{self, Decimal, digits};
use super::{Leave, Result, clock, json};

/// How to read a column's values (`Field` of the reference). A `prefix` is the size of the length
/// that stands before a value, at most 4; other sizes are a value's own, at most 8.
#[derive(Debug, Clone)]
pub enum Field {
    Integer {
        size: usize,
        unsigned: bool,
    },
    Float,
    Double,
    Decimal(Decimal),
    Date,
    Year,
    Timestamp {
        digits: usize,
    },
    DateTime {
        digits: usize,
    },
    Time {
        digits: usize,
    },
    /// Text in UTF-8.
    Text {
        prefix: usize,
    },
    /// Text of a character set of one byte each; `ascii` where the first half of it is that.
    Single {
        prefix: usize,
        ascii: bool,
        characters: Vec<Vec<u8>>,
    },
    /// Bytes, filled up with zeros to a size.
    Bytes {
        prefix: usize,
        size: usize,
    },
    Bit {
        size: usize,
    },
    /// What was refused, nothing, comes before the labels.
    Enum {
        size: usize,
        labels: Vec<Vec<u8>>,
    },
    Set {
        size: usize,
        labels: Vec<Vec<u8>>,
    },
    Json {
        prefix: usize,
    },
    Uuid,
}

const HEAD: usize = 5; // `t` and a length, as packed values have it

impl Field {
    /// Append the next value to a packed row.
    #[inline]
    pub fn pack(&self, fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Integer { size, unsigned } => {
                let number = match size {
                    1 => u64::from(fields.byte()?),
                    2 => u64::from(fields.two()?),
                    4 => u64::from(fields.four()?),
                    8 => fields.eight()?,
                    _ => fields.integer(*size)?,
                };
                let unused = (64 - 8 * size) as u32;
                let signed = (number << unused) as i64 >> unused;
                if *unsigned || signed >= 0 {
                    pack_number(false, number, out);
                } else {
                    pack_number(true, signed.unsigned_abs(), out);
                }
                Ok(())
            }
            Self::Text { prefix } => {
                let text = prefixed(fields, *prefix)?;
                head(text.len(), out);
                out.extend_from_slice(text);
                Ok(())
            }
            Self::Date => {
                let value = fields.integer(3)?;
                packed(out, |out| clock::date(value, out))
            }
            Self::DateTime { digits } => {
                let value = big(fields, 5 + clock::fraction_length(*digits))?;
                packed(out, |out| clock::datetime(value, *digits, out))
            }
            Self::Timestamp { digits } => {
                let value = big(fields, 4 + clock::fraction_length(*digits))?;
                packed(out, |out| clock::timestamp(value, *digits, out))
            }
            Self::Time { digits } => {
                let value = big(fields, 3 + clock::fraction_length(*digits))?;
                packed(out, |out| clock::time(value, *digits, out))
            }
            Self::Decimal(decimal) => {
                let raw = fields.take(decimal.size())?;
                packed(out, |out| decimal.text(raw, out))
            }
            Self::Float => {
                let value = f32::from_le_bytes(fields.array()?);
                packed(out, |out| number::float(value, out))
            }
            Self::Double => {
                let value = f64::from_le_bytes(fields.array()?);
                packed(out, |out| number::double(value, out))
            }
            Self::Year => {
                let value = u64::from(fields.byte()?);
                pack_number(false, if value == 0 { 0 } else { value + 1900 }, out);
                Ok(())
            }
            _ => self.pack_other(fields, out),
        }
    }

    fn pack_other(&self, fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Single {
                prefix,
                ascii,
                characters,
            } => {
                let text = prefixed(fields, *prefix)?;
                packed(out, |out| {
                    if *ascii && text.is_ascii() {
                        out.extend_from_slice(text);
                        return Ok(());
                    }
                    for &byte in text {
                        out.extend_from_slice(characters.get(usize::from(byte)).ok_or(Leave)?);
                    }
                    Ok(())
                })
            }
            Self::Bytes { prefix, size } => {
                let bytes = prefixed(fields, *prefix)?;
                packed(out, |out| {
                    hex(bytes, out);
                    let missing = size.saturating_sub(bytes.len());
                    out.resize(out.len() + 2 * missing, b'0');
                    Ok(())
                })
            }
            Self::Bit { size } => {
                let bytes = fields.take(*size)?;
                packed(out, |out| {
                    hex(bytes, out);
                    Ok(())
                })
            }
            Self::Enum { size, labels } => {
                let index = fields.integer(*size)? as usize; // two bytes at most
                let label = match index.checked_sub(1) {
                    None => &[][..],
                    Some(place) => labels.get(place).ok_or(Leave)?,
                };
                head(label.len(), out);
                out.extend_from_slice(label);
                Ok(())
            }
            Self::Set { size, labels } => {
                let bits = fields.integer(*size)?;
                if labels.len() < 64 && bits >> labels.len() != 0 {
                    return Err(Leave);
                }
                packed(out, |out| {
                    for (label, place) in labels.iter().zip(0..64) {
                        if bits >> place & 1 == 0 {
                            continue;
                        }
                        // An empty label is one as well.
                        if bits & ((1 << place) - 1) != 0 {
                            out.push(b',');
                        }
                        out.extend_from_slice(label);
                    }
                    Ok(())
                })
            }
            Self::Json { prefix } => {
                let raw = prefixed(fields, *prefix)?;
                packed(out, |out| json::text(raw, out))
            }
            Self::Uuid => {
                let mut bytes = [0; 16];
                let raw = prefixed(fields, 1)?;
                bytes
                    .get_mut(..raw.len())
                    .ok_or(Leave)?
                    .copy_from_slice(raw);
                packed(out, |out| {
                    out.extend_from_slice(super::gtid::uuid_text(bytes).as_bytes());
                    Ok(())
                })
            }
            _ => Err(Leave),
        }
    }
}

#[inline]
fn prefixed<'a>(fields: &mut Fields<'a>, prefix: usize) -> Result<&'a [u8]> {
    let length = match prefix {
        1 => usize::from(fields.byte()?),
        2 => usize::from(fields.two()?),
        _ => fields.integer(prefix)? as usize, // four bytes at most
    };
    fields.take(length)
}

/// A big-endian integer.
#[inline]
fn big(fields: &mut Fields<'_>, size: usize) -> Result<u64> {
    let bytes = fields.take(size)?.iter();
    Ok(bytes.fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[inline]
fn head(length: usize, out: &mut Vec<u8>) {
    let [a, b, c, d] = (length as u32).to_be_bytes(); // an event's length is kept in four bytes
    out.extend_from_slice(&[b't', a, b, c, d]);
}

#[inline]
fn pack_number(negative: bool, value: u64, out: &mut Vec<u8>) {
    let mut buffer = [0; 20];
    let digits = digits(value, &mut buffer);
    let mut whole = [0; HEAD + 21];
    let length = digits.len() + usize::from(negative);
    whole[0] = b't';
    whole[4] = length as u8; // 20 digits at most
    whole[HEAD] = b'-';
    let begin = HEAD + usize::from(negative);
    let end = begin + digits.len();
    if let Some(place) = whole.get_mut(begin..end) {
        place.copy_from_slice(digits);
    }
    out.extend_from_slice(whole.get(..end).unwrap_or_default());
}

/// Append a packed value whose text `write` appends; its length is not known before.
#[inline]
fn packed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    out.extend_from_slice(b"t\0\0\0\0");
    let begin = out.len();
    write(out)?;
    let length = u32::try_from(out.len() - begin).map_err(|_| Leave)?;
    if let Some(place) = out.get_mut(begin - 4..begin) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const SIGNS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    out.extend(
        bytes
            .iter()
            .flat_map(|&byte| [byte >> 4, byte & 15].map(|nibble| SIGNS[usize::from(nibble)])),
    );
}

/// Whether a bit of a bitmap is set.
#[inline]
pub fn is_set(bitmap: &[u8], place: usize) -> bool {
    bitmap
        .get(place / 8)
        .is_some_and(|byte| byte >> (place % 8) & 1 == 1)
}

/// How many of a bitmap's first bits are set.
pub fn count_set(bitmap: &[u8], count: usize) -> usize {
    (0..count).filter(|&i| is_set(bitmap, i)).count()
}
