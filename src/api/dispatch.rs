//! From a frame to its handler.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use tracing::debug;

use crate::wire::header;

use super::{Gateway, Handled, Request, RequestError, Session, find, handlers};

/// Runs the first stage of the request in `frame` (without its length prefix).
///
/// An API or version outside the table ends the connection, as in Kafka; only ApiVersions answers any version,
/// since clients begin with their newest (KIP-511).
pub fn dispatch(gateway: &Arc<Gateway>, session: &Arc<Session>, frame: Bytes) -> Handled {
    let mut body = frame;
    let header = header::decode_header(&mut body)?;
    let (row, api) = find(header.api_key).ok_or(RequestError::UnknownApi(header.api_key as i16))?;
    let request = Request {
        api_key: header.api_key,
        version: header.api_version,
        correlation_id: header.correlation_id,
        client_id: header.client_id,
        body,
        gateway: Arc::clone(gateway),
        session: Arc::clone(session),
        _timer: gateway.request_timer(row, api),
    };
    debug!(
        target: "tidegate::request",
        api = api.name,
        version = request.version,
        correlation_id = request.correlation_id,
        client_id = request.client_id(),
        peer = %session.peer,
        "request",
    );
    if !api.handles(request.version) {
        if api.key == ApiKey::ApiVersions {
            return handlers::api_versions::unsupported_version(request);
        }
        return Err(RequestError::UnsupportedVersion { api: api.name, version: request.version });
    }
    (api.handle)(request)
}
