//! PostgreSQL's text form of arrays, of those that a list can hold: of one dimension, counted
//! from 1.
//!
//! Form: the manual's *Array Input and Output Syntax*.

use super::column::{Column, Unfit};
use crate::table::Type;

const BOX: u32 = 603;

/// What stands between elements: of built-in types only box has commas in its own text.
pub(super) fn delimiter(element: &Type) -> u8 {
    if element.base == BOX { b';' } else { b',' }
}

/// Append an array's elements to their column. On an error some of them may have been appended.
///
/// What is no such array, and what the column cannot hold, is a misfit.
pub(super) fn read(text: &[u8], delimiter: u8, elements: &mut Column) -> Result<(), Unfit> {
    let inner = text
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}"));
    let mut rest = inner.ok_or(Unfit::Misfit)?;
    if rest.is_empty() {
        return Ok(());
    }
    let mut unescaped = Vec::new();
    loop {
        rest = match rest.strip_prefix(b"\"") {
            Some(quoted) => {
                let (value, behind) = unquote(quoted, &mut unescaped).ok_or(Unfit::Misfit)?;
                store(elements, value)?;
                behind
            }
            None => {
                let end = rest.iter().position(|&byte| byte == delimiter);
                let (value, behind) = rest.split_at(end.unwrap_or(rest.len()));
                if value.is_empty() || value.iter().any(|byte| b"{}\"\\".contains(byte)) {
                    return Err(Unfit::Misfit);
                }
                if value == b"NULL" {
                    elements.null();
                } else {
                    store(elements, value)?;
                }
                behind
            }
        };
        match rest.split_first() {
            None => return Ok(()),
            Some((&byte, behind)) if byte == delimiter => rest = behind,
            Some(_) => return Err(Unfit::Misfit),
        }
    }
}

fn store(elements: &mut Column, value: &[u8]) -> Result<(), Unfit> {
    elements.text(value).map_err(|unfit| match unfit {
        Unfit::TooLarge => unfit,
        _ => Unfit::Misfit,
    })
}

/// The value up to the next quote, and what is behind that; None where there is none.
fn unquote<'a: 'b, 'b>(quoted: &'a [u8], out: &'b mut Vec<u8>) -> Option<(&'b [u8], &'a [u8])> {
    let stop = quoted
        .iter()
        .position(|&byte| byte == b'"' || byte == b'\\')?;
    let (plain, mut rest) = quoted.split_at(stop);
    if let Some(behind) = rest.strip_prefix(b"\"") {
        return Some((plain, behind));
    }
    out.clear();
    out.extend_from_slice(plain);
    loop {
        rest = match rest {
            [b'"', behind @ ..] => return Some((out, behind)),
            [b'\\', escaped, behind @ ..] => {
                out.push(*escaped);
                behind
            }
            [b'\\'] | [] => return None,
            [byte, behind @ ..] => {
                out.push(*byte);
                behind
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_schema::{DataType, Field};

    use super::*;
    use crate::table::Kind;

    fn kind(base: u32, element: Option<Box<Type>>) -> Type {
        Type {
            oid: base,
            base,
            modifier: -1,
            kind: Kind::Other,
            element,
        }
    }

    #[test]
    fn arrays_that_a_list_holds() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
        for (base, text, expected) in [
            (25, "{}", &[][..]),
            (
                25,
                "{a,NULL,\"NULL\",\"\",\"a,b\"}",
                &[Some("a"), None, Some("NULL"), Some(""), Some("a,b")],
            ),
            (
                25,
                r#"{"q\"q","b\\s"," "," x"}"#,
                &[Some("q\"q"), Some("b\\s"), Some(" "), Some(" x")],
            ),
            (603, "{(1,1),(0,0);NULL}", &[Some("(1,1),(0,0)"), None]),
        ] {
            let source = kind(0, Some(Box::new(kind(base, None))));
            let mut column = Column::new(&list, &source, 1).unwrap();
            assert_eq!(column.text(text.as_bytes()), Ok(()), "{text}");
            let array = column.finish().unwrap();
            let elements = array.as_list::<i32>().value(0);
            assert_eq!(
                elements.as_string::<i32>().iter().collect::<Vec<_>>(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn arrays_that_no_list_holds_leave_nothing_behind() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
        let source = kind(0, Some(Box::new(kind(23, None))));
        let mut column = Column::new(&list, &source, 1).unwrap();
        for text in [
            "",
            "{",
            "}",
            "{1",
            "{1}}",
            "{1,}",
            "{,1}",
            "{1,x}",
            "{{1},{2}}",
            "[0:1]={5,6}",
            "{1}{2}",
            "{\"1}",
            "{\"1\"2}",
            "{\"1\\",
            "{1;2}",
            "{1} ",
            "{1,\"\\",
        ] {
            assert_eq!(column.text(text.as_bytes()), Err(Unfit::Misfit), "{text}");
        }
        assert_eq!(column.text(b"{7}"), Ok(()));
        let array = column.finish().unwrap();
        assert_eq!((array.len(), array.as_list::<i32>().values().len()), (1, 1));
    }
}
