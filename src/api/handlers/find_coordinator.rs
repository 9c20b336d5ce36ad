//! FindCoordinator v0–6: who coordinates a group or a transactional id. KIP-98 (v1: key types), KIP-699 (v4: several
//! keys), KIP-890 (v5), KIP-932 (v6: share groups).
//!
//! There is one broker, so it is always this one, also for transactional ids: InitProducerId then says that there are
//! no transactions. A key that comes twice is answered once. Share groups do not exist: INVALID_REQUEST, as for key types that nobody knows.

use indexmap::IndexSet;
use kafka_protocol::{
    ResponseError,
    messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator},
    protocol::StrBytes,
};

use crate::{
    api::{Handled, Request},
    broker::Broker,
};

use super::{INVALID_REQUEST, text};

pub fn handle(request: Request) -> Handled {
    let body: FindCoordinatorRequest = request.decode()?;
    let broker = request.broker();
    if request.version >= FIRST_WITH_SEVERAL_KEYS {
        let keys: IndexSet<_> = body.coordinator_keys.into_iter().collect();
        let coordinators = keys.into_iter().map(|key| find(broker, body.key_type, key)).collect();
        return request.ready(&FindCoordinatorResponse::default().with_coordinators(coordinators));
    }
    let found = find(broker, body.key_type, body.key);
    // Kafka spells success out where it answers for a single key.
    let message = if found.error_code == 0 { Some(StrBytes::from_static_str("NONE")) } else { found.error_message };
    request.ready(
        &FindCoordinatorResponse::default()
            .with_error_code(found.error_code)
            .with_error_message(message)
            .with_node_id(found.node_id)
            .with_host(found.host)
            .with_port(found.port),
    )
}

fn find(broker: &Broker, key_type: i8, key: StrBytes) -> Coordinator {
    let found = Coordinator::default().with_key(key);
    if !matches!(key_type, GROUP | TRANSACTION) {
        return found
            .with_error_code(ResponseError::InvalidRequest.code())
            .with_error_message(Some(StrBytes::from_static_str(INVALID_REQUEST)))
            .with_node_id(BrokerId(-1))
            .with_port(-1);
    }
    let advertised = broker.advertised();
    found
        .with_node_id(BrokerId(broker.node_id()))
        .with_host(text(&advertised.host))
        .with_port(i32::from(advertised.port))
}

const FIRST_WITH_SEVERAL_KEYS: i16 = 4;

/// `FindCoordinatorRequest.CoordinatorType`
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
