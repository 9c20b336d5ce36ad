//! Group coordinator: shards, and the pure machine that they drive.
