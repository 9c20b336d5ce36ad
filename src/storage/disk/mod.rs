//! Files under the data directory: the default backend.

mod descriptors;
mod segments;

pub use segments::DiskSegments;
