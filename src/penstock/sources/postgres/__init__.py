"""PostgreSQL's write-ahead log, by logical replication."""
