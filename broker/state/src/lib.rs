//! `ottla_core::table::Table` on RocksDB. The only crate that knows rocksdb.
