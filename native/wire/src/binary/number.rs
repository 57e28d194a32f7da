//! Integers and numeric.

use super::Done;
use super::form::wrong;

const NEGATIVE: u16 = 0x4000;
const LARGEST_SCALE: u16 = 0x3FFF;

/// The decimal digits from 00 to 99.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + i as u8 / 10, b'0' + i as u8 % 10];
        i += 1;
    }
    pairs
};

/// The digits of a number below 100.
#[inline]
pub fn pair(number: u64) -> [u8; 2] {
    PAIRS[(number % 100) as usize]
}

/// The last four digits of a number.
#[inline]
pub fn four(number: u64) -> [u8; 4] {
    let ([a, b], [c, d]) = (pair(number / 100), pair(number));
    [a, b, c, d]
}

pub fn boolean(raw: &[u8], out: &mut Vec<u8>) -> Done {
    match raw {
        [1] => out.push(b't'),
        [0] => out.push(b'f'),
        _ => return Err(wrong("neither 0 nor 1")),
    }
    Ok(())
}

#[inline]
pub fn signed(number: i64, out: &mut Vec<u8>) -> Done {
    if number < 0 {
        out.push(b'-');
    }
    unsigned(number.unsigned_abs(), out)
}

#[inline]
pub fn unsigned(number: u64, out: &mut Vec<u8>) -> Done {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number;
    for place in digits.rchunks_exact_mut(2) {
        place.copy_from_slice(&pair(rest));
        start -= 2;
        rest /= 100;
        if rest == 0 {
            break;
        }
    }
    if digits.get(start) == Some(&b'0') {
        start += 1;
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
    Ok(())
}

/// Digits of base 10,000, the first one's weight, sign, and decimals to show.
pub fn numeric(raw: &[u8], out: &mut Vec<u8>) -> Done {
    let Some((&[a, b, c, d, e, f, g, h], digits)) = raw.split_first_chunk::<8>() else {
        return Err(wrong(format!(
            "{} bytes where at least 8 are due",
            raw.len()
        )));
    };
    let count = usize::from(u16::from_be_bytes([a, b]));
    let weight = i32::from(i16::from_be_bytes([c, d]));
    let sign = u16::from_be_bytes([e, f]);
    let scale = u16::from_be_bytes([g, h]);
    if digits.len() != 2 * count {
        return Err(wrong(format!(
            "{} bytes where {} are due",
            raw.len(),
            8 + 2 * count
        )));
    }
    let special: &[u8] = match sign {
        0 | NEGATIVE => b"",
        0xC000 => b"NaN",
        0xD000 => b"Infinity",
        0xF000 => b"-Infinity",
        _ => return Err(wrong(format!("a sign of {sign}"))),
    };
    if !special.is_empty() {
        out.extend_from_slice(special);
        return Ok(());
    }
    if scale > LARGEST_SCALE {
        return Err(wrong(format!("a scale of {scale}")));
    }
    let digit = |pair: &[u8]| match *pair {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        _ => 0,
    };
    if digits.chunks_exact(2).any(|pair| digit(pair) > 9999) {
        return Err(wrong("a digit above 9999"));
    }
    // The digit of a place, counted from the first digit; where there is none it is 0.
    let at = |place: i32| {
        let start = usize::try_from(place).map(|place| 2 * place);
        start
            .ok()
            .and_then(|start| digits.get(start..start + 2))
            .map_or(0, digit)
    };
    if sign == NEGATIVE {
        out.push(b'-');
    }
    match (0..=weight).find(|&place| at(place) != 0) {
        None => out.push(b'0'),
        Some(first) => {
            unsigned(at(first), out)?;
            for place in first + 1..=weight {
                out.extend_from_slice(&four(at(place)));
            }
        }
    }
    if scale > 0 {
        out.push(b'.');
        let end = out.len() + usize::from(scale);
        let mut place = weight;
        while out.len() < end {
            place += 1;
            out.extend_from_slice(&four(at(place)));
        }
        out.truncate(end);
    }
    Ok(())
}
