//! Names of transactions, as the events have them that they begin with.

use super::event::{Fields, Header};
use super::{Leave, Result};

const STANDALONE: u8 = 1;
const GROUP_COMMIT: u8 = 2;
const PREPARES: u8 = 64;

/// A transaction's name: a source, and its number there. MySQL's source is `uuid:`, MariaDB's
/// `domain-server-`; that of a transaction without a name is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gtid {
    pub source: String,
    pub number: u64,
    /// When it was committed where it came from, in µs since 1970; 0 where not told.
    pub committed_us: u64,
    /// Whether it ends by an event of its own, for all that is known here.
    pub explicit: bool,
}

impl Gtid {
    /// As it is written.
    pub fn name(&self) -> String {
        format!("{}{}", self.source, self.number)
    }

    /// Read MySQL's event.
    pub fn mysql(fields: &mut Fields<'_>, anonymous: bool) -> Result<Self> {
        fields.byte()?;
        let uuid: [u8; 16] = fields.array()?;
        let number = fields.eight()?;
        let mut gtid = Self {
            source: String::new(),
            number: 0,
            committed_us: 0,
            explicit: false,
        };
        if !anonymous {
            if number == 0 || number >> 63 != 0 {
                return Err(Leave);
            }
            gtid.source = uuid_text(uuid);
            gtid.source.push(':');
            gtid.number = number;
        }
        if fields.rest().len() < 17 || fields.byte()? != 2 {
            return Ok(gtid); // no logical clock, before MySQL 5.7
        }
        fields.take(16)?;
        if fields.rest().len() < 7 {
            return Ok(gtid);
        }
        gtid.committed_us = fields.integer(7)?;
        if gtid.committed_us >> 55 != 0 {
            gtid.committed_us = fields.integer(7)?; // it was committed elsewhere before
        }
        Ok(gtid)
    }

    /// Read MariaDB's event; one that prepares an XA transaction is left.
    pub fn mariadb(fields: &mut Fields<'_>, header: &Header) -> Result<Self> {
        let number = fields.eight()?;
        let domain = fields.four()?;
        let flags = fields.byte()?;
        if flags & PREPARES != 0 {
            return Err(Leave);
        }
        if flags & GROUP_COMMIT != 0 {
            fields.take(8)?;
        }
        Ok(Self {
            source: format!("{domain}-{}-", header.server_id),
            number,
            committed_us: 0,
            explicit: flags & STANDALONE == 0,
        })
    }
}

/// A UUID as it is written.
pub fn uuid_text(bytes: [u8; 16]) -> String {
    const SIGNS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.into_iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([byte >> 4, byte & 15].map(|nibble| char::from(SIGNS[usize::from(nibble)])));
    }
    text
}
