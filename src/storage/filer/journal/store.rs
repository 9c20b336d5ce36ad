//! Objects of the journal on the filer.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    names,
    object::{self, Change, Content, Head},
};
use crate::storage::filer::{client::FilerClient, error::FilerError, exclusive::Exclusive};

/// The folder of the journal, and the exclusive way to create names in it.
pub(super) struct Store {
    pub(super) client: Arc<FilerClient>,
    exclusive: Exclusive,
}

/// What came of creating a single.
pub(super) enum Created {
    Done,
    /// The number is somebody else's: records of a gateway that still writes.
    Taken {
        by: String,
    },
    /// Another gateway has taken over here.
    Fenced {
        by: String,
    },
}

/// An object as it was read.
pub(super) struct Read {
    pub(super) head: Head,
    pub(super) changes: Vec<Change>,
    pub(super) fence_of: Option<String>,
    /// The names that it is stored under.
    pub(super) names: Vec<String>,
}

impl Store {
    pub(super) fn new(client: Arc<FilerClient>, exclusive: Exclusive) -> Self {
        Self { client, exclusive }
    }

    /// Creates a single, or finds that an earlier attempt of ours did. After an error its fate is unknown.
    pub(super) async fn create(&self, sequence: u64, object: &Bytes) -> Result<Created, FilerError> {
        let name = names::single(sequence);
        match self.exclusive.create(&self.client, FOLDER, &name, object.clone()).await {
            Ok(()) => Ok(Created::Done),
            Err(FilerError::Exists(_)) => {
                let found = self.client.get(&path(&name), OBJECT_BYTES_MAX).await?;
                // It was merged and removed by whoever has it.
                let Some(found) = found else { return Ok(Created::Taken { by: "another gateway".to_owned() }) };
                if found.bytes == *object {
                    return Ok(Created::Done);
                }
                match object::parse(&found.bytes) {
                    Ok((_, Content::Fence(by))) => Ok(Created::Fenced { by }),
                    Ok((head, _)) => Ok(Created::Taken { by: format!("the gateway of epoch {}", head.epoch) }),
                    Err(reason) => Err(FilerError::Corrupt(format!("{}: {reason}", path(&name)))),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a single can hold these bytes itself.
    pub(super) fn fits_inline(&self, object: &Bytes) -> bool {
        matches!(self.exclusive, Exclusive::Trusted) || object.len() <= INLINE_BYTES_MAX
    }

    pub(super) async fn put(&self, name: &str, object: Bytes) -> Result<(), FilerError> {
        self.client.put_once(&path(name), object, None).await
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), FilerError> {
        self.client.delete(&path(name)).await
    }

    pub(super) async fn names(&self) -> Result<Vec<String>, FilerError> {
        Ok(self.client.list(FOLDER, "").await?.into_iter().map(|entry| entry.name).collect())
    }

    /// An object with its records; none when it is not there (any more).
    pub(super) async fn read(&self, name: &str) -> Result<Option<Read>, FilerError> {
        let Some(found) = self.client.get(&path(name), OBJECT_BYTES_MAX).await? else { return Ok(None) };
        let corrupt = |name: &str, reason: &str| {
            FilerError::Corrupt(format!("{}/{}: {reason}", self.client.folder(), path(name)))
        };
        let (head, content) = object::parse(&found.bytes).map_err(|reason| corrupt(name, reason))?;
        let (body_name, length) = match content {
            Content::Records(changes) => {
                return Ok(Some(Read { head, changes, fence_of: None, names: vec![name.to_owned()] }));
            }
            Content::Fence(owner) => {
                let names = vec![name.to_owned()];
                return Ok(Some(Read { head, changes: Vec::new(), fence_of: Some(owner), names }));
            }
            Content::Body(name, length) => (name, length),
        };
        if !matches!(names::parse(&body_name), Some(names::Name::Body(_))) {
            return Err(corrupt(name, "it names something that is no body"));
        }
        let body = match self.client.get(&path(&body_name), OBJECT_BYTES_MAX).await? {
            Some(body) => body.bytes,
            // Both may have gone meanwhile.
            None if self.client.get(&path(name), OBJECT_BYTES_MAX).await?.is_none() => return Ok(None),
            None => return Err(corrupt(&body_name, "it is missing")),
        };
        match object::parse(&body).map_err(|reason| corrupt(&body_name, reason))? {
            (inner, Content::Records(changes)) if inner == head && body.len() as u64 == length => {
                Ok(Some(Read { head, changes, fence_of: None, names: vec![name.to_owned(), body_name] }))
            }
            _ => Err(corrupt(&body_name, "it is not the body that belongs here")),
        }
    }
}

fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

const FOLDER: &str = "wal";
/// What the filer keeps in its own store rather than on a volume.
const INLINE_BYTES_MAX: usize = 64 << 10;
pub(super) const OBJECT_BYTES_MAX: usize = 1 << 30;
