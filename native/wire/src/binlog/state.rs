//! What a decoder of the binlog remembers: tables, the open transaction, those that were read.

use std::sync::Arc;

use super::rows::Reader;
use crate::batch::Fact;
use crate::table::Table;
use crate::transaction::Noted;

/// Facts of the source, by name.
pub type Facts = Vec<(Arc<str>, Fact)>;

/// What is known of a table's description.
#[derive(Debug)]
pub enum Layout {
    /// The table is not wanted.
    Unwanted,
    /// Its rows are read by the reference.
    Left,
    Rows(Box<Reading>),
}

/// How a table's rows are read.
#[derive(Debug)]
pub struct Reading {
    pub rows: Reader,
    pub noted: Noted,
    /// Whether this is how its rows were read last, so that there is no news to tell.
    pub current: bool,
}

impl Reading {
    /// `table`: what goes on.
    pub fn new(table: &Arc<Table>, rows: Reader) -> Self {
        Self {
            rows,
            noted: Noted::new(Arc::clone(table)),
            current: false,
        }
    }
}

/// Transactions that were read, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Empty for such as have no name.
    pub source: String,
    pub first: u64,
    pub last: u64,
    /// The place behind the last of them.
    pub file: Arc<str>,
    pub position: u64,
    /// Which commit the last of them is, counted from 1.
    pub number: u64,
}

/// The transaction that is open.
#[derive(Debug, Clone)]
pub struct Open {
    pub source: String,
    pub number: u64,
    /// Whether it ends by an event of its own.
    pub explicit: bool,
}

/// Names of the facts that transactions have of their own.
#[derive(Debug)]
pub struct Names {
    pub server_id: Arc<str>,
    pub file: Arc<str>,
    pub pos: Arc<str>,
    pub gtid: Arc<str>,
    pub thread: Arc<str>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            server_id: Arc::from("server_id"),
            file: Arc::from("file"),
            pos: Arc::from("pos"),
            gtid: Arc::from("gtid"),
            thread: Arc::from("thread"),
        }
    }
}
