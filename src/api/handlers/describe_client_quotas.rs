//! DescribeClientQuotas v0–1: none, since there are no quotas (KIP-546). What is asked for is checked as by
//! `ClientQuotasImage.describe`.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeClientQuotasRequest, DescribeClientQuotasResponse, describe_client_quotas_request::ComponentData,
    },
    protocol::StrBytes,
};

use crate::api::{Handled, Request};

use super::{excerpt, text};

pub fn handle(request: Request) -> Handled {
    let body: DescribeClientQuotasRequest = request.decode()?;
    let response = DescribeClientQuotasResponse::default();
    request.ready(&match check(&body.components) {
        Ok(()) => response.with_error_message(Some(StrBytes::new())).with_entries(Some(Vec::new())),
        Err((error, message)) => {
            response.with_error_code(error.code()).with_error_message(Some(text(message))).with_entries(None)
        }
    })
}

fn check(components: &[ComponentData]) -> Result<(), (ResponseError, String)> {
    let invalid = |message: &str| Err((ResponseError::InvalidRequest, message.to_owned()));
    let mut kinds = HashSet::new();
    for component in components {
        let kind = component.entity_type.as_str();
        if kind.is_empty() {
            return invalid("Invalid empty entity type.");
        }
        if kinds.contains(kind) {
            return invalid(&format!("Entity type {kind} cannot appear more than once in the filter."));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            return Err((ResponseError::UnsupportedVersion, format!("Unsupported entity type {}", excerpt(kind))));
        }
        match (component.match_type, component._match.is_some()) {
            (EXACT, true) | (DEFAULT | SPECIFIED, false) => {}
            (EXACT, false) => return invalid("Request specified MATCH_TYPE_EXACT, but set match string to null."),
            (DEFAULT, true) => {
                return invalid("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.");
            }
            (SPECIFIED, true) => {
                return invalid("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.");
            }
            (unknown, _) => return invalid(&format!("Unknown match type {unknown}")),
        }
        kinds.insert(kind);
    }
    if kinds.contains(IP) && kinds.len() > 1 {
        return invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or \
             clientId filter component.",
        );
    }
    Ok(())
}

/// `ClientQuotaEntity`
const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";
/// `DescribeClientQuotasRequest.MATCH_TYPE_*`
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;
