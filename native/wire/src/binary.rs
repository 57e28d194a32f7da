//! Values in binary: a type's send form to the server's own text, exactly.
//!
//! The twin of `penstock.sources.postgres.wire.binary`: the same types, texts and errors.

mod container;
mod float;
mod form;
pub(crate) mod number;
mod other;
mod time;

use crate::error::ProtocolError;
use crate::table::{Kind, Type};

type Done = Result<(), ProtocolError>;

/// Whether [`text`] knows the type's send form.
pub fn supports(kind: &Type) -> bool {
    if let Some(element) = &kind.element {
        return supports(element);
    }
    kind.kind == Kind::Enum
        || matches!(
            kind.base,
            16 | 17 | 19 | 20 | 21 | 23 | 25..=29 | 114 | 142 | 600..=604 | 628 | 650 | 700 | 701
                | 718 | 774 | 829 | 869 | 1042 | 1043 | 1082 | 1083 | 1114 | 1184 | 1186 | 1266
                | 1560 | 1562 | 1700 | 1790 | 2950 | 3802 | 3904 | 3906 | 3908 | 3910 | 3912
                | 3926 | 4072 | 4451 | 4532..=4536 | 5069
        )
}

/// Append the server's text of a value in its type's send form.
///
/// On an error, whose place is for the caller to add, nothing is appended.
pub fn text(kind: &Type, raw: &[u8], out: &mut Vec<u8>) -> Done {
    let before = out.len();
    let done = value(kind, raw, out);
    if done.is_err() {
        out.truncate(before);
    }
    done
}

/// The same for a form that has the text in it; None for one that has not.
#[inline]
pub fn borrowed<'a>(kind: &Type, raw: &'a [u8]) -> Option<&'a [u8]> {
    match kind.base {
        _ if kind.element.is_some() => None,
        _ if kind.kind == Kind::Enum => Some(raw),
        // name, text, json, xml, bpchar, varchar, refcursor
        19 | 25 | 114 | 142 | 1042 | 1043 | 1790 => Some(raw),
        // jsonb, jsonpath: behind their version
        3802 | 4072 => raw.strip_prefix(&[1]),
        _ => None,
    }
}

fn value(kind: &Type, raw: &[u8], out: &mut Vec<u8>) -> Done {
    if let Some(text) = borrowed(kind, raw) {
        out.extend_from_slice(text);
        return Ok(());
    }
    match &kind.element {
        Some(element) => container::array(element, raw, out),
        None => scalar(kind.base, raw, out),
    }
}

fn scalar(base: u32, raw: &[u8], out: &mut Vec<u8>) -> Done {
    match base {
        16 => number::boolean(raw, out),
        17 => other::bytea(raw, out),
        20 => number::signed(i64::from_be_bytes(form::fixed(raw)?), out),
        21 => number::signed(i16::from_be_bytes(form::fixed(raw)?).into(), out),
        23 => number::signed(i32::from_be_bytes(form::fixed(raw)?).into(), out),
        // oid, xid, cid
        26 | 28 | 29 => number::unsigned(u32::from_be_bytes(form::fixed(raw)?).into(), out),
        27 => other::tid(raw, out),
        600 => other::points(1, raw, out),
        601 => other::lseg(raw, out),
        602 => other::path(raw, out),
        603 => other::points(2, raw, out),
        604 => other::polygon(raw, out),
        628 => other::line(raw, out),
        650 | 869 => other::address(raw, out),
        700 => float::float4(form::fixed(raw)?, out),
        701 => float::float8(form::fixed(raw)?, out),
        718 => other::circle(raw, out),
        774 => other::hardware(&form::fixed::<8>(raw)?, out),
        829 => other::hardware(&form::fixed::<6>(raw)?, out),
        1082 => time::date(raw, out),
        1083 => time::time(raw, out),
        1114 => time::timestamp(b"", raw, out),
        1184 => time::timestamp(b"+00", raw, out),
        1186 => time::interval(raw, out),
        1266 => time::timetz(raw, out),
        1560 | 1562 => other::bits(raw, out),
        1700 => number::numeric(raw, out),
        2950 => other::uuid(raw, out),
        3802 | 4072 => Err(form::wrong("not of version 1")),
        3904 => container::range(23, raw, out),
        3906 => container::range(1700, raw, out),
        3908 => container::range(1114, raw, out),
        3910 => container::range(1184, raw, out),
        3912 => container::range(1082, raw, out),
        3926 => container::range(20, raw, out),
        4451 => container::multirange(23, raw, out),
        4532 => container::multirange(1700, raw, out),
        4533 => container::multirange(1114, raw, out),
        4534 => container::multirange(1184, raw, out),
        4535 => container::multirange(1082, raw, out),
        4536 => container::multirange(20, raw, out),
        5069 => number::unsigned(u64::from_be_bytes(form::fixed(raw)?), out),
        _ => Err(form::wrong(format!(
            "the binary form of type {base} is not known"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(base: u32, raw: &[u8]) -> String {
        let kind = Type {
            oid: base,
            base,
            modifier: -1,
            kind: Kind::Other,
            element: None,
        };
        let mut out = b"before".to_vec();
        let mut result = match text(&kind, raw, &mut out) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(error) => format!("before{error}"),
        };
        assert!(out.starts_with(b"before"));
        result.split_off("before".len())
    }

    #[test]
    fn numbers() {
        assert_eq!(shown(20, &i64::MIN.to_be_bytes()), "-9223372036854775808");
        assert_eq!(shown(5069, &u64::MAX.to_be_bytes()), "18446744073709551615");
        for number in [0, 7, 10, 99, 100, 1000, 123_456, -1, -10] {
            assert_eq!(shown(23, &i32::to_be_bytes(number)), number.to_string());
        }
        assert_eq!(
            shown(1700, &[0, 2, 0, 0, 0x40, 0, 0, 3, 0, 1, 13, 128]),
            "-1.345"
        );
        assert_eq!(shown(1700, &[0, 0, 0, 0, 0, 0, 0, 2]), "0.00");
        assert_eq!(shown(23, b"12"), "2 bytes where 4 are due");
    }

    #[test]
    fn floats_as_postgresql_rounds_them() {
        let float8 = |number: f64| shown(701, &number.to_be_bytes());
        assert_eq!(float8(0.1), "0.1");
        assert_eq!(float8(-0.0), "-0");
        assert_eq!(float8(1e15), "1e+15");
        assert_eq!(float8(100_000_000_000_000.0), "100000000000000");
        assert_eq!(float8(0.0001), "0.0001");
        assert_eq!(float8(0.00001), "1e-05");
        assert_eq!(float8(5e-324), "5e-324");
        assert_eq!(float8(2.0f64.powi(-24)), "5.960464477539063e-08");
        // Equally near: the even one.
        assert_eq!(
            float8(2_251_799_813_685_247.0 + 0.25),
            "2.2517998136852472e+15"
        );
        assert_eq!(
            float8(2_251_799_813_685_247.0 + 0.75),
            "2.2517998136852478e+15"
        );
        // ...990 lies half-way to the next float.
        assert_eq!(float8(18_014_398_509_481_992.0), "1.8014398509481992e+16");
        assert_eq!(shown(700, &1e6f32.to_be_bytes()), "1e+06");
        assert_eq!(shown(700, &123456f32.to_be_bytes()), "123456");
    }

    #[test]
    fn times() {
        assert_eq!(shown(1082, &(-730_119i32).to_be_bytes()), "0001-01-01");
        assert_eq!(shown(1082, &(-730_120i32).to_be_bytes()), "0001-12-31 BC");
        assert_eq!(
            shown(1184, &(-1i64).to_be_bytes()),
            "1999-12-31 23:59:59.999999+00"
        );
        assert_eq!(shown(1083, &86_400_000_000i64.to_be_bytes()), "24:00:00");
        assert_eq!(
            shown(1083, &(-1i64).to_be_bytes()),
            "a time -1 microseconds after midnight"
        );
    }

    #[test]
    fn every_base_is_known_or_refused() {
        for base in 0..10_000 {
            let kind = Type {
                oid: base,
                base,
                modifier: -1,
                kind: Kind::Other,
                element: None,
            };
            let refusal = format!("the binary form of type {base} is not known");
            assert_eq!(supports(&kind), shown(base, b"") != refusal, "{base}");
        }
    }
}
