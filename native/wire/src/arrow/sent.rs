//! Values in their types' send forms, as Arrow stores them; None for all that the exact text has to
//! be asked about: types that are not here, values that Arrow cannot hold, wrong lengths.
//!
//! Forms: the send functions in PostgreSQL's `src/backend/utils/adt`.

use super::column::{Digits, Values};
use super::text::{DAY, FIRST, LAST};

/// 2000-01-01 in days since 1970.
const EPOCH: i32 = 10_957;

/// A numeric's sign.
const NEGATIVE: u16 = 0x4000;

pub(super) const JSONB: u32 = 3802;

/// name, text, json, bpchar, varchar: sent as they are.
pub(super) fn is_text(base: u32) -> bool {
    matches!(base, 19 | 25 | 114 | 1042 | 1043)
}

impl Values {
    /// Store a value of the built-in type `base`.
    #[inline]
    pub(super) fn sent(&mut self, base: u32, bytes: &[u8]) -> Option<()> {
        match (self, base) {
            (Self::Boolean(v), 16) => v.append(boolean(bytes.try_into().ok()?)?),
            (Self::Int16(v), 21) => v.push(i16::from_be_bytes(bytes.try_into().ok()?)),
            (Self::Int32(v), 23) => v.push(i32::from_be_bytes(bytes.try_into().ok()?)),
            (Self::Int64(v), 20) => v.push(i64::from_be_bytes(bytes.try_into().ok()?)),
            (Self::UInt32(v), 26) => v.push(u32::from_be_bytes(bytes.try_into().ok()?)),
            (Self::Float32(v), 700) => v.push(float32(bytes.try_into().ok()?)),
            (Self::Float64(v), 701) => v.push(float64(bytes.try_into().ok()?)),
            (Self::Decimal(v, digits), 1700) => v.push(numeric(bytes, *digits)?),
            (Self::Text(v), base) if is_text(base) => {
                std::str::from_utf8(bytes).ok()?;
                v.push(bytes).ok()?;
            }
            (Self::Text(v), JSONB) => {
                let text = bytes.strip_prefix(&[1])?;
                std::str::from_utf8(text).ok()?;
                v.push(text).ok()?;
            }
            (Self::Binary(v), 17) => v.push(bytes).ok()?,
            (Self::Uuid(v), 2950) => v.extend_from_slice(<&[u8; 16]>::try_from(bytes).ok()?),
            (Self::Date(v), 1082) => v.push(date(bytes.try_into().ok()?)?),
            (Self::Time(v), 1083) => v.push(time(bytes.try_into().ok()?)?),
            (Self::Timestamp(v), 1114) | (Self::TimestampTz(v, _), 1184) => {
                v.push(timestamp(bytes.try_into().ok()?)?);
            }
            _ => return None,
        }
        Some(())
    }
}

pub(super) fn boolean([byte]: [u8; 1]) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// There is one NaN.
pub(super) fn float32(bytes: [u8; 4]) -> f32 {
    let value = f32::from_be_bytes(bytes);
    if value.is_nan() { f32::NAN } else { value }
}

pub(super) fn float64(bytes: [u8; 8]) -> f64 {
    let value = f64::from_be_bytes(bytes);
    if value.is_nan() { f64::NAN } else { value }
}

pub(super) fn date(bytes: [u8; 4]) -> Option<i32> {
    let days = i32::from_be_bytes(bytes).checked_add(EPOCH)?;
    (FIRST..=LAST).contains(&days).then_some(days)
}

pub(super) fn time(bytes: [u8; 8]) -> Option<i64> {
    let time = i64::from_be_bytes(bytes);
    (0..DAY).contains(&time).then_some(time)
}

pub(super) fn timestamp(bytes: [u8; 8]) -> Option<i64> {
    let moment = i64::from_be_bytes(bytes).checked_add(i64::from(EPOCH) * DAY)?;
    (i64::from(FIRST) * DAY..(i64::from(LAST) + 1) * DAY)
        .contains(&moment)
        .then_some(moment)
}

/// Number of digits to the base 10000, the first one's exponent, the sign, how many decimals are
/// shown; then the digits.
#[inline]
pub(super) fn numeric(bytes: &[u8], digits: Digits) -> Option<i128> {
    let (words, []) = bytes.as_chunks::<2>() else {
        return None;
    };
    let (head, groups) = words.split_first_chunk::<4>()?;
    let [count, weight, sign, shown] = head.map(u16::from_be_bytes);
    // Rows of the column show as many decimals as it has; what shows others is left to its text.
    if usize::from(count) != groups.len() || shown != digits.scale.into() {
        return None;
    }
    let value = match small(groups, weight as i16, digits) {
        Some(value) => i128::from(value),
        None => large(groups, weight as i16, digits)?,
    };
    match sign {
        0 => Some(value),
        NEGATIVE => Some(-value),
        _ => None, // not a number, or infinite
    }
}

/// Most numbers have few digits; None where these are others, or wrong.
#[inline]
fn small(groups: &[[u8; 2]], weight: i16, digits: Digits) -> Option<u64> {
    if groups.len() > 3 || digits.precision > 18 {
        return None;
    }
    let mut value = 0u64;
    for group in groups {
        let group = u16::from_be_bytes(*group);
        value = value * 10_000 + u64::from(Some(group).filter(|&g| g < 10_000)?);
    }
    let last = i32::from(weight) - groups.len() as i32 + 1; // the last one's exponent
    let value = match last * 4 + i32::from(digits.scale) {
        0 => value,
        -1 if value.is_multiple_of(10) => value / 10,
        -2 if value.is_multiple_of(100) => value / 100,
        -3 if value.is_multiple_of(1000) => value / 1000,
        shift @ 1..=6 => value * 10u64.pow(shift as u32),
        _ => return None,
    };
    (value < 10u64.pow(digits.precision.into())).then_some(value)
}

fn large(groups: &[[u8; 2]], weight: i16, digits: Digits) -> Option<i128> {
    let mut value = 0i128;
    for group in groups {
        let group = u16::from_be_bytes(*group);
        value = value
            .checked_mul(10_000)?
            .checked_add(Some(group).filter(|&g| g < 10_000)?.into())?;
    }
    let last = i32::from(weight) - groups.len() as i32 + 1; // the last one's exponent
    let shift = last * 4 + i32::from(digits.scale);
    let power = 10i128.checked_pow(shift.unsigned_abs());
    value = match power {
        _ if value == 0 => 0,
        Some(power) if shift >= 0 => value.checked_mul(power)?,
        Some(power) if value % power == 0 => value / power,
        _ => return None,
    };
    (value < 10i128.pow(digits.precision.into())).then_some(value)
}
