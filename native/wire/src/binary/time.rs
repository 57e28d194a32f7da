//! Dates and times, as a session with DateStyle ISO, IntervalStyle postgres and TimeZone UTC
//! writes them. The server counts days and microseconds from 2000-01-01.

use super::Done;
use super::form::{fixed, wrong};
use super::number::{four, pair, signed, unsigned};

const DAY: i64 = 86_400_000_000;
const SECOND: u64 = 1_000_000;
const JULIAN_2000: i32 = 2_451_545;
const LAST_DATE: i32 = 2_145_031_948; // 5874897-12-31
const FIRST_MOMENT: i64 = -211_813_488_000_000_000; // 4714-11-24 BC
const END_OF_MOMENTS: i64 = 9_223_371_331_200_000_000; // 294277-01-01
const WIDEST_ZONE: i32 = 16 * 3600;

const INFINITY: &[u8] = b"infinity";
const MINUS_INFINITY: &[u8] = b"-infinity";

pub fn date(raw: &[u8], out: &mut Vec<u8>) -> Done {
    match i32::from_be_bytes(fixed(raw)?) {
        i32::MAX => out.extend_from_slice(INFINITY),
        i32::MIN => out.extend_from_slice(MINUS_INFINITY),
        days if !(-JULIAN_2000..=LAST_DATE).contains(&days) => {
            return Err(wrong(format!("a date {days} days from 2000-01-01")));
        }
        days => {
            let era = day(days.into(), out)?;
            out.extend_from_slice(era);
        }
    }
    Ok(())
}

pub fn time(raw: &[u8], out: &mut Vec<u8>) -> Done {
    clock_of_day(i64::from_be_bytes(fixed(raw)?), out)
}

pub fn timetz(raw: &[u8], out: &mut Vec<u8>) -> Done {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = fixed(raw)?;
    let west = i32::from_be_bytes([i, j, k, l]);
    if west <= -WIDEST_ZONE || west >= WIDEST_ZONE {
        return Err(wrong(format!("a zone {west} seconds from UTC")));
    }
    clock_of_day(i64::from_be_bytes([a, b, c, d, e, f, g, h]), out)?;
    out.push(if west <= 0 { b'+' } else { b'-' });
    let zone = u64::from(west.unsigned_abs());
    let (hours, minutes, seconds) = (zone / 3600, zone / 60 % 60, zone % 60);
    out.extend_from_slice(&pair(hours));
    if minutes > 0 || seconds > 0 {
        out.push(b':');
        out.extend_from_slice(&pair(minutes));
    }
    if seconds > 0 {
        out.push(b':');
        out.extend_from_slice(&pair(seconds));
    }
    Ok(())
}

pub fn timestamp(zone: &[u8], raw: &[u8], out: &mut Vec<u8>) -> Done {
    match i64::from_be_bytes(fixed(raw)?) {
        i64::MAX => out.extend_from_slice(INFINITY),
        i64::MIN => out.extend_from_slice(MINUS_INFINITY),
        micros if !(FIRST_MOMENT..END_OF_MOMENTS).contains(&micros) => {
            return Err(wrong(format!(
                "a moment {micros} microseconds from 2000-01-01"
            )));
        }
        micros => {
            let era = day(micros.div_euclid(DAY), out)?;
            out.push(b' ');
            clock(micros.rem_euclid(DAY).unsigned_abs(), out)?;
            out.extend_from_slice(zone);
            out.extend_from_slice(era);
        }
    }
    Ok(())
}

/// Microseconds, days, months; each has a sign of its own.
pub fn interval(raw: &[u8], out: &mut Vec<u8>) -> Done {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = fixed(raw)?;
    let micros = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let days = i32::from_be_bytes([i, j, k, l]);
    let months = i32::from_be_bytes([m, n, o, p]);
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => out.extend_from_slice(INFINITY),
        (i64::MIN, i32::MIN, i32::MIN) => out.extend_from_slice(MINUS_INFINITY),
        _ => {
            let mut empty = true;
            let mut negative = false;
            let units: [(i32, &[u8]); 3] = [
                (months / 12, b" year"),
                (months % 12, b" mon"),
                (days, b" day"),
            ];
            for (count, unit) in units.into_iter().filter(|(count, _)| *count != 0) {
                if !empty {
                    out.push(b' ');
                }
                if negative && count > 0 {
                    out.push(b'+');
                }
                signed(count.into(), out)?;
                out.extend_from_slice(unit);
                if count != 1 {
                    out.push(b's');
                }
                empty = false;
                negative = count < 0;
            }
            if micros != 0 || empty {
                if !empty {
                    out.push(b' ');
                }
                if micros < 0 {
                    out.push(b'-');
                } else if negative {
                    out.push(b'+');
                }
                clock(micros.unsigned_abs(), out)?;
            }
        }
    }
    Ok(())
}

fn clock_of_day(micros: i64, out: &mut Vec<u8>) -> Done {
    match u64::try_from(micros) {
        Ok(past) if micros <= DAY => clock(past, out),
        _ => Err(wrong(format!(
            "a time {micros} microseconds after midnight"
        ))),
    }
}

fn clock(micros: u64, out: &mut Vec<u8>) -> Done {
    let (seconds, fraction) = (micros / SECOND, micros % SECOND);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours < 100 {
        out.extend_from_slice(&pair(hours));
    } else {
        unsigned(hours, out)?;
    }
    let ([a, b], [c, d]) = (pair(minutes), pair(seconds));
    out.extend_from_slice(&[b':', a, b, b':', c, d]);
    if fraction > 0 {
        let ([a, b], [c, d, e, f]) = (pair(fraction / 10_000), four(fraction));
        out.extend_from_slice(&[b'.', a, b, c, d, e, f]);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    Ok(())
}

/// Write year, month and day in the proleptic Gregorian calendar; the era's mark.
///
/// Years are counted from March, so that the leap day is a year's last.
fn day(days: i64, out: &mut Vec<u8>) -> Result<&'static [u8], crate::error::ProtocolError> {
    let since = days + 730_425; // 0000-03-01
    let (centuries, day) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = (day - (153 * month + 2) / 5 + 1).unsigned_abs();
    let year = year + 400 * centuries + i64::from(month >= 10);
    let month = if month < 10 { month + 3 } else { month - 9 }.unsigned_abs();
    let (shown, era): (i64, &[u8]) = if year > 0 {
        (year, b"")
    } else {
        (1 - year, b" BC")
    };
    let shown = shown.unsigned_abs();
    if shown < 10_000 {
        out.extend_from_slice(&four(shown));
    } else {
        unsigned(shown, out)?;
    }
    let ([a, b], [c, d]) = (pair(month), pair(day));
    out.extend_from_slice(&[b'-', a, b, b'-', c, d]);
    Ok(era)
}
