//! A decoded header with its body, and what a handler makes of it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use kafka_protocol::{
    messages::ApiKey,
    protocol::{Decodable, Encodable, StrBytes},
};

use crate::{
    broker::Broker,
    metrics::{Metrics, RequestTimer},
    wire::{
        codec::{self, DecodeError, EncodeError},
        frame::ResponseFrame,
    },
};

use super::{Gateway, Session};

/// One request, on its way to its handler.
pub struct Request {
    pub api_key: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
    pub body: Bytes,
    pub gateway: Arc<Gateway>,
    pub session: Arc<Session>,
    /// Observes, when the request is dropped, how long it took from dispatch to its encoded reply.
    pub(super) _timer: Option<RequestTimer>,
}

/// What a handler answers in its first, synchronous stage.
pub enum Outcome {
    /// The reply.
    Ready(ResponseFrame),
    /// The work has its place in a queue; requests behind it may be dispatched before it is answered.
    Pending(BoxFuture<'static, Result<ResponseFrame, RequestError>>),
    /// Begins when everything before it was answered, and is answered before anything behind it is decoded:
    /// what Kafka does with every request.
    Alone(BoxFuture<'static, Result<ResponseFrame, RequestError>>),
    /// Produce with acks=0.
    NoReply,
}

/// A reply that waits for its turn.
pub enum Reply {
    Ready(Option<ResponseFrame>),
    Waiting(BoxFuture<'static, Result<ResponseFrame, RequestError>>),
}

/// A handler's first stage.
pub type Handled = Result<Outcome, RequestError>;

/// Why a request gets no reply but the end of its connection, as in Kafka's `SocketServer`.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the request cannot be decoded: {0}")]
    Malformed(#[from] DecodeError),
    #[error("the request header cannot be decoded: {0}")]
    Header(#[from] crate::wire::header::HeaderError),
    #[error("API key {0} is not known")]
    UnknownApi(i16),
    #[error("version {version} of {api} is not supported")]
    UnsupportedVersion { api: &'static str, version: i16 },
    #[error("a produce without acknowledgement failed: {0}")]
    UnacknowledgedFailure(String),
    #[error("the reply cannot be encoded: {0}")]
    Unencodable(#[from] EncodeError),
    #[error("the request was answered already")]
    NoReply,
}

impl Request {
    pub fn broker(&self) -> &Arc<Broker> {
        &self.gateway.broker
    }

    pub fn metrics(&self) -> &Metrics {
        &self.gateway.metrics
    }

    /// The client's id as Kafka has it where none was sent: empty.
    pub fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or("")
    }

    /// The client's address as DescribeGroups shows it: Java's `InetAddress.toString` without a host name.
    pub fn client_host(&self) -> String {
        self.session.host.get_or_init(|| format!("/{}", self.session.peer.ip())).clone()
    }

    /// Decodes the body, after the guard has walked it.
    pub fn decode<T: Decodable>(&self) -> Result<T, RequestError> {
        Ok(codec::decode_request(self.api_key, self.version, &mut self.body.clone())?)
    }

    /// Lets go of the frame's bytes, which what was decoded does not need: a request may wait for minutes.
    pub fn release_frame(&mut self) {
        self.body = Bytes::new();
        // A slice of the frame as well.
        self.client_id = self.client_id.take().map(|id| StrBytes::from_string(id.as_str().to_owned()));
    }

    /// Encodes `response` behind the header that belongs to this request.
    pub fn encode<T: Encodable>(&self, response: &T) -> Result<ResponseFrame, RequestError> {
        Ok(codec::encode_response(self.api_key, self.version, self.correlation_id, response)?)
    }

    pub fn ready<T: Encodable>(&self, response: &T) -> Handled {
        self.encode(response).map(Outcome::Ready)
    }

    /// Answers with what `work` makes of the request; for requests that Kafka would run one at a time.
    pub fn alone<T, F>(mut self, work: impl FnOnce(Arc<Self>) -> F) -> Handled
    where
        T: Encodable + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.release_frame();
        let request = Arc::new(self);
        let work = work(Arc::clone(&request));
        Ok(Outcome::Alone(Box::pin(async move { request.encode(&work.await) })))
    }

    /// Answers with `response` once it resolves; the work behind it was enqueued before this call.
    pub fn pending<T: Encodable>(mut self, response: impl Future<Output = T> + Send + 'static) -> Handled {
        let mut response = Box::pin(response);
        // Mostly it has resolved by now; else it is polled again, by the one that waits for it.
        if let Some(response) = response.as_mut().now_or_never() {
            return self.ready(&response);
        }
        self.release_frame();
        Ok(Outcome::Pending(Box::pin(async move { self.encode(&response.await) })))
    }
}
