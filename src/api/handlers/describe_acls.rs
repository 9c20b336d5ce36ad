//! DescribeAcls v1–3: SECURITY_DISABLED, as a Kafka without an authorizer answers (KIP-140).

use kafka_protocol::{
    ResponseError,
    messages::{DescribeAclsRequest, DescribeAclsResponse},
    protocol::StrBytes,
};

use crate::api::{Handled, Request};

pub fn handle(request: Request) -> Handled {
    let _: DescribeAclsRequest = request.decode()?;
    request.ready(
        &DescribeAclsResponse::default()
            .with_error_code(ResponseError::SecurityDisabled.code())
            .with_error_message(Some(StrBytes::from_static_str(NO_AUTHORIZER))),
    )
}

/// `AclApis.handleDescribeAcls`
const NO_AUTHORIZER: &str = "No Authorizer is configured on the broker";
