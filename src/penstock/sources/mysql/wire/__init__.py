"""The binlog and result rows: bytes in, batches out. No I/O."""
