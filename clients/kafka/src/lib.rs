//! The only Rust Kafka client in the tree.
