//! InitProducerId v0–5: an id and epoch for an idempotent producer (KIP-98, KIP-360).
//!
//! There are no transactions yet: a transactional id is answered TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which clients
//! take as final, so that they fail at once instead of retrying for a minute.

use kafka_protocol::{
    ResponseError,
    messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId},
};
use tracing::warn;

use crate::api::{Handled, Request, errors::KafkaError};

pub fn handle(request: Request) -> Handled {
    let body: InitProducerIdRequest = request.decode()?;
    if body.transactional_id.is_some() {
        return request.ready(&failed(ResponseError::TransactionalIdAuthorizationFailed));
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

fn failed(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}
