//! The Kafka wire protocol, both directions, and views of record batches. No IO, no await.
