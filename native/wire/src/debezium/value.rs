//! JSON of exact texts as the format `debezium` tells them, byte for byte what Python's
//! `penstock.formats.debezium` writes.
//!
//! Only what is regular is written here. None stands for what is not: infinite dates, years before
//! Christ, numbers of more than 128 bits, texts that their type does not have. Python takes those.

use super::time;
use crate::json;

/// How a type is told, by the name that Python's `Mapped.code` has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// A text that is JSON already.
    Plain,
    Boolean,
    Float,
    Text,
    /// Connect's `Decimal` of that scale.
    Decimal(usize),
    /// `VariableScaleDecimal`.
    Variable,
    /// A decimal's text, with so many digits after the point at least.
    DecimalText(usize),
    Money(usize),
    Days,
    /// A time of day in units of so many nanoseconds.
    Time(i64),
    /// A timestamp in units of so many nanoseconds.
    Timestamp(i64),
    /// `ZonedTimestamp` with so many digits of a fraction.
    Zoned(usize),
    ZonedTime,
    /// An interval in microseconds.
    Interval,
    Bytes(Spelling),
    Bit,
    Bits,
    Array(Box<Code>),
    /// A null, whatever the value is.
    Null,
}

/// How bytes are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    Base64,
    UrlSafe,
    Hex,
}

impl Code {
    /// The code of that name; None for one that only Python has.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(element) = name.strip_prefix("array ") {
            return Some(Self::Array(Box::new(Self::parse(element)?)));
        }
        let (name, parameter) = name.split_once(' ').unwrap_or((name, "0"));
        Some(match name {
            "plain" => Self::Plain,
            "boolean" => Self::Boolean,
            "float" => Self::Float,
            "text" => Self::Text,
            "decimal" => Self::Decimal(parameter.parse().ok()?),
            "variable" => Self::Variable,
            "decimal_text" => Self::DecimalText(parameter.parse().ok()?),
            "money" => Self::Money(parameter.parse().ok()?),
            "days" => Self::Days,
            "time" => Self::Time(unit(parameter)?),
            "timestamp" => Self::Timestamp(unit(parameter)?),
            "zoned" => Self::Zoned(parameter.parse().ok()?),
            "timetz" => Self::ZonedTime,
            "interval" => Self::Interval,
            "bytes" => Self::Bytes(Spelling::Base64),
            "bytes_url" => Self::Bytes(Spelling::UrlSafe),
            "bytes_hex" => Self::Bytes(Spelling::Hex),
            "bit" => Self::Bit,
            "bits" => Self::Bits,
            "null" => Self::Null,
            _ => return None,
        })
    }

    /// Append the JSON of a text. On None, what was appended is to be taken back.
    #[inline]
    pub fn encode(&self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Plain => out.extend_from_slice(text),
            Self::Text => return json::checked_string(text, out).ok(),
            Self::Boolean => boolean(text, b't', b'f', out)?,
            Self::Bit => boolean(text, b'1', b'0', out)?,
            Self::Float => float(text, out),
            Self::Decimal(scale) => decimal(text, *scale, out)?,
            Self::Variable => variable(text, out)?,
            Self::DecimalText(scale) => decimal_text(text, *scale, out),
            Self::Money(digits) => money(text, *digits, out)?,
            Self::Days => integer(time::days(text)?, out),
            Self::Time(unit) => integer(time::of_day(text)? * 1000 / unit, out),
            Self::Timestamp(unit) => timestamp(time::timestamp(text)?, *unit, out)?,
            Self::Zoned(digits) => time::zoned(text, *digits, out)?,
            Self::ZonedTime => time::zoned_time(text, out)?,
            Self::Interval => integer(time::interval(text)?, out),
            Self::Bytes(spelling) => bytes(text, *spelling, out)?,
            Self::Bits => bits(text, out)?,
            Self::Array(element) => array(element, text, out)?,
            Self::Null => out.extend_from_slice(json::NULL),
        }
        Some(())
    }

    /// Append the JSON of a value in its type's send form, where that needs no text in between;
    /// false, and nothing, where it does.
    #[inline]
    pub fn encode_sent(&self, base: u32, form: &[u8], out: &mut Vec<u8>) -> bool {
        /// From 1970 to 2000, in µs.
        const EPOCH: i64 = 946_684_800_000_000;
        const TIMESTAMP: u32 = 1114;
        const BYTEA: u32 = 17;
        const INT8: u32 = 20;
        const INT4: u32 = 23;
        match (self, base) {
            (Self::Timestamp(unit), TIMESTAMP) => {
                let Some(micros) = form.try_into().ok().map(i64::from_be_bytes) else {
                    return false;
                };
                let begin = out.len();
                // the infinities are the ends of the range
                let regular = (-EPOCH..i64::MAX / 1000 - EPOCH).contains(&micros);
                if regular && timestamp(micros + EPOCH, *unit, out).is_some() {
                    return true;
                }
                out.truncate(begin);
                false
            }
            (Self::Plain, INT8) => form.try_into().is_ok_and(|form| {
                integer(i64::from_be_bytes(form), out);
                true
            }),
            (Self::Plain, INT4) => form.try_into().is_ok_and(|form| {
                integer(i32::from_be_bytes(form).into(), out);
                true
            }),
            (Self::Bytes(Spelling::Base64), BYTEA) => {
                json::base64_of(form, out);
                true
            }
            _ => false,
        }
    }
}

fn unit(parameter: &str) -> Option<i64> {
    parameter.parse().ok().filter(|&unit| unit > 0)
}

pub(super) fn integer(n: i64, out: &mut Vec<u8>) {
    if n < 0 {
        out.push(b'-');
    }
    crate::json_frame::number(n.unsigned_abs(), out);
}

fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

fn boolean(text: &[u8], yes: u8, no: u8, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(match text {
        [sign] if *sign == yes => b"true",
        [sign] if *sign == no => b"false",
        _ => return None,
    });
    Some(())
}

fn float(text: &[u8], out: &mut Vec<u8>) {
    if is_special(text) {
        quoted(text, out);
        return;
    }
    out.extend_from_slice(text);
    if !text.contains(&b'.') && !text.contains(&b'e') {
        out.extend_from_slice(b".0");
    }
}

fn is_special(text: &[u8]) -> bool {
    matches!(text, b"NaN" | b"Infinity" | b"-Infinity")
}

/// The digits before and after the point; the sign stands before the first.
fn parts(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == b'.') {
        Some(at) => (
            text.get(..at).unwrap_or_default(),
            text.get(at + 1..).unwrap_or_default(),
        ),
        None => (text, &[]),
    }
}

fn decimal(text: &[u8], scale: usize, out: &mut Vec<u8>) -> Option<()> {
    if is_special(text) {
        out.extend_from_slice(json::NULL);
        return Some(());
    }
    let (whole, fraction) = parts(text);
    let kept = fraction.get(..scale).unwrap_or(fraction);
    let number = number(whole, kept)?;
    let zeros = u32::try_from(scale - kept.len()).ok()?;
    unscaled(number.checked_mul(10i128.checked_pow(zeros)?)?, out);
    Some(())
}

fn variable(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if is_special(text) {
        out.extend_from_slice(json::NULL);
        return Some(());
    }
    let (whole, mut fraction) = parts(text);
    while let [rest @ .., b'0'] = fraction {
        fraction = rest;
    }
    out.extend_from_slice(b"{\"scale\":");
    crate::json_frame::number(fraction.len() as u64, out);
    out.extend_from_slice(b",\"value\":");
    unscaled(number(whole, fraction)?, out);
    out.push(b'}');
    Some(())
}

fn decimal_text(text: &[u8], scale: usize, out: &mut Vec<u8>) {
    match text {
        b"NaN" => quoted(b"NAN", out),
        b"Infinity" => quoted(b"POSITIVE_INFINITY", out),
        b"-Infinity" => quoted(b"NEGATIVE_INFINITY", out),
        _ => {
            let (_, fraction) = parts(text);
            out.push(b'"');
            out.extend_from_slice(text);
            if fraction.len() < scale {
                if fraction.is_empty() && !text.ends_with(b".") {
                    out.push(b'.');
                }
                out.resize(out.len() + scale - fraction.len(), b'0');
            }
            out.push(b'"');
        }
    }
}

fn money(text: &[u8], digits: usize, out: &mut Vec<u8>) -> Option<()> {
    let plain: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'$' | b','))
        .collect();
    if parts(&plain).1.len() > digits || is_special(&plain) {
        return None;
    }
    decimal(&plain, digits, out)
}

/// The number of these digits, one after the other.
fn number(whole: &[u8], fraction: &[u8]) -> Option<i128> {
    let (negative, whole) = match whole {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, whole),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut number = 0i128;
    for byte in whole.iter().chain(fraction) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(if negative { -number } else { number })
}

/// Base64 of the shortest big-endian two's complement.
fn unscaled(number: i128, out: &mut Vec<u8>) {
    let bits = i128::BITS - (if number < 0 { !number } else { number }).leading_zeros();
    let bytes = number.to_be_bytes();
    let start = bytes.len().saturating_sub(bits as usize / 8 + 1);
    json::base64_of(bytes.get(start..).unwrap_or_default(), out);
}

/// `micros` since the epoch.
fn timestamp(micros: i64, unit: i64, out: &mut Vec<u8>) -> Option<()> {
    let nanos = micros.checked_mul(1000);
    let count = match nanos {
        Some(nanos) => nanos.div_euclid(unit),
        None if unit % 1000 == 0 => micros.div_euclid(unit / 1000),
        None => return None,
    };
    integer(count, out);
    Some(())
}

fn bytes(text: &[u8], spelling: Spelling, out: &mut Vec<u8>) -> Option<()> {
    let hex = text.strip_prefix(b"\\x")?;
    match spelling {
        Spelling::Hex => {
            let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            if !hex.len().is_multiple_of(2) || !hex.iter().all(lower) {
                return None;
            }
            quoted(hex, out);
        }
        Spelling::Base64 => json::base64(hex, out).ok()?,
        Spelling::UrlSafe => {
            let begin = out.len();
            json::base64(hex, out).ok()?;
            for sign in out.iter_mut().skip(begin) {
                match *sign {
                    b'+' => *sign = b'-',
                    b'/' => *sign = b'_',
                    _ => {}
                }
            }
        }
    }
    Some(())
}

/// Little-endian, without leading zeros.
fn bits(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let first = text
        .iter()
        .position(|&bit| bit != b'0')
        .unwrap_or(text.len());
    let mut bytes = Vec::new();
    for eight in text.get(first..).unwrap_or_default().rchunks(8) {
        let mut byte = 0u8;
        for &bit in eight {
            byte = byte << 1
                | match bit {
                    b'0' => 0,
                    b'1' => 1,
                    _ => return None,
                };
        }
        bytes.push(byte);
    }
    json::base64_of(&bytes, out);
    Some(())
}

/// What stands for an element, next to the bytes between elements.
const ELEMENT: u8 = 0;

/// The elements of all dimensions, one after the other; None also where an element is missing.
fn array(element: &Code, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let begin = text.iter().position(|&byte| byte == b'{')?;
    let mut rest = text.get(begin..)?;
    let mut unescaped = Vec::new();
    out.push(b'[');
    let mut first = true;
    let mut before = ELEMENT;
    while let Some((&byte, after)) = rest.split_first() {
        if matches!(byte, b'{' | b'}' | b',') {
            let is_empty = before == b'{' && byte == b'}' && first && after.is_empty();
            match (before, byte) {
                (b'{', b'}') if !is_empty => return None,
                (b'{' | b',', b',') | (b',', b'}') | (b'}', b'{') => return None,
                _ => before = byte,
            }
            rest = after;
            continue;
        }
        before = ELEMENT;
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        if byte == b'"' {
            unescaped.clear();
            rest = quoted_element(after, &mut unescaped)?;
            element.encode(&unescaped, out)?;
        } else {
            let end = rest
                .iter()
                .position(|byte| matches!(byte, b'{' | b'}' | b',' | b'"'))
                .unwrap_or(rest.len());
            let (bare, after) = rest.split_at(end);
            rest = after;
            if bare == b"NULL" {
                out.extend_from_slice(json::NULL);
            } else if bare.contains(&b'\\') {
                return None;
            } else {
                element.encode(bare, out)?;
            }
        }
        if !matches!(rest.first(), None | Some(b',' | b'}')) {
            return None;
        }
    }
    if before == b',' {
        return None;
    }
    out.push(b']');
    Some(())
}

/// What stands up to the closing quote; what follows it.
fn quoted_element<'a>(mut rest: &'a [u8], into: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                into.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: &str, text: &str) -> Option<String> {
        let mut out = Vec::new();
        Code::parse(code)?.encode(text.as_bytes(), &mut out)?;
        String::from_utf8(out).ok()
    }

    #[test]
    fn numbers_are_base64_of_two_s_complement() {
        for (code, text, expected) in [
            ("decimal 2", "1.10", "\"bg==\""),
            ("decimal 2", "-1.28", "\"gA==\""),
            ("decimal 0", "128", "\"AIA=\""),
            ("decimal 0", "0", "\"AA==\""),
            ("decimal 3", "1", "\"A+g=\""),
            ("decimal 1", "NaN", "null"),
            ("variable", "10.1111", "{\"scale\":4,\"value\":\"AYr3\"}"),
            ("variable", "1.500", "{\"scale\":1,\"value\":\"Dw==\"}"),
            ("money 2", "-$1,234.11", "\"/h3t\""),
            ("decimal_text 2", "1", "\"1.00\""),
        ] {
            assert_eq!(told(code, text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(told("decimal 0", &"9".repeat(40)), None);
        assert_eq!(told("decimal 2", "1e5"), None);
    }

    #[test]
    fn arrays_are_flat() {
        assert_eq!(
            told("array plain", "{{1,2},{3,NULL}}").as_deref(),
            Some("[1,2,3,null]")
        );
        assert_eq!(
            told("array text", r#"{"a\"b",c d,"NULL",NULL}"#).as_deref(),
            Some(r#"["a\"b","c d","NULL",null]"#)
        );
        assert_eq!(told("array plain", "[0:1]={7,8}").as_deref(), Some("[7,8]"));
        assert_eq!(told("array text", "{\"a").as_deref(), None);
        assert_eq!(told("array text", "{}").as_deref(), Some("[]"));
        for wrong in ["{,", "{1,", "{1,}", "{,1}", "{1,,2}", "{1}{2}", "{{},{}}"] {
            assert_eq!(told("array plain", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bits_are_little_endian() {
        assert_eq!(told("bits", "11").as_deref(), Some("\"Aw==\""));
        assert_eq!(told("bits", "000").as_deref(), Some("\"\""));
        assert_eq!(told("bits", "100000001").as_deref(), Some("\"AQE=\""));
        assert_eq!(told("bits", "12"), None);
    }

    #[test]
    fn timestamps_in_binary_are_those_in_text() {
        let mut out = Vec::new();
        for code in ["timestamp 1000000", "timestamp 1000", "timestamp 1"] {
            let code = Code::parse(code).unwrap();
            for (micros, text) in [
                (0i64, "2000-01-01 00:00:00"),
                (-1, "1999-12-31 23:59:59.999999"),
                (1_500_000, "2000-01-01 00:00:01.5"),
            ] {
                out.clear();
                assert!(code.encode_sent(1114, &micros.to_be_bytes(), &mut out));
                let mut expected = Vec::new();
                code.encode(text.as_bytes(), &mut expected).unwrap();
                assert_eq!(out, expected);
            }
            assert!(!code.encode_sent(1114, &i64::MAX.to_be_bytes(), &mut out));
            assert!(!code.encode_sent(1114, &i64::MIN.to_be_bytes(), &mut out));
        }
    }
}
