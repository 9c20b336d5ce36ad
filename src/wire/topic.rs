use bytes::{BufMut, BytesMut};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{
    codec::EncodeError,
    writer::{self, Form},
};

/// How a request names a topic: Produce and Fetch carry the name up to version 12 and the id (KIP-516) from 13.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicKey {
    Name(StrBytes),
    Id(Uuid),
}

impl TopicKey {
    /// The name, when the request came with one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Id(_) => None,
        }
    }

    pub(super) fn put(&self, out: &mut BytesMut, form: Form, by_id: bool) -> Result<(), EncodeError> {
        match (self, by_id) {
            (Self::Name(name), false) => writer::put_string(out, form, name),
            (Self::Id(id), true) => {
                out.put_slice(id.as_bytes());
                Ok(())
            }
            _ => Err(EncodeError::TopicKey { by_id }),
        }
    }
}
