//! The binlog of MySQL and MariaDB: events in, packed batches out. No I/O.
//!
//! The reference is Python, in `penstock.sources.mysql.wire`. What every transaction consists of is
//! decoded here; an event that is rare, or that anything is wrong with, is left to the reference as
//! if it had not been looked at ([`Leave`]), which also finds the words for what is wrong. So this
//! decoder may refuse what it likes, but must not take what the reference refuses.

mod clock;
pub mod decoder;
mod event;
pub mod field;
mod gtid;
mod json;
pub mod number;
pub mod rows;
pub mod state;

/// An event is left to the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave;

type Result<T> = std::result::Result<T, Leave>;
