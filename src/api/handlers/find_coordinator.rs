use crate::api::{Handled, Request, RequestError};

pub fn handle(request: Request) -> Handled {
    Err(RequestError::UnknownApi(request.api_key as i16))
}
