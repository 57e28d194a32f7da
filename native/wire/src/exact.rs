//! The exact text of a value, whichever form it came in.

use crate::binary;
use crate::error::ProtocolError;
use crate::table::Table;

/// The exact text of a value that came in binary; `column` is its position in the table.
///
/// It is in `bytes`, or `scratch` holds it; what that held before is gone.
pub fn text<'a>(
    table: &Table,
    column: usize,
    bytes: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    let done = match table.columns.get(column) {
        Some(column) => {
            if let Some(text) = binary::borrowed(&column.kind, bytes) {
                return Ok(text);
            }
            scratch.clear();
            binary::text(&column.kind, bytes, scratch)
        }
        None => Err(ProtocolError::nowhere("the table has no such column")),
    };
    match done {
        Ok(()) => Ok(scratch),
        Err(why) => {
            let arity = table.columns.len();
            let message = format!("column {} of {arity}: {why}", column + 1);
            Err(ProtocolError::nowhere(message).table(&table.text))
        }
    }
}
