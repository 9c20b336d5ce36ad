//! Frames, headers, the guard, and codecs over kafka-protocol.
//!
//! Everything here that reads takes bytes of strangers: it returns an error and never panics, and allocates only what
//! [`guard`] has counted. On an `Err` Kafka closes the connection, without an answer; so does `net`.
//!
//! Bytes after the last field of a request are ignored, as in Kafka: `AbstractRequest.parseRequest` never looks at
//! what its `Readable` still holds.

/// Requests and responses that kafka-protocol knows: decode behind the guard, encode into a frame.
pub mod codec;
/// Fetch by hand: request v4–18, response with the records by reference.
pub mod fetch;
/// A response as chunks of bytes with its length in front.
pub mod frame;
/// Walks a request body before any decoder allocates for it.
pub mod guard;
/// Request headers v0–2, response headers v0–1.
pub mod header;
/// OffsetCommit v0–1 and OffsetFetch v0, which left Kafka's schemas.
pub mod legacy;
/// Metadata by hand: the response.
pub mod metadata;
/// Produce by hand: request v3–13 with the records as slices of the frame, response.
pub mod produce;
/// Topics by name or by id, as the version of a request says.
pub mod topic;

mod reader;
mod writer;

#[cfg(test)]
mod by_hand;
#[cfg(test)]
mod random_requests;
