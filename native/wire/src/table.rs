//! The shape of a table, as far as decoding and encoding need it.

/// What a type is to formats and sinks; the same words as Python's `penstock.model.Kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Integer,
    Float,
    Numeric,
    Text,
    Bytes,
    Json,
    Uuid,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Enum,
    Array,
    Other,
}

impl Kind {
    /// The kind of that name (`penstock.model.Kind.value`).
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "float" => Self::Float,
            "numeric" => Self::Numeric,
            "text" => Self::Text,
            "bytes" => Self::Bytes,
            "json" => Self::Json,
            "uuid" => Self::Uuid,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            "interval" => Self::Interval,
            "enum" => Self::Enum,
            "array" => Self::Array,
            "other" => Self::Other,
            _ => return None,
        })
    }
}

/// A column's type: `penstock.model.Type` without its Python parts.
///
/// `base` is the OID of the built-in type whose values it has: its own, or of a domain the one
/// below it; 0 for a type that is not built in (an enum's values are its labels).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    pub oid: u32,
    pub base: u32,
    pub modifier: i32,
    pub kind: Kind,
    pub element: Option<Box<Type>>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Type,
}

/// A version of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Differs between any two versions, whoever made them.
    pub handle: u32,
    pub oid: u32,
    pub text: String,
    pub columns: Vec<Column>,
    /// Positions of the key's columns in key order; empty when there is no key.
    pub key: Vec<usize>,
}
