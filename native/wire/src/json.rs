//! JSON of exact texts, byte for byte what Python's `penstock.formats.json` writes.
//!
//! A text is its own JSON wherever that is possible: integers and finite floats are numbers as
//! they stand, json is embedded as it stands, bytea is base64, everything else is a string.

use std::fmt;
use std::str::Utf8Error;

use memchr::memchr2;

use crate::binary;
use crate::scan;
use crate::table::{Kind, Type};

pub(crate) const NULL: &[u8] = b"null";

/// Why a text is no value of its kind; displays in the words of Python's own errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit<'a> {
    Boolean,
    OddHex,
    NotHex,
    NotUtf8(Utf8Error, &'a [u8]),
}

impl fmt::Display for Unfit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("neither t nor f"),
            Self::OddHex => f.write_str("Odd-length string"),
            Self::NotHex => f.write_str("Non-hexadecimal digit found"),
            Self::NotUtf8(error, text) => undecodable(*error, text, f),
        }
    }
}

fn undecodable(error: Utf8Error, text: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let start = error.valid_up_to();
    let first = text.get(start).copied().unwrap_or_default();
    let (length, reason) = match error.error_len() {
        None => (text.len() - start, "unexpected end of data"),
        Some(length) if matches!(first, 0xC2..=0xF4) => (length, "invalid continuation byte"),
        Some(length) => (length, "invalid start byte"),
    };
    f.write_str("'utf-8' codec can't decode ")?;
    if length == 1 {
        write!(f, "byte 0x{first:02x} in position {start}: {reason}")
    } else {
        write!(
            f,
            "bytes in position {start}-{}: {reason}",
            start + length - 1
        )
    }
}

/// Append the JSON of a value's text.
#[inline]
pub(crate) fn value<'a>(kind: Kind, text: &'a [u8], out: &mut Vec<u8>) -> Result<(), Unfit<'a>> {
    match kind {
        Kind::Integer => out.extend_from_slice(text),
        Kind::Text | Kind::Enum | Kind::Array | Kind::Other => return checked_string(text, out),
        // Texts of these hold no character that JSON escapes.
        Kind::Numeric
        | Kind::Uuid
        | Kind::Date
        | Kind::Time
        | Kind::Timestamp
        | Kind::TimestampTz
        | Kind::Interval => quoted(text, out),
        Kind::Boolean => match text {
            b"t" => out.extend_from_slice(b"true"),
            b"f" => out.extend_from_slice(b"false"),
            _ => return Err(Unfit::Boolean),
        },
        Kind::Float => match text {
            b"NaN" | b"Infinity" | b"-Infinity" => quoted(text, out),
            _ => out.extend_from_slice(text),
        },
        Kind::Json => one_line(text, out),
        Kind::Bytes => return base64(text.get(2..).unwrap_or_default(), out),
    }
    Ok(())
}

/// Append the JSON of a value in its type's send form, where it needs no text in between; false,
/// and nothing, where it does, or where the form is wrong.
#[inline]
pub(crate) fn sent(kind: &Type, form: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    match kind.kind {
        Kind::Integer => return binary::text(kind, form, out).is_ok(),
        Kind::Numeric
        | Kind::Uuid
        | Kind::Date
        | Kind::Time
        | Kind::Timestamp
        | Kind::TimestampTz
        | Kind::Interval => {
            out.push(b'"');
            if binary::text(kind, form, out).is_err() {
                out.truncate(start);
                return false;
            }
        }
        Kind::Bytes => {
            base64_of(form, out);
            return true;
        }
        _ => return false,
    }
    out.push(b'"');
    true
}

fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Line ends, which only `json` keeps between tokens, become spaces.
fn one_line(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some((line, rest)) =
        memchr2(b'\n', b'\r', text).and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)))
    {
        out.extend_from_slice(line);
        out.push(b' ');
        text = rest;
    }
    out.extend_from_slice(text);
}

/// Append bytes as a JSON string of their base64.
pub(crate) fn base64_of(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.reserve(bytes.len().div_ceil(3) * 4);
    for triple in bytes.chunks(3) {
        let byte = |place| u32::from(triple.get(place).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        out.extend_from_slice(&base64_signs(bits, triple.len()));
    }
    out.push(b'"');
}

/// The same of bytes that are given in hexadecimal.
pub(crate) fn base64<'a>(hex: &'a [u8], out: &mut Vec<u8>) -> Result<(), Unfit<'a>> {
    let (pairs, odd) = hex.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(Unfit::OddHex);
    }
    out.push(b'"');
    out.reserve(pairs.len().div_ceil(3) * 4);
    for triple in pairs.chunks(3) {
        let mut bits = 0u32;
        for place in 0..3 {
            let byte = match triple.get(place) {
                Some(&[high, low]) => digit(high)? << 4 | digit(low)?,
                None => 0,
            };
            bits = bits << 8 | byte;
        }
        out.extend_from_slice(&base64_signs(bits, triple.len()));
    }
    out.push(b'"');
    Ok(())
}

/// The four signs of up to three bytes.
fn base64_signs(bits: u32, count: usize) -> [u8; 4] {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sign = |n: usize| {
        if n > count {
            b'='
        } else {
            SIGNS[(bits >> (18 - 6 * n) & 63) as usize]
        }
    };
    [sign(0), sign(1), sign(2), sign(3)]
}

fn digit<'a>(hex: u8) -> Result<u32, Unfit<'a>> {
    char::from(hex).to_digit(16).ok_or(Unfit::NotHex)
}

/// Append a text as a JSON string, if it is UTF-8.
#[inline]
pub(crate) fn checked_string<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Result<(), Unfit<'a>> {
    if !text.is_ascii() {
        std::str::from_utf8(text).map_err(|error| Unfit::NotUtf8(error, text))?;
    }
    escaped(text, out);
    Ok(())
}

/// Append a JSON string.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    escaped(text.as_bytes(), out);
}

fn escaped(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    inner(text, out);
    out.push(b'"');
}

/// Append what stands between the quotes of a JSON string.
pub(crate) fn inner(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let (plain, rest) = text.split_at(plain_length(text));
        out.extend_from_slice(plain);
        let Some((&byte, rest)) = rest.split_first() else {
            return;
        };
        escape(byte, out);
        text = rest;
    }
}

#[cold]
fn escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        0x08 => out.extend_from_slice(b"\\b"),
        b'\t' => out.extend_from_slice(b"\\t"),
        b'\n' => out.extend_from_slice(b"\\n"),
        0x0C => out.extend_from_slice(b"\\f"),
        b'\r' => out.extend_from_slice(b"\\r"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 15].map(|n| HEX[usize::from(n)]));
        }
    }
}

/// How many bytes stand before the first one that JSON escapes.
#[inline]
fn plain_length(text: &[u8]) -> usize {
    scan::first(text, |word| {
        scan::below(0x20, word) | scan::equal(b'"', word) | scan::equal(b'\\', word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(kind: Kind, text: &[u8]) -> Result<String, String> {
        let mut out = Vec::new();
        value(kind, text, &mut out).map_err(|unfit| unfit.to_string())?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn strings_escape_what_json_must() {
        let all: Vec<u8> = (0..128).collect();
        let mut expected = String::from("\"");
        for byte in 0..128u8 {
            match byte {
                8 => expected += "\\b",
                9 => expected += "\\t",
                10 => expected += "\\n",
                12 => expected += "\\f",
                13 => expected += "\\r",
                b'"' => expected += "\\\"",
                b'\\' => expected += "\\\\",
                0..32 => expected += &format!("\\u{byte:04x}"),
                _ => expected.push(char::from(byte)),
            }
        }
        assert_eq!(encode(Kind::Text, &all).unwrap(), expected + "\"");
    }

    #[test]
    fn bytes_are_base64() {
        for (hex, expected) in [
            ("", ""),
            ("00", "AA=="),
            ("fffe", "//4="),
            ("666f6F", "Zm9v"),
            ("666f6f62", "Zm9vYg=="),
        ] {
            let text = format!("\\x{hex}");
            assert_eq!(
                encode(Kind::Bytes, text.as_bytes()).unwrap(),
                format!("\"{expected}\"")
            );
        }
        assert_eq!(
            encode(Kind::Bytes, b"\\x0").unwrap_err(),
            "Odd-length string"
        );
        assert_eq!(
            encode(Kind::Bytes, b"\\x0g").unwrap_err(),
            "Non-hexadecimal digit found"
        );
        assert_eq!(encode(Kind::Bytes, b"x").unwrap(), "\"\"");
    }

    #[test]
    fn undecodable_texts_are_told_in_python_s_words() {
        for (text, expected) in [
            (&b"a\xff"[..], "byte 0xff in position 1: invalid start byte"),
            (
                b"\xc3(",
                "byte 0xc3 in position 0: invalid continuation byte",
            ),
            (
                b"\xe2\x82(",
                "bytes in position 0-1: invalid continuation byte",
            ),
            (
                b"abc\xf0\x9f\x92",
                "bytes in position 3-5: unexpected end of data",
            ),
            (b"\xe2", "byte 0xe2 in position 0: unexpected end of data"),
            (
                b"\xed\xa0\x80",
                "byte 0xed in position 0: invalid continuation byte",
            ),
            (b"\xc0\x80", "byte 0xc0 in position 0: invalid start byte"),
        ] {
            let found = encode(Kind::Text, text).unwrap_err();
            assert_eq!(found, format!("'utf-8' codec can't decode {expected}"));
        }
    }

    #[test]
    fn other_kinds_stand_as_they_are() {
        assert_eq!(encode(Kind::Integer, b"-12").unwrap(), "-12");
        assert_eq!(encode(Kind::Float, b"1e+300").unwrap(), "1e+300");
        assert_eq!(encode(Kind::Float, b"-Infinity").unwrap(), "\"-Infinity\"");
        assert_eq!(encode(Kind::Numeric, b"1.50").unwrap(), "\"1.50\"");
        assert_eq!(encode(Kind::Boolean, b"t").unwrap(), "true");
        assert_eq!(
            encode(Kind::Boolean, b"true").unwrap_err(),
            "neither t nor f"
        );
        assert_eq!(
            encode(Kind::Json, b"{\n\"a\":\r\n1}\n").unwrap(),
            "{ \"a\":  1} "
        );
    }
}
