//! InitProducerId v0–5: an id and epoch for an idempotent producer (KIP-98, KIP-360).
//!
//! There are no transactions yet: a transactional id is answered TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which clients
//! take as final, so that they fail at once instead of retrying for a minute. An empty one is INVALID_REQUEST, and so is a
//! producer id without its epoch or the reverse (KIP-360).

use kafka_protocol::{
    ResponseError,
    messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId},
};
use tracing::warn;

use crate::api::{Handled, Request, errors::KafkaError};

pub fn handle(request: Request) -> Handled {
    let body: InitProducerIdRequest = request.decode()?;
    if let Some(error) = refusal(&body) {
        return request.ready(&failed(error));
    }
    request.alone(|request| async move {
        match request.broker().next_producer_id().await {
            Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
            Err(error) => {
                warn!(%error, "cannot take a producer id");
                failed(error.kafka())
            }
        }
    })
}

/// In Kafka's order: whether the client may use the id, then the producer, then the id itself.
fn refusal(body: &InitProducerIdRequest) -> Option<ResponseError> {
    let has_id = body.producer_id.0 != NO_PRODUCER_ID;
    let has_epoch = body.producer_epoch != NO_PRODUCER_EPOCH;
    match &body.transactional_id {
        Some(id) if !id.is_empty() => Some(ResponseError::TransactionalIdAuthorizationFailed),
        Some(_) => Some(ResponseError::InvalidRequest),
        None if has_id != has_epoch => Some(ResponseError::InvalidRequest),
        None => None,
    }
}

fn failed(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}

/// `RecordBatch.NO_PRODUCER_ID`
const NO_PRODUCER_ID: i64 = -1;
/// `RecordBatch.NO_PRODUCER_EPOCH`
const NO_PRODUCER_EPOCH: i16 = -1;

#[cfg(test)]
mod tests {
    use kafka_protocol::{messages::TransactionalId, protocol::StrBytes};

    use super::*;

    fn asks(transactional_id: Option<&'static str>, id: i64, epoch: i16) -> Option<ResponseError> {
        let transactional_id = transactional_id.map(|id| TransactionalId(StrBytes::from_static_str(id)));
        let body = InitProducerIdRequest::default().with_transactional_id(transactional_id);
        refusal(&body.with_producer_id(ProducerId(id)).with_producer_epoch(epoch))
    }

    #[test]
    fn half_a_producer_and_an_empty_id_are_refused() {
        assert_eq!(asks(None, -1, -1), None);
        assert_eq!(asks(None, 7, 0), None);
        assert_eq!(asks(None, 7, -1), Some(ResponseError::InvalidRequest));
        assert_eq!(asks(None, -1, 0), Some(ResponseError::InvalidRequest));
        assert_eq!(asks(Some(""), -1, -1), Some(ResponseError::InvalidRequest));
        assert_eq!(asks(Some("t"), 7, -1), Some(ResponseError::TransactionalIdAuthorizationFailed));
    }
}
