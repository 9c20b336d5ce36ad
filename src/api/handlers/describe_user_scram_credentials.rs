//! DescribeUserScramCredentials v0: no user has any (KIP-554).

use indexmap::IndexMap;
use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
        describe_user_scram_credentials_response::DescribeUserScramCredentialsResult,
    },
    protocol::StrBytes,
};

use crate::api::{Handled, Request};

use super::{excerpt, text};

pub fn handle(request: Request) -> Handled {
    let body: DescribeUserScramCredentialsRequest = request.decode()?;
    // No users are all users.
    let mut times: IndexMap<StrBytes, usize> = IndexMap::new();
    for user in body.users.unwrap_or_default() {
        *times.entry(user.name).or_default() += 1;
    }
    let results = times.into_iter().map(|(user, times)| {
        let name = excerpt(&user);
        let (error, message) = if times > 1 {
            let message =
                format!("Cannot describe SCRAM credentials for the same user twice in a single request: {name}");
            (ResponseError::DuplicateResource, message)
        } else {
            let message = format!("Attempt to describe a user credential that does not exist: {name}");
            (ResponseError::ResourceNotFound, message)
        };
        DescribeUserScramCredentialsResult::default()
            .with_user(user)
            .with_error_code(error.code())
            .with_error_message(Some(text(message)))
    });
    request.ready(
        &DescribeUserScramCredentialsResponse::default()
            .with_error_message(Some(StrBytes::new()))
            .with_results(results.collect()),
    )
}
