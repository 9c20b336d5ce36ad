//! DeleteAcls v1–3: SECURITY_DISABLED for each filter, as a Kafka without an authorizer answers (KIP-140).

use kafka_protocol::{
    ResponseError,
    messages::{DeleteAclsRequest, DeleteAclsResponse, delete_acls_response::DeleteAclsFilterResult},
    protocol::StrBytes,
};

use crate::api::{Handled, Request};

use super::NO_AUTHORIZER;

pub fn handle(request: Request) -> Handled {
    let body: DeleteAclsRequest = request.decode()?;
    let refused = DeleteAclsFilterResult::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(StrBytes::from_static_str(NO_AUTHORIZER)));
    request.ready(&DeleteAclsResponse::default().with_filter_results(vec![refused; body.filters.len()]))
}
