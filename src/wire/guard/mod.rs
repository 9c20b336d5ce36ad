//! Walks a request body before any decoder sees it.
//!
//! kafka-protocol allocates what a length on the wire says: four bytes (`7fffffff` as the topic count of a Metadata v0)
//! make it ask for 154 GB, and a failed allocation aborts the process. So each body is first walked along its shape in
//! [`table`]: every length must fit in what remains, a count times the least size of its element too, and what the
//! elements take in memory is added up and checked, before the walk goes on. What passes here decodes without
//! surprises. The walk allocates nothing and nests only as deep as the table does.
//!
//! Where this is stricter than Kafka: lengths below -1, which Kafka takes for null where null is allowed, and the
//! marker of a nullable structure, where Kafka takes any number from 0 for "present", are refused.

mod shape;
mod table;
mod walk;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use thiserror::Error;

use super::reader::Malformed;
use walk::Walk;

/// What one request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardLimits {
    /// Memory of the decoded structures, beside the frame itself.
    pub memory_bytes_max: u64,
}

impl Default for GuardLimits {
    /// Half a million partitions in one OffsetCommit. The decoders themselves never go beyond it.
    fn default() -> Self {
        Self { memory_bytes_max: 64 << 20 }
    }
}

/// What decoding a body will take; the caller charges it to its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardCost {
    /// Memory of the decoded structures. Strings and bytes are slices of the frame and count nothing.
    pub memory_bytes: u64,
    /// Strings that are not UTF-8, which decoding replaces, in a copy of the frame (counted in `memory_bytes`).
    pub malformed_strings: u32,
}

/// A body that no decoder should see; Kafka closes the connection.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GuardError {
    #[error("{api_key:?} version {version} is not served")]
    Unserved { api_key: ApiKey, version: i16 },
    #[error("{api_key:?} version {version}: {field} before byte {position}: {source}")]
    Malformed { api_key: ApiKey, version: i16, field: &'static str, position: usize, source: Malformed },
}

/// Checks a request body (without its header) and says what decoding it will take.
///
/// Bytes after the last field are ignored, as in Kafka.
pub fn check(api_key: ApiKey, version: i16, body: &[u8], limits: &GuardLimits) -> Result<GuardCost, GuardError> {
    let mut walk = Walk::new(request(api_key, version)?, version, body, limits);
    walk.run()?;
    Ok(walk.cost())
}

/// A copy of a body that [`check`] passed, with U+FFFD in place of malformed UTF-8, as Java decodes strings.
pub(super) fn repair(api_key: ApiKey, version: i16, body: &[u8]) -> Result<Bytes, GuardError> {
    let mut walk = Walk::new(request(api_key, version)?, version, body, &GuardLimits::default()).repairing();
    walk.run()?;
    Ok(walk.repaired())
}

fn request(api_key: ApiKey, version: i16) -> Result<&'static shape::Request, GuardError> {
    table::REQUESTS
        .iter()
        .copied()
        .find(|request| request.api_key == api_key && request.versions.contains(version))
        .ok_or(GuardError::Unserved { api_key, version })
}

#[cfg(test)]
mod tests;
