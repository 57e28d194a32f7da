//! The pieces of a `change` value that all changes of one transaction share.

use std::sync::Arc;

use crate::batch::{Fact, Origin};
use crate::json::{self, NULL};

/// What stands around the parts that differ; made anew for each transaction, in the same memory.
#[derive(Default)]
pub(crate) struct Frame {
    /// `{"id":"` and the mark's transaction.
    pub(crate) start: Vec<u8>,
    /// `,"mark":"` and the same.
    pub(crate) middle: Vec<u8>,
    /// From `","transaction":` on.
    pub(crate) end: Vec<u8>,
}

impl Frame {
    /// Become the frame of an origin.
    pub(crate) fn be_of(&mut self, origin: &Origin, database: &str) {
        let Self { start, middle, end } = self;
        start.clear();
        middle.clear();
        end.clear();
        for (piece, head) in [(start, &b"{\"id\":\""[..]), (middle, b",\"mark\":\"")] {
            piece.extend_from_slice(head);
            match origin {
                Origin::Transaction { lsn, .. } => position(*lsn, piece),
                Origin::Snapshot { mark, .. } | Origin::Named { mark, .. } => {
                    json::inner(mark.as_bytes(), piece);
                }
            }
            piece.push(b':');
        }
        end.extend_from_slice(b"\",\"transaction\":");
        if let Some(committed_us) = origin.committed_us() {
            end.extend_from_slice(b"{\"id\":\"");
            match origin {
                Origin::Transaction { xid, .. } => number(u64::from(*xid), end),
                Origin::Snapshot { mark, .. } | Origin::Named { mark, .. } => {
                    json::inner(mark.as_bytes(), end);
                }
            }
            end.extend_from_slice(b"\",\"committed_at\":\"");
            moment(committed_us, end);
            end.extend_from_slice(b"\"}");
        } else {
            end.extend_from_slice(NULL);
        }
        if let Origin::Named { facts, .. } = origin {
            return source(facts, end);
        }
        end.extend_from_slice(b",\"source\":{\"type\":\"postgres\",\"database\":");
        json::string(database, end);
        end.extend_from_slice(b",\"lsn\":\"");
        position(origin.lsn(), end);
        end.extend_from_slice(b"\"}}");
    }
}

/// Append `,"source":{…}}`.
fn source(facts: &[(Arc<str>, Fact)], end: &mut Vec<u8>) {
    end.extend_from_slice(b",\"source\":{");
    for (n, (name, fact)) in facts.iter().enumerate() {
        if n > 0 {
            end.push(b',');
        }
        json::string(name, end);
        end.push(b':');
        match fact {
            Fact::None => end.extend_from_slice(NULL),
            Fact::Text(text) => json::string(text, end),
            Fact::Number(value) => {
                if *value < 0 {
                    end.push(b'-');
                }
                number(value.unsigned_abs(), end);
            }
        }
    }
    end.extend_from_slice(b"}}");
}

/// Append a number in decimal.
pub(crate) fn number(n: u64, out: &mut Vec<u8>) {
    digits::<10>(n, 1, out);
}

/// Append a log position as the server shows it (`Lsn`).
fn position(lsn: u64, out: &mut Vec<u8>) {
    digits::<16>(lsn >> 32, 1, out);
    out.push(b'/');
    digits::<16>(lsn & 0xFFFF_FFFF, 1, out);
}

/// Append a number with at least `least` digits.
pub(crate) fn digits<const BASE: u64>(mut n: u64, least: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    while n > 0 {
        at -= 1; // 20 digits hold any u64
        text[at] = b"0123456789ABCDEF"[(n % BASE) as usize];
        n /= BASE;
    }
    out.extend_from_slice(&text[at.min(text.len() - least)..]);
}

/// Append a time in µs since 1970 as Python's `datetime.isoformat(timespec="microseconds")` in UTC.
fn moment(us: i64, out: &mut Vec<u8>) {
    const DAY: i64 = 86_400_000_000;
    let (days, time) = (us.div_euclid(DAY), us.rem_euclid(DAY));
    // Years that begin in March have their leap day at the end; 719,468 days before 1970 one began,
    // and with it 400 years of 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let seconds = time / 1_000_000;
    for (n, least, sign) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (seconds / 3_600, 2, b':'),
        (seconds / 60 % 60, 2, b':'),
        (seconds % 60, 2, b'.'),
        (time % 1_000_000, 6, b'+'),
    ] {
        digits::<10>(n.unsigned_abs(), least, out); // a decoder takes no year before 1
        out.push(sign);
    }
    out.extend_from_slice(b"00:00");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_python_does() {
        for (us, expected) in [
            (0, "1970-01-01T00:00:00.000000+00:00"),
            (-1, "1969-12-31T23:59:59.999999+00:00"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000+00:00"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999+00:00"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000+00:00"),
        ] {
            let mut out = Vec::new();
            moment(us, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn numbers_have_no_leading_zeros() {
        let mut out = Vec::new();
        for n in [0, 9, 10, u64::MAX] {
            number(n, &mut out);
            out.push(b' ');
        }
        position(u64::MAX, &mut out);
        position(0xABC, &mut out);
        assert_eq!(out, b"0 9 10 18446744073709551615 FFFFFFFF/FFFFFFFF0/ABC");
    }
}
