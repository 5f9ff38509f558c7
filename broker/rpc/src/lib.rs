//! Protobuf schemas of what brokers store and exchange, and their generated types.
