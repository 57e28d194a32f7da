//! PostgreSQL's replication stream and COPY data, and the binlog of MySQL and MariaDB: bytes in,
//! packed batches out. No I/O.
//!
//! The readable reference of all of this is Python, in `penstock.sources.postgres.wire`,
//! `penstock.sources.mysql.wire` and `penstock.formats`; both give the same changes and the same bytes.

#![forbid(unsafe_code)]

pub mod arrow;
pub mod assembly;
pub mod batch;
pub mod binary;
pub mod binlog;
pub mod copy;
pub mod debezium;
pub mod decoder;
pub mod error;
pub mod exact;
pub mod frames;
mod json;
mod json_frame;
pub mod json_lines;
mod json_row;
pub mod loads;
pub mod lsn;
mod messages;
pub mod projection;
mod reader;
mod rows;
mod scan;
pub mod table;
pub mod transaction;
pub mod tuple;
