"""The binlog of MySQL and MariaDB."""
