//! Dates and times of the server's exact texts, where they are regular: years of four digits after
//! Christ, in UTC.

use crate::json_frame::digits;

const DAY: i64 = 86_400_000_000;

/// Days since the epoch of `YYYY-MM-DD`.
pub(super) fn days(text: &[u8]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else {
        return None;
    };
    let (year, month, day) = (
        two(y1, y2)? * 100 + two(y3, y4)?,
        two(m1, m2)?,
        two(d1, d2)?,
    );
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year == 0 {
        return None;
    }
    // A year that begins in March ends with the leap day.
    let year = year - i64::from(month <= 2);
    let (era, in_era) = (year.div_euclid(400), year.rem_euclid(400));
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719_468)
}

/// Microseconds of `HH:MM:SS[.ffffff]`.
pub(super) fn of_day(text: &[u8]) -> Option<i64> {
    let (clock, fraction) = text.split_first_chunk::<8>()?;
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = clock else {
        return None;
    };
    let seconds = (two(h1, h2)? * 60 + two(m1, m2)?) * 60 + two(s1, s2)?;
    Some(seconds * 1_000_000 + micros(fraction)?)
}

/// Of a fraction with its point, or of none.
fn micros(fraction: &[u8]) -> Option<i64> {
    let digits = match fraction {
        [] => return Some(0),
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => digits,
        _ => return None,
    };
    let mut micros = 0;
    for place in 0..6 {
        let digit = digits.get(place).unwrap_or(&b'0').wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        micros = micros * 10 + i64::from(digit);
    }
    Some(micros)
}

/// Microseconds since the epoch of `YYYY-MM-DD HH:MM:SS[.ffffff]`.
pub(super) fn timestamp(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let time = rest.strip_prefix(b" ")?;
    Some(days(date)? * DAY + of_day(time)?)
}

/// Append `"YYYY-MM-DDTHH:MM:SS.ffffffZ"` of a text in UTC; the fraction is padded to so many
/// digits, without any for 0.
pub(super) fn zoned(text: &[u8], places: usize, out: &mut Vec<u8>) -> Option<()> {
    let text = text.strip_suffix(b"+00")?;
    timestamp(text)?;
    let (date, time) = text.split_at_checked(10)?;
    let time = time.get(1..)?;
    out.push(b'"');
    out.extend_from_slice(date);
    out.push(b'T');
    if places == 0 {
        out.extend_from_slice(time);
    } else {
        let (clock, fraction) = time.split_at_checked(8)?;
        out.extend_from_slice(clock);
        out.push(b'.');
        let fraction = fraction.get(1..).unwrap_or_default();
        out.extend_from_slice(fraction);
        out.resize(out.len() + places.saturating_sub(fraction.len()), b'0');
    }
    out.extend_from_slice(b"Z\"");
    Some(())
}

/// Append `"HH:MM:SS[.f]Z"` of `HH:MM:SS[.f]+HH[:MM[:SS]]`.
pub(super) fn zoned_time(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let at = text.iter().rposition(|byte| matches!(byte, b'+' | b'-'))?;
    let (time, offset) = text.split_at_checked(at)?;
    let (&sign, offset) = offset.split_first()?;
    let mut seconds = 0;
    for (part, size) in offset.split(|&byte| byte == b':').zip([3600, 60, 1]) {
        let &[high, low] = part else {
            return None;
        };
        seconds += two(high, low)? * size;
    }
    if offset.len() > 8 {
        return None;
    }
    let offset = if sign == b'-' { -seconds } else { seconds } * 1_000_000;
    let micros = (of_day(time)? - offset).rem_euclid(DAY);
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    out.push(b'"');
    for (n, end) in [
        (seconds / 3600, b':'),
        (seconds / 60 % 60, b':'),
        (seconds % 60, b'.'),
    ] {
        digits::<10>(n.unsigned_abs(), 2, out);
        out.push(end);
    }
    if fraction == 0 {
        out.pop();
    } else {
        digits::<10>(fraction.unsigned_abs(), 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.extend_from_slice(b"Z\"");
    Some(())
}

/// Microseconds of an interval in the style `postgres`; a month is a twelfth of 365.25 days.
pub(super) fn interval(text: &[u8]) -> Option<i64> {
    const MONTH: i64 = 2_629_800_000_000;
    let units: [(&[&[u8]], i64); 3] = [
        (&[b"year", b"years"], 12 * MONTH),
        (&[b"mon", b"mons"], MONTH),
        (&[b"day", b"days"], DAY),
    ];
    let mut sum = 0i64;
    let mut words = text.split(|&byte| byte == b' ').peekable();
    for (names, size) in units {
        let Some(word) = words.peek().filter(|word| !word.contains(&b':')) else {
            continue;
        };
        let count: i64 = std::str::from_utf8(word).ok()?.parse().ok()?;
        let mut rest = words.clone();
        rest.next();
        if rest.next().is_some_and(|name| names.contains(&name)) {
            sum = sum.checked_add(count.checked_mul(size)?)?;
            words = rest;
        }
    }
    match words.next() {
        None => return Some(sum),
        Some(time) => sum = sum.checked_add(signed_time(time)?)?,
    }
    words.next().is_none().then_some(sum)
}

/// Microseconds of `[+-]HH:MM:SS[.ffffff]`, with as many hours as there are.
fn signed_time(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let colon = text.iter().position(|&byte| byte == b':')?;
    let (hours, rest) = text.split_at_checked(colon)?;
    if !hours.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let hours: i64 = std::str::from_utf8(hours).ok()?.parse().ok()?;
    let (&[_, m1, m2, b':', s1, s2], fraction) = rest.split_first_chunk::<6>()? else {
        return None;
    };
    let seconds = two(m1, m2)? * 60 + two(s1, s2)?;
    let micros = hours
        .checked_mul(3600)?
        .checked_add(seconds)?
        .checked_mul(1_000_000)?
        .checked_add(micros(fraction)?)?;
    Some(if negative { -micros } else { micros })
}

fn two(high: u8, low: u8) -> Option<i64> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    (high <= 9 && low <= 9).then(|| i64::from(high * 10 + low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_since_1970() {
        for (text, expected) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("2016-11-04", 17_109),
            ("0001-01-01", -719_162),
        ] {
            assert_eq!(days(text.as_bytes()), Some(expected));
        }
        for text in [
            "infinity",
            "20000-01-01",
            "0044-03-15 BC",
            "2000-13-01",
            "2000-01-0x",
        ] {
            assert_eq!(days(text.as_bytes()), None);
        }
    }

    #[test]
    fn intervals_are_summed() {
        const MONTH: i64 = 2_629_800_000_000;
        for (text, expected) in [
            (
                "1 year 2 mons 3 days 04:05:06.78",
                14 * MONTH + 3 * DAY + 14_706_780_000,
            ),
            ("1 mon", MONTH),
            ("-1 days", -DAY),
            (
                "-1 years -2 mons +3 days -04:05:06.5",
                -14 * MONTH + 3 * DAY - 14_706_500_000,
            ),
            ("00:00:00", 0),
            ("100:00:00", 360_000_000_000),
        ] {
            assert_eq!(interval(text.as_bytes()), Some(expected), "{text}");
        }
        for text in [
            "1 day 2 years",
            "1 week",
            "1",
            "04:05",
            "x:00:00",
            "99999999999 years",
            "",
        ] {
            assert_eq!(interval(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn zones_are_left() {
        let told = |text: &str| {
            let mut out = Vec::new();
            zoned_time(text.as_bytes(), &mut out)?;
            String::from_utf8(out).ok()
        };
        assert_eq!(told("13:51:30.123789+02").unwrap(), "\"11:51:30.123789Z\"");
        assert_eq!(told("01:00:00+02").unwrap(), "\"23:00:00Z\"");
        assert_eq!(told("13:51:30.120+05:30").unwrap(), "\"08:21:30.12Z\"");
        assert_eq!(told("23:00:00-02:00:30").unwrap(), "\"01:00:30Z\"");
        assert_eq!(told("23:00:00"), None);
    }

    #[test]
    fn fractions_are_padded() {
        let told = |text: &str, digits| {
            let mut out = Vec::new();
            zoned(text.as_bytes(), digits, &mut out)?;
            String::from_utf8(out).ok()
        };
        assert_eq!(
            told("2016-11-04 13:51:30+00", 6).unwrap(),
            "\"2016-11-04T13:51:30.000000Z\""
        );
        assert_eq!(
            told("2016-11-04 13:51:30.12+00", 3).unwrap(),
            "\"2016-11-04T13:51:30.120Z\""
        );
        assert_eq!(
            told("2016-11-04 13:51:30+00", 0).unwrap(),
            "\"2016-11-04T13:51:30Z\""
        );
        assert_eq!(told("2016-11-04 13:51:30+02", 6), None);
        assert_eq!(told("infinity", 6), None);
    }
}
