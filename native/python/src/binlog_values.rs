//! What the decoder of the binlog is told by Python: rows, facts, fields.

use std::sync::Arc;

use penstock_wire::batch::{Fact, Span};
use penstock_wire::binlog::field::Field;
use penstock_wire::binlog::number::Decimal;
use penstock_wire::binlog::state::Facts;
use penstock_wire::tuple::Value;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyInt, PyTuple};

/// Append a row of raw values.
pub fn pack(values: &Bound<'_, PyAny>, into: &mut Vec<u8>) -> PyResult<Option<Span>> {
    if values.is_none() {
        return Ok(None);
    }
    let start = into.len();
    for value in values.try_iter()? {
        let value = value?;
        if value.is_none() {
            Value::Null.pack(into);
        } else if let Ok(text) = value.cast::<PyBytes>() {
            Value::Text(text.as_bytes()).pack(into);
        } else {
            Value::Unchanged.pack(into);
        }
    }
    let span = Span::new(start, into.len());
    span.map(Some)
        .ok_or_else(|| PyValueError::new_err("a row of more than 4 GiB"))
}

/// Facts of the source, by name.
pub fn read_facts(facts: &Bound<'_, PyDict>) -> PyResult<Facts> {
    let read = |(name, fact): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let name: PyBackedStr = name.extract()?;
        let fact = if fact.is_none() {
            Fact::None
        } else if let Ok(number) = fact.cast::<PyInt>() {
            Fact::Number(number.extract()?)
        } else {
            Fact::Text(Arc::from(&*fact.extract::<PyBackedStr>()?))
        };
        Ok((Arc::from(&*name), fact))
    };
    facts.iter().map(read).collect()
}

/// A column's field, by its name and parameters (`penstock.sources.mysql.wire.native`).
pub fn read_field(field: &Bound<'_, PyTuple>) -> PyResult<Field> {
    let name: PyBackedStr = field.get_item(0)?.extract()?;
    let size = |n: usize| -> PyResult<usize> { field.get_item(n)?.extract() };
    let checked = |n: usize, most: usize| match size(n)? {
        size if (1..=most).contains(&size) => Ok(size),
        size => Err(PyValueError::new_err(format!("a size of {size}"))),
    };
    let digits = || match size(1)? {
        digits @ 0..=6 => Ok(digits),
        digits => Err(PyValueError::new_err(format!("{digits} digits"))),
    };
    let texts = |n: usize| -> PyResult<Vec<Vec<u8>>> { field.get_item(n)?.extract() };
    Ok(match &*name {
        "integer" => Field::Integer {
            size: checked(1, 8)?,
            unsigned: field.get_item(2)?.extract()?,
        },
        "float" => Field::Float,
        "double" => Field::Double,
        "decimal" => Decimal::new(size(1)?, size(2)?)
            .map(Field::Decimal)
            .ok_or_else(|| PyValueError::new_err("no such decimal"))?,
        "date" => Field::Date,
        "year" => Field::Year,
        "timestamp" => Field::Timestamp { digits: digits()? },
        "datetime" => Field::DateTime { digits: digits()? },
        "time" => Field::Time { digits: digits()? },
        "text" => Field::Text {
            prefix: checked(1, 4)?,
        },
        "single" => {
            let characters = texts(2)?;
            Field::Single {
                prefix: checked(1, 4)?,
                ascii: (0..128).all(|i| characters.get(i).is_some_and(|c| *c == [i as u8])),
                characters,
            }
        }
        "bytes" => Field::Bytes {
            prefix: checked(1, 4)?,
            size: size(2)?,
        },
        "bit" => Field::Bit {
            size: checked(1, 8)?,
        },
        "enum" => Field::Enum {
            size: checked(1, 2)?,
            labels: texts(2)?,
        },
        "set" => Field::Set {
            size: checked(1, 8)?,
            labels: texts(2)?,
        },
        "json" => Field::Json {
            prefix: checked(1, 4)?,
        },
        "uuid" => Field::Uuid,
        other => return Err(PyValueError::new_err(format!("there is no field {other}"))),
    })
}
