//! Dates and times as the servers write them, zero and partial ones included; not those of years of
//! more than four digits, nor fractions that have more digits than their column.

use super::{Leave, Result};
use crate::binary::number::{four, pair};

const DATETIME_OFFSET: u64 = 0x80_0000_0000;
const TIME_OFFSET: i64 = 0x80_0000;
const DAY: u64 = 86_400;
const TENS: [u64; 7] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];

/// How many bytes a fraction of seconds takes.
pub fn fraction_length(digits: usize) -> usize {
    digits.div_ceil(2)
}

pub fn day(year: u64, month: u64, day: u64) -> Result<[u8; 10]> {
    if year > 9999 {
        return Err(Leave);
    }
    let ([a, b, c, d], [e, f], [g, h]) = (four(year), pair(month), pair(day));
    Ok([a, b, c, d, b'-', e, f, b'-', g, h])
}

pub fn clock(hour: u64, minute: u64, second: u64) -> [u8; 8] {
    let ([a, b], [c, d], [e, f]) = (pair(hour), pair(minute), pair(second));
    [a, b, b':', c, d, b':', e, f]
}

/// Append a fraction, as it is stored in so many digits; of an odd number there is one more.
pub fn fraction(stored: u64, digits: usize, out: &mut Vec<u8>) -> Result<()> {
    if digits == 0 {
        return Ok(());
    }
    let mut rest = if digits & 1 == 1 { stored / 10 } else { stored };
    if TENS.get(digits).is_none_or(|&limit| rest >= limit) {
        return Err(Leave);
    }
    let mut text = [b'.'; 7];
    for place in text.iter_mut().skip(1).take(digits).rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(text.get(..=digits).unwrap_or_default());
    Ok(())
}

/// Append a DATE: day in 5 bits, month in 4, year.
#[inline]
pub fn date(value: u64, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(&day(value >> 9, value >> 5 & 15, value & 31)?);
    Ok(())
}

/// Append a DATETIME, big-endian with its fraction: seconds in 6 bits, minutes in 6, hours in 5,
/// days in 5, months by thirteen.
#[inline]
pub fn datetime(packed: u64, digits: usize, out: &mut Vec<u8>) -> Result<()> {
    let bits = 8 * fraction_length(digits);
    let packed = packed.checked_sub(DATETIME_OFFSET << bits).ok_or(Leave)?;
    let value = packed >> bits;
    let months = value >> 22;
    out.extend_from_slice(&day(months / 13, months % 13, value >> 17 & 31)?);
    out.push(b' ');
    out.extend_from_slice(&clock(value >> 12 & 31, value >> 6 & 63, value & 63));
    fraction(packed & ((1 << bits) - 1), digits, out)
}

/// Append a TIMESTAMP in UTC, big-endian with its fraction: seconds since 1970; zero has no zone.
#[inline]
pub fn timestamp(packed: u64, digits: usize, out: &mut Vec<u8>) -> Result<()> {
    if packed == 0 {
        out.extend_from_slice(b"0000-00-00 00:00:00");
        return fraction(0, digits, out);
    }
    let bits = 8 * fraction_length(digits);
    let seconds = packed >> bits;
    let (days, rest) = (seconds / DAY, seconds % DAY);
    let (year, month, number) = civil(days);
    out.extend_from_slice(&day(year, month, number)?);
    out.push(b' ');
    out.extend_from_slice(&clock(rest / 3600, rest / 60 % 60, rest % 60));
    fraction(packed & ((1 << bits) - 1), digits, out)?;
    out.extend_from_slice(b"+00");
    Ok(())
}

/// Append a TIME: with its fraction a big-endian integer whose negative values count down.
#[inline]
pub fn time(packed: u64, digits: usize, out: &mut Vec<u8>) -> Result<()> {
    let bits = 8 * fraction_length(digits);
    let packed = packed as i64 - (TIME_OFFSET << bits); // six bytes at most
    if packed < 0 {
        out.push(b'-');
    }
    let packed = packed.unsigned_abs();
    let value = packed >> bits;
    let hour = value >> 12 & 1023;
    if hour > 99 {
        super::number::plain(hour / 100, out);
    }
    out.extend_from_slice(&clock(hour, value >> 6 & 63, value & 63));
    fraction(packed & ((1 << bits) - 1), digits, out)
}

/// Year, month and day of a day counted from 1970.
pub fn civil(days: u64) -> (u64, u64, u64) {
    // Years that begin in March have their leap day at the end; 719,468 days before 1970 one began,
    // and with it 400 years of 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
