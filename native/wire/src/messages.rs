//! What a walsender sends, but for the rows: keepalives, and pgoutput's messages.
//!
//! Facts: PostgreSQL manual, *Streaming Replication Protocol* and *Logical Replication Message
//! Formats*, protocol version 1.

use std::collections::HashSet;

use crate::error::ProtocolError;
use crate::reader::Reader;

/// Where the message begins in an XLogData frame: after `w`, start, end and clock.
pub const XLOG_HEADER: usize = 25;

/// PostgreSQL counts microseconds from 2000-01-01 UTC; this is that moment since 1970.
const EPOCH_US: i64 = 946_684_800_000_000;
const YEAR_1_US: i64 = -62_135_596_800_000_000;
const YEAR_10000_US: i64 = 253_402_300_800_000_000;

/// Microseconds since 1970 of a time stamp, which must be of a year that a calendar has.
fn moment(since_2000: i64, offset: usize) -> Result<i64, ProtocolError> {
    since_2000
        .checked_add(EPOCH_US)
        .filter(|moment| (YEAR_1_US..YEAR_10000_US).contains(moment))
        .ok_or_else(|| ProtocolError::new(format!("{since_2000} is no time stamp"), offset))
}

/// Read a `k` frame: all before that position has been sent.
pub fn keepalive(payload: &[u8]) -> Result<u64, ProtocolError> {
    let mut reader = Reader::new(payload, 1);
    let numbers: [u8; 17] = reader.numbers()?;
    reader.end()?;
    let mut fields = Reader::new(&numbers, 0);
    let wal_end = fields.position()?;
    moment(i64::from_be_bytes(fields.numbers()?), 9)?;
    Ok(wal_end)
}

/// A transaction begins; it is sent whole, after its commit.
#[derive(Debug)]
pub struct Begin {
    pub commit_lsn: u64,
    pub committed_us: i64,
    pub xid: u32,
}

impl Begin {
    /// Read what follows `B`.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let numbers: [u8; 20] = reader.numbers()?;
        let mut fields = Reader::new(&numbers, 0);
        let commit_lsn = fields.position()?;
        let committed = i64::from_be_bytes(fields.numbers()?);
        let committed_us = moment(committed, reader.at() - 12)?;
        Ok(Self {
            commit_lsn,
            committed_us,
            xid: fields.unsigned()?,
        })
    }
}

/// A transaction ends. Reading from `end_lsn` on does not show it again.
#[derive(Debug)]
pub struct Commit {
    pub commit_lsn: u64,
    pub end_lsn: u64,
}

impl Commit {
    /// Read what follows `C`.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let at = reader.at();
        let numbers: [u8; 25] = reader.numbers()?;
        let mut fields = Reader::new(&numbers, 0);
        let flags = fields.byte()?;
        if flags != 0 {
            let message = format!("COMMIT has unknown flags {flags:#x}");
            return Err(ProtocolError::new(message, at));
        }
        Ok(Self {
            commit_lsn: fields.position()?,
            end_lsn: fields.position()?,
        })
    }
}

/// Read what follows `R` and check it; the relation's OID.
pub fn relation(reader: &mut Reader<'_>) -> Result<u32, ProtocolError> {
    let oid = reader.unsigned()?;
    let schema = match reader.text()? {
        "" => "pg_catalog",
        schema => schema,
    };
    let name = reader.text()?;
    let identity = reader.byte()?;
    if !b"dnfi".contains(&identity) {
        let message = format!("unknown replica identity {identity}");
        return Err(ProtocolError::new(message, reader.at() - 1));
    }
    let arity = reader.short()?;
    let mut names = HashSet::new();
    let mut twice = false;
    for _ in 0..arity {
        reader.byte()?;
        twice |= !names.insert(reader.text()?);
        reader.numbers::<8>()?;
    }
    if twice {
        let message = format!("{schema}.{name} has two columns of one name");
        return Err(ProtocolError::new(message, reader.at()));
    }
    Ok(oid)
}

/// Tables were emptied by one statement.
#[derive(Debug)]
pub struct Truncate<'a> {
    oids: &'a [u8],
    pub cascade: bool,
    pub restart_identity: bool,
}

impl<'a> Truncate<'a> {
    /// Read what follows `T`.
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self, ProtocolError> {
        let count = reader.unsigned()?;
        let flags = reader.byte()?;
        if flags > 3 {
            let message = format!("TRUNCATE has unknown flags {flags:#x}");
            return Err(ProtocolError::new(message, reader.at() - 1));
        }
        let oids = reader.rest();
        if u64::from(count) * 4 != oids.len() as u64 {
            let message = format!("TRUNCATE announces {count} tables");
            return Err(ProtocolError::new(message, reader.at()));
        }
        reader.bytes(oids.len())?;
        Ok(Self {
            oids,
            cascade: flags & 1 != 0,
            restart_identity: flags & 2 != 0,
        })
    }

    pub fn oids(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.oids
            .as_chunks::<4>()
            .0
            .iter()
            .map(|oid| u32::from_be_bytes(*oid))
    }
}

/// What `pg_logical_emit_message` wrote.
#[derive(Debug)]
pub struct LogicalMessage<'a> {
    pub transactional: bool,
    pub lsn: u64,
    pub prefix: &'a str,
    pub content: &'a [u8],
}

impl<'a> LogicalMessage<'a> {
    /// Read what follows `M`.
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self, ProtocolError> {
        let flags = reader.byte()?;
        if flags > 1 {
            let message = format!("MESSAGE has unknown flags {flags:#x}");
            return Err(ProtocolError::new(message, reader.at() - 1));
        }
        let lsn = reader.position()?;
        if lsn == 0 {
            let message = "MESSAGE stands nowhere in the log";
            return Err(ProtocolError::new(message, reader.at() - 8));
        }
        let prefix = reader.text()?;
        let length = reader.unsigned()?;
        Ok(Self {
            transactional: flags == 1,
            lsn,
            prefix,
            content: reader.bytes(length as usize)?,
        })
    }
}

/// Read what follows `O` (where a replicated transaction came from); nobody asks for it.
pub fn check_origin(reader: &mut Reader<'_>) -> Result<(), ProtocolError> {
    reader.position()?;
    reader.text()?;
    Ok(())
}

/// Read what follows `Y` (a type's name); types are described by the catalog's facts.
pub fn check_type(reader: &mut Reader<'_>) -> Result<(), ProtocolError> {
    reader.unsigned()?;
    reader.text()?;
    reader.text()?;
    Ok(())
}
