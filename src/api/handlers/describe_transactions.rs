//! DescribeTransactions v0: there are none (KIP-664). An id that comes twice is answered once.

use indexmap::IndexSet;
use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeTransactionsRequest, DescribeTransactionsResponse, describe_transactions_response::TransactionState,
    },
};

use crate::api::{Handled, Request};

pub fn handle(request: Request) -> Handled {
    let body: DescribeTransactionsRequest = request.decode()?;
    let ids: IndexSet<_> = body.transactional_ids.into_iter().collect();
    let states = ids.into_iter().map(|id| {
        let error = if id.is_empty() { ResponseError::InvalidRequest } else { ResponseError::TransactionalIdNotFound };
        TransactionState::default().with_error_code(error.code()).with_transactional_id(id)
    });
    request.ready(&DescribeTransactionsResponse::default().with_transaction_states(states.collect()))
}
