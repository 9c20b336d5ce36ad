//! CreateAcls v1–3: SECURITY_DISABLED for each, as a Kafka without an authorizer answers (KIP-140).

use kafka_protocol::{
    ResponseError,
    messages::{CreateAclsRequest, CreateAclsResponse, create_acls_response::AclCreationResult},
    protocol::StrBytes,
};

use crate::api::{Handled, Request};

use super::NO_AUTHORIZER;

pub fn handle(request: Request) -> Handled {
    let body: CreateAclsRequest = request.decode()?;
    let refused = AclCreationResult::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(StrBytes::from_static_str(NO_AUTHORIZER)));
    request.ready(&CreateAclsResponse::default().with_results(vec![refused; body.creations.len()]))
}
