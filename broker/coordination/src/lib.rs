//! Leases and small versioned documents: the trait, its conformance suite and its implementations.
