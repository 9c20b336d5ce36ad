//! ListTransactions v0–2: there are none. KIP-664, KIP-994 (v1: by duration), KIP-1152 (v2: by a regular expression).

use indexmap::IndexSet;
use kafka_protocol::{
    ResponseError,
    messages::{ListTransactionsRequest, ListTransactionsResponse},
    protocol::StrBytes,
};
use regex::RegexBuilder;

use crate::api::{Handled, Request};

pub fn handle(request: Request) -> Handled {
    let body: ListTransactionsRequest = request.decode()?;
    let response = ListTransactionsResponse::default();
    if body.transactional_id_pattern.is_some_and(|pattern| !is_regular_expression(&pattern)) {
        return request.ready(&response.with_error_code(ResponseError::InvalidRegularExpression.code()));
    }
    let unknown: IndexSet<StrBytes> =
        body.state_filters.into_iter().filter(|state| !STATES.contains(&state.as_str())).collect();
    request.ready(&response.with_unknown_state_filters(unknown.into_iter().collect()))
}

fn is_regular_expression(pattern: &str) -> bool {
    pattern.len() <= PATTERN_BYTES_MAX && RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build().is_ok()
}

/// `TransactionState.ALL_STATES`
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];
/// As long as an id may be.
const PATTERN_BYTES_MAX: usize = 32 * 1024;
const COMPILED_BYTES_MAX: usize = 256 * 1024;
