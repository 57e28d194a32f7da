//! Floats as PostgreSQL's shortest-precise output writes them.
//!
//! Rust gives the number of fewest digits that reads as a float, the nearest of them. PostgreSQL
//! gives the same but for two rare cases: of two that are equally near it takes the even one, and
//! it does not take one half-way to the next float, which only a reader that rounds to even reads
//! as this one.

use std::fmt::{self, Write};

use super::Done;
use super::number::unsigned;

/// Powers of ten that both kinds of float hold exactly.
const TENS: [u32; 8] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000];

pub fn float4(raw: [u8; 4], out: &mut Vec<u8>) -> Done {
    let number = f32::from_be_bytes(raw);
    if special(number.into(), out) {
        return Ok(());
    }
    let size = number.abs();
    let brief = || {
        // The quotient of two exact floats is the nearest float. No two numbers of six digits
        // read as the same one, nor does any lie half-way between two.
        let decimals = TENS.iter().zip(0..);
        let scaled =
            decimals.map(|(&ten, place)| (ten as f32, (size * ten as f32 + 0.5) as u64, place));
        let fit = |&(ten, number, _): &(f32, u64, i32)| number as f32 / ten == size;
        let mut small = scaled.take_while(|&(_, number, _)| number < 1_000_000);
        small.find(fit).map(|(_, number, place)| Decimal {
            number,
            place: -place,
        })
    };
    let decimal = brief().unwrap_or_else(|| {
        let bits = size.to_bits();
        let float = Float::new((bits >> 23) as i32, u64::from(bits & 0x7F_FFFF), 23, 150);
        float.shortest(
            Decimal::of(format_args!("{size:e}")),
            |digits| Decimal::of(format_args!("{size:.digits$e}")),
            |decimal| decimal.spelled().parse() == Ok(size),
        )
    });
    decimal.write(6, out)
}

pub fn float8(raw: [u8; 8], out: &mut Vec<u8>) -> Done {
    let number = f64::from_be_bytes(raw);
    if special(number, out) {
        return Ok(());
    }
    let size = number.abs();
    let brief = || {
        // As above, of numbers of 15 digits.
        let decimals = TENS.iter().zip(0..);
        let scaled =
            decimals.map(|(&ten, place)| (ten.into(), (size * f64::from(ten) + 0.5) as u64, place));
        let fit = |&(ten, number, _): &(f64, u64, i32)| number as f64 / ten == size;
        let mut small = scaled.take_while(|&(_, number, _)| number < 1_000_000_000_000_000);
        small.find(fit).map(|(_, number, place)| Decimal {
            number,
            place: -place,
        })
    };
    let decimal = brief().unwrap_or_else(|| {
        let bits = size.to_bits();
        let float = Float::new((bits >> 52) as i32, bits & 0xF_FFFF_FFFF_FFFF, 52, 1075);
        float.shortest(
            Decimal::of(format_args!("{size:e}")),
            |digits| Decimal::of(format_args!("{size:.digits$e}")),
            |decimal| decimal.spelled().parse() == Ok(size),
        )
    });
    decimal.write(15, out)
}

/// Write the sign, and all of a number that has no digits; whether it was one.
fn special(number: f64, out: &mut Vec<u8>) -> bool {
    if number.is_nan() {
        out.extend_from_slice(b"NaN");
        return true;
    }
    if number.is_sign_negative() {
        out.push(b'-');
    }
    if number.is_infinite() {
        out.extend_from_slice(b"Infinity");
    } else if number == 0.0 {
        out.push(b'0');
    }
    number.is_infinite() || number == 0.0
}

/// `mantissa * 2^exponent`.
struct Float {
    mantissa: u64,
    exponent: i32,
    /// The next float below is at half the distance of the one above.
    closer: bool,
}

impl Float {
    fn new(biased: i32, fraction: u64, fraction_bits: u32, bias: i32) -> Self {
        let hidden = if biased > 0 { 1 << fraction_bits } else { 0 };
        Self {
            mantissa: fraction | hidden,
            exponent: biased.max(1) - bias,
            closer: fraction == 0 && biased > 1,
        }
    }

    /// What PostgreSQL takes, where Rust took `found`.
    ///
    /// `rounded` gives the nearest number with so many digits after the first; `reads` says
    /// whether a number reads as this float.
    fn shortest(
        &self,
        found: Decimal,
        rounded: impl Fn(usize) -> Decimal,
        reads: impl Fn(&Decimal) -> bool,
    ) -> Decimal {
        if !self.is_halfway(&found) {
            return self.even(found, &reads);
        }
        for digits in found.digits()..=17 {
            let nearest = self.even(rounded(digits), &reads);
            let up = Decimal {
                number: nearest.number + 1,
                ..nearest
            };
            let found = [nearest, up]
                .into_iter()
                .find(|d| reads(d) && !self.is_halfway(d));
            if let Some(decimal) = found {
                return decimal;
            }
        }
        found
    }

    /// The even one of two decimals that are equally near, if this is one of such two and the
    /// other reads as this float too.
    fn even(&self, found: Decimal, reads: impl Fn(&Decimal) -> bool) -> Decimal {
        if found.number.is_multiple_of(2) {
            return found;
        }
        let Decimal { number, place } = found;
        let tie = |twice| equal(twice, place, self.mantissa, self.exponent + 1);
        let other = match (tie(2 * number + 1), tie(2 * number - 1)) {
            (true, _) => Decimal {
                number: number + 1,
                place,
            },
            (_, true) => Decimal {
                number: number - 1,
                place,
            },
            _ => return found,
        };
        if reads(&other) && !self.is_halfway(&other) {
            other
        } else {
            found
        }
    }

    /// Whether a decimal is exactly half-way to a neighbour.
    fn is_halfway(&self, Decimal { number, place }: &Decimal) -> bool {
        let Self {
            mantissa,
            exponent,
            closer,
        } = *self;
        let (low, low_exponent) = if closer {
            (4 * mantissa - 1, exponent - 2)
        } else {
            (2 * mantissa - 1, exponent - 1)
        };
        equal(*number, *place, low, low_exponent)
            || equal(*number, *place, 2 * mantissa + 1, exponent - 1)
    }
}

/// Whether `number * 10^place == mantissa * 2^exponent`. Neither is 0, both are below 2^60.
fn equal(number: u64, place: i32, mantissa: u64, exponent: i32) -> bool {
    // 5^26 is above 2^60: what it divides is none of our numbers.
    let Some(power) = 5u128
        .checked_pow(place.unsigned_abs())
        .filter(|&p| p < 1 << 60)
    else {
        return false;
    };
    let (left, right) = if place >= 0 {
        (u128::from(number) * power, mantissa.into())
    } else {
        (number.into(), u128::from(mantissa) * power)
    };
    let (twos, others) = (left.trailing_zeros() as i32, right.trailing_zeros() as i32);
    left >> twos == right >> others && twos + place == others + exponent
}

/// `number * 10^place`; at most 18 digits.
#[derive(Clone, Copy)]
struct Decimal {
    number: u64,
    place: i32,
}

impl Decimal {
    /// Of Rust's own scientific notation, `d.ddde-dd`.
    fn of(text: fmt::Arguments<'_>) -> Self {
        let mut read = Reading {
            number: 0,
            decimals: 0,
            exponent: 0,
            state: State::Whole,
        };
        // Nothing fails that writes to a few integers.
        let _ = read.write_fmt(text);
        let exponent = if matches!(read.state, State::Minus) {
            -read.exponent
        } else {
            read.exponent
        };
        Self {
            number: read.number,
            place: exponent - read.decimals,
        }
    }

    fn digits(&self) -> usize {
        self.number
            .checked_ilog10()
            .map_or(1, |log| log as usize + 1)
    }

    fn spelled(&self) -> String {
        format!("{}e{}", self.number, self.place)
    }

    /// Write it; from the decimal exponent `wide` on with an exponent.
    fn write(self, wide: i32, out: &mut Vec<u8>) -> Done {
        let start = out.len();
        unsigned(self.number, out)?;
        let digits = out.len() - start;
        let exponent = self.place + digits as i32 - 1;
        if (-4..wide).contains(&exponent) {
            if self.place >= 0 {
                out.resize(out.len() + self.place as usize, b'0');
            } else if exponent >= 0 {
                out.insert(start + exponent as usize + 1, b'.');
            } else {
                let lead: &[u8] = match exponent {
                    -1 => b"0.",
                    -2 => b"0.0",
                    -3 => b"0.00",
                    _ => b"0.000",
                };
                out.splice(start..start, lead.iter().copied());
            }
            return Ok(());
        }
        if digits > 1 {
            out.insert(start + 1, b'.');
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.abs() < 10 {
            out.push(b'0');
        }
        unsigned(exponent.unsigned_abs().into(), out)
    }
}

enum State {
    Whole,
    Decimals,
    Plus,
    Minus,
}

/// Takes a number apart as it is written.
struct Reading {
    number: u64,
    decimals: i32,
    exponent: i32,
    state: State,
}

impl Write for Reading {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match (byte, &self.state) {
                (b'.', _) => self.state = State::Decimals,
                (b'e', _) => self.state = State::Plus,
                (b'-', _) => self.state = State::Minus,
                (b'0'..=b'9', State::Whole) => self.digit(byte),
                (b'0'..=b'9', State::Decimals) => {
                    self.digit(byte);
                    self.decimals += 1;
                }
                (b'0'..=b'9', _) => self.exponent = self.exponent * 10 + i32::from(byte - b'0'),
                _ => return Err(fmt::Error),
            }
        }
        Ok(())
    }
}

impl Reading {
    fn digit(&mut self, byte: u8) {
        self.number = self.number * 10 + u64::from(byte - b'0');
    }
}
