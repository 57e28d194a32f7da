//! The exact text of a value, whichever form it came in.

use crate::error::DecodeError;
use crate::table::{Column, Table};

/// The exact text of a value that came in binary.
///
/// `scratch` holds it; what it held before is gone.
pub(crate) fn text<'a>(
    table: &Table,
    column: &Column,
    bytes: &[u8],
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], DecodeError> {
    scratch.clear();
    let _ = bytes;
    Err(DecodeError {
        table: table.text.clone(),
        message: format!("{}.{}: a value in binary form", table.text, column.name),
        hint: String::new(),
    })
}
