//! Partition log over a segment store.
