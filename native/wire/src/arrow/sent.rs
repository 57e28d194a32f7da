//! Values in their types' send forms, as Arrow stores them; None for all that the exact text has to
//! be asked about: types that are not here, values that Arrow cannot hold, wrong lengths.
//!
//! Forms: the send functions in PostgreSQL's `src/backend/utils/adt`.

use super::column::{Digits, Values};
use super::text::{DAY, FIRST, LAST};

/// 2000-01-01 in days since 1970.
const EPOCH: i32 = 10_957;

impl Values {
    /// Store a value of the built-in type `base`.
    #[inline]
    pub(super) fn sent(&mut self, base: u32, bytes: &[u8]) -> Option<()> {
        match (self, base) {
            (Self::Boolean(v), 16) => v.append(match bytes {
                [0] => false,
                [1] => true,
                _ => return None,
            }),
            (Self::Int16(v), 21) => v.push(i16::from_be_bytes(bytes.try_into().ok()?)),
            (Self::Int32(v), 23) => v.push(i32::from_be_bytes(bytes.try_into().ok()?)),
            (Self::Int64(v), 20) => v.push(i64::from_be_bytes(bytes.try_into().ok()?)),
            (Self::UInt32(v), 26) => v.push(u32::from_be_bytes(bytes.try_into().ok()?)),
            (Self::Float32(v), 700) => {
                let value = f32::from_be_bytes(bytes.try_into().ok()?);
                v.push(if value.is_nan() { f32::NAN } else { value });
            }
            (Self::Float64(v), 701) => {
                let value = f64::from_be_bytes(bytes.try_into().ok()?);
                v.push(if value.is_nan() { f64::NAN } else { value });
            }
            (Self::Decimal(v, digits), 1700) => v.push(numeric(bytes, *digits)?),
            // name, text, json, bpchar, varchar
            (Self::Text(v), 19 | 25 | 114 | 1042 | 1043) => {
                std::str::from_utf8(bytes).ok()?;
                v.push(bytes).ok()?;
            }
            (Self::Text(v), 3802) => {
                let text = bytes.strip_prefix(&[1])?;
                std::str::from_utf8(text).ok()?;
                v.push(text).ok()?;
            }
            (Self::Binary(v), 17) => v.push(bytes).ok()?,
            (Self::Uuid(v), 2950) => v.extend_from_slice(<&[u8; 16]>::try_from(bytes).ok()?),
            (Self::Date(v), 1082) => {
                let days = i32::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH)?;
                v.push(Some(days).filter(|days| (FIRST..=LAST).contains(days))?);
            }
            (Self::Time(v), 1083) => {
                let time = i64::from_be_bytes(bytes.try_into().ok()?);
                v.push(Some(time).filter(|time| (0..DAY).contains(time))?);
            }
            (Self::Timestamp(v), 1114) | (Self::TimestampTz(v, _), 1184) => {
                v.push(timestamp(bytes)?);
            }
            _ => return None,
        }
        Some(())
    }
}

fn timestamp(bytes: &[u8]) -> Option<i64> {
    let since_2000 = i64::from_be_bytes(bytes.try_into().ok()?);
    let moment = since_2000.checked_add(i64::from(EPOCH) * DAY)?;
    (i64::from(FIRST) * DAY..(i64::from(LAST) + 1) * DAY)
        .contains(&moment)
        .then_some(moment)
}

/// Number of digits to the base 10000, the first one's exponent, the sign, how many decimals are
/// shown; then the digits.
fn numeric(bytes: &[u8], digits: Digits) -> Option<i128> {
    const NEGATIVE: u16 = 0x4000;
    let (words, []) = bytes.as_chunks::<2>() else {
        return None;
    };
    let (head, groups) = words.split_first_chunk::<4>()?;
    let [count, weight, sign, shown] = head.map(u16::from_be_bytes);
    // Rows of the column show as many decimals as it has; what shows others is left to its text.
    if usize::from(count) != groups.len() || shown != digits.scale.into() {
        return None;
    }
    let mut value = 0i128;
    for group in groups {
        let group = u16::from_be_bytes(*group);
        value = value
            .checked_mul(10_000)?
            .checked_add(Some(group).filter(|&g| g < 10_000)?.into())?;
    }
    let last = i32::from(weight as i16) - i32::from(count) + 1; // the last one's exponent
    let shift = last * 4 + i32::from(digits.scale);
    let power = 10i128.checked_pow(shift.unsigned_abs());
    value = match power {
        _ if value == 0 => 0,
        Some(power) if shift >= 0 => value.checked_mul(power)?,
        Some(power) if value % power == 0 => value / power,
        _ => return None,
    };
    if value >= 10i128.pow(digits.precision.into()) {
        return None;
    }
    match sign {
        0 => Some(value),
        NEGATIVE => Some(-value),
        _ => None, // not a number, or infinite
    }
}
