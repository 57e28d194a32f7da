"""Topics of Kafka as a source: what Debezium or penstock wrote into them."""
