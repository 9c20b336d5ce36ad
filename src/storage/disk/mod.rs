//! Files under the data directory: the default backend.
