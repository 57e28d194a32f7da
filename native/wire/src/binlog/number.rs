//! Numbers as the servers write them.

use std::io::Write;

use super::{Leave, Result};
use crate::binary::number::pair;

/// Decimal digits in four bytes, and bytes of fewer digits.
const DIGITS: usize = 9;
const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
/// Places of the point at which there is no exponent.
const POINTS: std::ops::RangeInclusive<i32> = -14..=15;
/// Powers of ten that both kinds of float hold exactly.
const TENS: [u32; 8] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000];

/// The digits of a number, at the end of a buffer.
#[inline]
pub fn digits(number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut start = buffer.len();
    let mut rest = number;
    for place in buffer.rchunks_exact_mut(2) {
        place.copy_from_slice(&pair(rest));
        start -= 2;
        rest /= 100;
        if rest == 0 {
            break;
        }
    }
    if buffer.get(start) == Some(&b'0') {
        start += 1;
    }
    if number == 0 {
        start = buffer.len() - 1;
    }
    buffer.get(start..).unwrap_or_default()
}

/// A decimal's digits in all, and those behind the point.
///
/// In groups of nine digits, big-endian, the sign in the highest bit; of negative ones all bits are
/// turned over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    size: usize,
    /// Of each group its bytes and digits.
    whole: Vec<(usize, usize)>,
    fraction: Vec<(usize, usize)>,
}

impl Decimal {
    /// None where there is no such decimal.
    pub fn new(precision: usize, scale: usize) -> Option<Self> {
        if !(1..=65).contains(&precision) || scale > precision.min(38) {
            return None;
        }
        let groups = |digits: usize| std::iter::repeat_n((4, DIGITS), digits / DIGITS);
        let rest = |digits: usize| {
            let rest = digits % DIGITS;
            (rest > 0).then(|| (BYTES[rest], rest))
        };
        let before = precision - scale;
        let whole: Vec<_> = rest(before).into_iter().chain(groups(before)).collect();
        let fraction: Vec<_> = groups(scale).chain(rest(scale)).collect();
        let size = whole.iter().chain(&fraction).map(|group| group.0).sum();
        Some(Self {
            size,
            whole,
            fraction,
        })
    }

    /// Bytes that a value takes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Append the text of a value of that size.
    pub fn text(&self, raw: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let first = *raw.first().ok_or(Leave)?;
        let turned = if first & 0x80 == 0 { 0xFF } else { 0 };
        if turned != 0 {
            out.push(b'-');
        }
        let mut rest = raw;
        let mut sign = 0x80;
        let mut next = |size: usize, digits: usize| {
            let (group, behind) = rest.split_at_checked(size).ok_or(Leave)?;
            rest = behind;
            let mut number = 0u32;
            for &byte in group {
                number = number << 8 | u32::from(byte ^ turned ^ sign);
                sign = 0;
            }
            if u64::from(number) >= 10u64.pow(digits as u32) {
                return Err(Leave);
            }
            Ok(number)
        };
        let begin = out.len();
        for &(size, digits) in &self.whole {
            let number = next(size, digits)?;
            if out.len() > begin {
                padded(number, digits, out);
            } else if number > 0 {
                plain(number.into(), out);
            }
        }
        if out.len() == begin {
            out.push(b'0');
        }
        if !self.fraction.is_empty() {
            out.push(b'.');
        }
        for &(size, digits) in &self.fraction {
            padded(next(size, digits)?, digits, out);
        }
        Ok(())
    }
}

/// Append a number.
#[inline]
pub fn plain(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(digits(number, &mut [0; 20]));
}

/// Append a number with so many digits, at most nine.
fn padded(number: u32, count: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 10];
    let mut rest = u64::from(number);
    for place in digits.rchunks_exact_mut(2) {
        place.copy_from_slice(&pair(rest));
        rest /= 100;
    }
    out.extend_from_slice(digits.get(digits.len() - count..).unwrap_or_default());
}

/// Append the text of a DOUBLE: the fewest digits that mean this number.
pub fn double(value: f64, out: &mut Vec<u8>) -> Result<()> {
    if !value.is_finite() {
        return Err(Leave);
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let size = value.abs();
    // The quotient of two exact floats is the nearest float, and no two numbers of 15 digits read
    // as the same one.
    for (&ten, place) in TENS.iter().zip(0..) {
        let number = (size * f64::from(ten) + 0.5) as u64;
        if number >= 1_000_000_000_000_000 {
            break;
        }
        if number as f64 / f64::from(ten) == size {
            shown(number, -place, out);
            return Ok(());
        }
    }
    let (number, place, count) = scientific(format_args!("{size:e}"))?;
    if count >= 16 {
        // Of two that are equally near, the even one.
        let precision = count - 1;
        let (even, place, _) = scientific(format_args!("{size:.precision$e}"))?;
        if spelled(even, place)? == size {
            shown(even, place, out);
            return Ok(());
        }
    }
    shown(number, place, out);
    Ok(())
}

/// Append the fewest digits, from six on, that mean this FLOAT.
pub fn float(value: f32, out: &mut Vec<u8>) -> Result<()> {
    if !value.is_finite() {
        return Err(Leave);
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let size = value.abs();
    for (&ten, place) in TENS.iter().zip(0..) {
        let number = (size * ten as f32 + 0.5) as u64;
        if number >= 1_000_000 {
            break;
        }
        if number as f32 / ten as f32 == size {
            shown(number, -place, out);
            return Ok(());
        }
    }
    let wide = f64::from(size);
    for precision in 5..8 {
        let (number, place, _) = scientific(format_args!("{wide:.precision$e}"))?;
        if spelled(number, place)? as f32 == size {
            shown(number, place, out);
            return Ok(());
        }
    }
    let (number, place, _) = scientific(format_args!("{wide:.8e}"))?;
    shown(number, place, out);
    Ok(())
}

/// A number like `1.25e-7` as a whole number, how often ten is its factor, and its count of digits.
fn scientific(text: std::fmt::Arguments<'_>) -> Result<(u64, i32, usize)> {
    let mut buffer = [0; 40];
    let mut free = &mut buffer[..];
    free.write_fmt(text).map_err(|_| Leave)?;
    let left = free.len();
    let written = buffer.get(..buffer.len() - left).unwrap_or_default();
    let mut parts = written.split(|&byte| byte == b'e');
    let (mantissa, exponent) = (parts.next().ok_or(Leave)?, parts.next().ok_or(Leave)?);
    let exponent = std::str::from_utf8(exponent).map_err(|_| Leave)?;
    let exponent: i32 = exponent.parse().map_err(|_| Leave)?;
    let (mut number, mut count) = (0u64, 0);
    for &digit in mantissa.iter().filter(|byte| byte.is_ascii_digit()) {
        number = number * 10 + u64::from(digit - b'0'); // 17 digits at most
        count += 1;
    }
    Ok((number, exponent - (count as i32 - 1), count))
}

/// The float that a number times a power of ten reads as.
fn spelled(number: u64, place: i32) -> Result<f64> {
    let mut buffer = [0; 40];
    let mut free = &mut buffer[..];
    write!(free, "{number}e{place}").map_err(|_| Leave)?;
    let left = free.len();
    let written = buffer.get(..buffer.len() - left).unwrap_or_default();
    let text = std::str::from_utf8(written).map_err(|_| Leave)?;
    text.parse().map_err(|_| Leave)
}

/// Append a number times a power of ten, with an exponent where there would be many zeros.
fn shown(mut number: u64, mut place: i32, out: &mut Vec<u8>) {
    if number == 0 {
        return out.push(b'0');
    }
    while number.is_multiple_of(10) {
        number /= 10;
        place += 1;
    }
    let mut buffer = [0; 20];
    let digits = digits(number, &mut buffer);
    let point = digits.len() as i32 + place;
    let zeros = |count: i32, out: &mut Vec<u8>| out.extend((0..count).map(|_| b'0'));
    let inside = usize::try_from(point).ok();
    if !POINTS.contains(&point) {
        let (first, rest) = digits.split_at(1);
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.push(b'e');
        if point < 1 {
            out.push(b'-');
        }
        plain(u64::from((point - 1).unsigned_abs()), out);
    } else if point <= 0 {
        out.extend_from_slice(b"0.");
        zeros(-point, out);
        out.extend_from_slice(digits);
    } else if let Some((whole, fraction)) = inside.and_then(|at| digits.split_at_checked(at)) {
        out.extend_from_slice(whole);
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        out.extend_from_slice(digits);
        zeros(place, out);
    }
}
