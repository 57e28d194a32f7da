//! How events are framed, and their integers, all of them little-endian.

use super::{Leave, Result};

pub const HEADER: usize = 19;
const CHECKSUM: usize = 4;

/// Types of events (`EventType` of the reference).
pub mod kind {
    pub const QUERY: u8 = 2;
    pub const ROTATE: u8 = 4;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const TABLE_MAP: u8 = 19;
    pub const WRITE_ROWS_V1: u8 = 23;
    pub const UPDATE_ROWS_V1: u8 = 24;
    pub const DELETE_ROWS_V1: u8 = 25;
    pub const HEARTBEAT: u8 = 27;
    pub const WRITE_ROWS: u8 = 30;
    pub const UPDATE_ROWS: u8 = 31;
    pub const DELETE_ROWS: u8 = 32;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const HEARTBEAT_V2: u8 = 41;
    pub const MARIADB_GTID: u8 = 162;

    /// Whether events of a type say nothing of rows: STOP, INTVAR, RAND, USER_VAR, IGNORABLE,
    /// ROWS_QUERY, PREVIOUS_GTIDS, TRANSACTION_CONTEXT, VIEW_CHANGE, ANNOTATE_ROWS,
    /// BINLOG_CHECKPOINT, GTID_LIST.
    pub fn is_without_rows(kind: u8) -> bool {
        matches!(
            kind,
            3 | 5 | 13 | 14 | 28 | 29 | 35 | 36 | 37 | 160 | 161 | 163
        )
    }
}

/// What every event begins with.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    pub timestamp: u32,
    pub kind: u8,
    pub server_id: u32,
    /// Its end in the binlog file, modulo 2**32.
    pub end: u32,
}

/// An event's header, and what stands between that and its checksum, which is compared.
#[inline]
pub fn open(event: &[u8], checksums: bool) -> Result<(Header, Fields<'_>)> {
    let mut fields = Fields::new(event);
    let header = Header {
        timestamp: fields.four()?,
        kind: fields.byte()?,
        server_id: fields.four()?,
        end: {
            if fields.four()? as usize != event.len() {
                return Err(Leave);
            }
            fields.four()?
        },
    };
    fields.two()?; // flags
    if checksums && header.kind != kind::FORMAT_DESCRIPTION {
        let (covered, sum) = event.split_last_chunk::<CHECKSUM>().ok_or(Leave)?;
        if crc32fast::hash(covered) != u32::from_le_bytes(*sum) {
            return Err(Leave);
        }
        fields = Fields::new(covered.get(HEADER..).ok_or(Leave)?);
    }
    Ok((header, fields))
}

/// Reads fields one after the other, never beyond the bytes that are there.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// All that is left.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(Leave)?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(Leave)?;
        self.bytes = rest;
        Ok(*taken)
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub fn two(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub fn four(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub fn eight(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// An unsigned integer of up to eight bytes.
    #[inline]
    pub fn integer(&mut self, length: usize) -> Result<u64> {
        self.take(length).map(integer)
    }

    /// A length-encoded integer.
    #[inline]
    pub fn packed(&mut self) -> Result<u64> {
        match self.byte()? {
            first @ 0..=0xFA => Ok(first.into()),
            0xFC => self.integer(2),
            0xFD => self.integer(3),
            0xFE => self.integer(8),
            _ => Err(Leave),
        }
    }
}

/// An unsigned integer of up to eight bytes.
#[inline]
pub fn integer(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}
