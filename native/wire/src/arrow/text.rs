//! Exact texts as values that Arrow stores; None where there is no such value.
//!
//! Dates and timestamps are of the years 1 to 9999, and counted from 1970.

use std::str::FromStr;

use super::column::Digits;

pub(super) const DAY: i64 = 86_400_000_000;
/// 0001-01-01 and 9999-12-31, in days.
pub(super) const FIRST: i32 = -719_162;
pub(super) const LAST: i32 = 2_932_896;

pub(super) fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"t" => Some(true),
        b"f" => Some(false),
        _ => None,
    }
}

fn digit(byte: u8) -> Option<u64> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(value.into())
}

fn signed(text: &[u8]) -> (bool, &[u8]) {
    match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

#[inline]
pub(super) fn unsigned(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    if digits.len() < 20 {
        for &byte in digits {
            value = value * 10 + digit(byte)?; // 19 digits fit
        }
    } else {
        for &byte in digits {
            value = value.checked_mul(10)?.checked_add(digit(byte)?)?;
        }
    }
    Some(value)
}

#[inline]
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = signed(text);
    let value = unsigned(digits)?;
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        value.try_into().ok()
    }
}

#[inline]
pub(super) fn narrow<T: TryFrom<i64>>(text: &[u8]) -> Option<T> {
    integer(text).and_then(|value| value.try_into().ok())
}

/// A decimal as a whole number of its last digit's units.
#[inline]
pub(super) fn decimal(text: &[u8], digits: Digits) -> Option<i128> {
    let (negative, text) = signed(text);
    let point = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = match point {
        None => (text, &[][..]),
        Some(at) => (
            text.get(..at)?,
            text.get(at + 1..).filter(|rest| !rest.is_empty())?,
        ),
    };
    if whole.is_empty() || fraction.len() > digits.scale.into() {
        return None;
    }
    let zeros = whole.iter().take_while(|&&byte| byte == b'0').count();
    let whole = whole.get(zeros..)?;
    if whole.len() > (digits.precision - digits.scale).into() {
        return None;
    }
    let missing = u32::try_from(usize::from(digits.scale) - fraction.len()).ok()?;
    let all = whole.iter().chain(fraction);
    let value = if digits.precision < 20 {
        let mut value = 0u64;
        for &byte in all {
            value = value * 10 + digit(byte)?; // 19 digits fit
        }
        i128::from(value * 10u64.pow(missing))
    } else {
        let mut value = 0i128;
        for &byte in all {
            value = value * 10 + i128::from(digit(byte)?); // 38 digits fit
        }
        value * 10i128.pow(missing)
    };
    Some(if negative { -value } else { value })
}

/// The nearest float; None where that is infinite.
pub(super) fn float<T: FromStr + Into<f64> + Copy>(text: &[u8]) -> Option<T> {
    let special = matches!(text, b"NaN" | b"Infinity" | b"-Infinity");
    if !special && !is_number(text) {
        return None;
    }
    let value: T = std::str::from_utf8(text).ok()?.parse().ok()?;
    (special || value.into().is_finite()).then_some(value)
}

/// `-1.5e+300`
fn is_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> (usize, &[u8]) {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count, text.get(count..).unwrap_or_default())
    }
    let (_, text) = signed(text);
    let (mut enough, mut rest) = digits(text);
    if let (true, Some(behind)) = (enough > 0, rest.strip_prefix(b".")) {
        (enough, rest) = digits(behind);
    }
    if let (true, Some(behind)) = (enough > 0, rest.strip_prefix(b"e")) {
        let behind = match behind {
            [b'+' | b'-', exponent @ ..] => exponent,
            _ => behind,
        };
        (enough, rest) = digits(behind);
        if enough > 3 {
            return false;
        }
    }
    enough > 0 && rest.is_empty()
}

fn nibble(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Append the bytes that are written in hex; on None some may have been appended.
pub(super) fn hex(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (pairs, odd) = text.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    out.reserve(pairs.len());
    for &[high, low] in pairs {
        out.push(nibble(high)? << 4 | nibble(low)?);
    }
    Some(())
}

pub(super) fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut bytes = [0; 16];
    let mut at = 0;
    for (i, byte) in bytes.iter_mut().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            if text.get(at) != Some(&b'-') {
                return None;
            }
            at += 1;
        }
        *byte = nibble(*text.get(at)?)? << 4 | nibble(*text.get(at + 1)?)?;
        at += 2;
    }
    Some(bytes)
}

fn number<const N: usize>(digits: [u8; N]) -> Option<u32> {
    let mut value = 0;
    for byte in digits {
        value = value * 10 + digit(byte)? as u32;
    }
    Some(value)
}

#[inline]
pub(super) fn date(text: &[u8]) -> Option<i32> {
    let &[a, b, c, d, b'-', e, f, b'-', g, h] = text else {
        return None;
    };
    civil(number([a, b, c, d])?, number([e, f])?, number([g, h])?)
}

/// Days since 1970 of a day of the Gregorian calendar.
fn civil(year: u32, month: u32, day: u32) -> Option<i32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if year == 0 || day == 0 || day > length {
        return None;
    }
    // Years begin in March, so that a leap day is a year's last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    Some(days as i32 - 719_469)
}

/// Microseconds of `12:34:56.789`.
#[inline]
pub(super) fn time(text: &[u8]) -> Option<i64> {
    let (&[a, b, b':', c, d, b':', e, f], fraction) = text.split_first_chunk::<8>()? else {
        return None;
    };
    let (hour, minute, second) = (number([a, b])?, number([c, d])?, number([e, f])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Some(seconds * 1_000_000 + micros(fraction)?)
}

/// Microseconds of `.789`, or of nothing.
fn micros(fraction: &[u8]) -> Option<i64> {
    let Some((b'.', digits)) = fraction.split_first() else {
        return fraction.is_empty().then_some(0);
    };
    if digits.is_empty() || digits.len() > 6 {
        return None;
    }
    let mut value = 0;
    for &byte in digits {
        value = value * 10 + digit(byte)? as i64;
    }
    Some(value * 10i64.pow(6 - digits.len() as u32))
}

#[inline]
pub(super) fn timestamp(text: &[u8]) -> Option<i64> {
    let (day, time_of_day) = text.split_at_checked(10)?;
    let time_of_day = time_of_day.strip_prefix(b" ")?;
    Some(i64::from(date(day)?) * DAY + time(time_of_day)?)
}

#[inline]
pub(super) fn timestamptz(text: &[u8]) -> Option<i64> {
    const CLOCK: usize = 19; // where a fraction or a zone begins
    let behind = text.get(CLOCK..)?;
    let sign = CLOCK + behind.iter().position(|byte| matches!(byte, b'+' | b'-'))?;
    let (local, zone) = text.split_at_checked(sign)?;
    let moment = timestamp(local)? - offset(zone)?;
    (i64::from(FIRST) * DAY..(i64::from(LAST) + 1) * DAY)
        .contains(&moment)
        .then_some(moment)
}

/// Microseconds of `+05:30`.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes, seconds) = match *zone {
        [sign, a, b] => (sign, number([a, b])?, 0, 0),
        [sign, a, b, b':', c, d] => (sign, number([a, b])?, number([c, d])?, 0),
        [sign, a, b, b':', c, d, b':', e, f] => {
            (sign, number([a, b])?, number([c, d])?, number([e, f])?)
        }
        _ => return None,
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let micros = i64::from(hours * 3600 + minutes * 60 + seconds) * 1_000_000;
    Some(if sign == b'-' { -micros } else { micros })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_at_the_edges() {
        let few = Digits {
            precision: 5,
            scale: 2,
        };
        let many = Digits {
            precision: 38,
            scale: 0,
        };
        assert_eq!(decimal(b"-000999.9", few), Some(-99_990));
        assert_eq!(decimal(&[b'9'; 38], many), Some(10i128.pow(38) - 1));
        for wrong in [
            "", "-", ".", "1.", ".5", "1000", "1.001", "NaN", "1e2", "+1", "1.-1",
        ] {
            assert_eq!(decimal(wrong.as_bytes(), few), None, "{wrong}");
        }
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer(b"000000000000000000000000001"), Some(1));
        for wrong in [
            "",
            "-",
            "+1",
            "9223372036854775808",
            "99999999999999999999",
            "1 ",
            "1_0",
        ] {
            assert_eq!(integer(wrong.as_bytes()), None, "{wrong}");
        }
        for wrong in [
            "", "nan", "1.", ".5", "1e", "1e+", "1e1000", "1e400", "--1", "1.5.5", "0x1",
        ] {
            assert_eq!(float::<f64>(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(float::<f32>(b"1e39"), None);
        assert_eq!(date(b"0001-01-01"), Some(FIRST));
        assert_eq!(date(b"9999-12-31"), Some(LAST));
        assert_eq!(date(b"2000-02-29"), Some(11_016));
        for wrong in [
            "0000-01-01",
            "2023-02-29",
            "1900-02-29",
            "2024-13-01",
            "2024-04-31",
            "-infinity",
        ] {
            assert_eq!(date(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(time(b"23:59:59.999999"), Some(DAY - 1));
        for wrong in [
            "24:00:00",
            "00:60:00",
            "00:00:60",
            "00:00:00.",
            "00:00:00.1234567",
            "0:00:00",
        ] {
            assert_eq!(time(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(timestamptz(b"1970-01-01 05:30:00+05:30"), Some(0));
        assert_eq!(
            timestamptz(b"1970-01-01 00:00:00.5-00:00:01"),
            Some(1_500_000)
        );
        for wrong in [
            "0001-01-01 00:00:00+01",
            "9999-12-31 23:59:59-01",
            "1970-01-01 00:00:00",
            "1970-01-01 00:00:00+24",
            "1970-01-01 00:00:00+00:60",
            "infinity",
        ] {
            assert_eq!(timestamptz(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
