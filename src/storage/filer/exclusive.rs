//! Creating an entry that is not there yet, which of many only one can do. Plain HTTP has no such thing: the filer ignores
//! conditional headers. Its gRPC service does it with `o_excl`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::{
    client::{FilerClient, of_turn},
    error::{FilerError, describe},
    tls::Tls,
};
use crate::{clock::Clock, config::FilerSettings};

/// How entries are created exclusively.
pub(super) enum Exclusive {
    Grpc(GrpcCreator),
    /// `filer.exclusive = "trust-me"`: the operator vouches that there is one gateway.
    Trusted,
}

pub(super) struct GrpcCreator {
    /// One for each filer, unless the settings name fewer.
    channels: Vec<Channel>,
    timeout: Duration,
    token: Option<MetadataValue<Ascii>>,
    clock: Arc<dyn Clock>,
}

impl Exclusive {
    /// Must be called within a runtime. Connects when it is first used.
    pub(super) fn new(settings: &FilerSettings, tls: &Tls, clock: Arc<dyn Clock>) -> Result<Self, FilerError> {
        if !settings.is_exclusion_guarded {
            return Ok(Self::Trusted);
        }
        let channels = settings.grpc_urls().into_iter().map(|url| channel(url, settings, tls));
        let channels = channels.collect::<Result<_, _>>()?;
        let token = settings.token.as_ref().map(|token| format!("Bearer {token}").parse()).transpose();
        let token = token.map_err(|_| FilerError::Setup("filer.token is no header value".to_owned()))?;
        Ok(Self::Grpc(GrpcCreator { channels, timeout: settings.timeout, token, clock }))
    }

    /// Creates `folder/name` with these contents. [`FilerError::Exists`] when it is there; after another error it may have
    /// been created all the same. `contents` stay small: they are kept in the filer's own store.
    pub(super) async fn create(
        &self,
        client: &FilerClient,
        folder: &str,
        name: &str,
        contents: Bytes,
    ) -> Result<(), FilerError> {
        match self {
            Self::Grpc(creator) => {
                let directory = format!("{}/{folder}", client.folder());
                client.attempt(|turn| creator.create(turn, &directory, name, contents)).await
            }
            Self::Trusted => client.put_once(&format!("{folder}/{name}"), contents, None).await,
        }
    }
}

impl GrpcCreator {
    async fn create(&self, turn: usize, directory: &str, name: &str, contents: Bytes) -> Result<(), FilerError> {
        let channel = of_turn(&self.channels, turn).ok_or_else(|| FilerError::Setup("no gRPC address".to_owned()))?;
        let seconds = self.clock.wall_ms() / 1000;
        let attributes = Attributes {
            file_size: contents.len() as u64,
            mtime: seconds,
            file_mode: 0o660,
            crtime: seconds,
            mime: "application/octet-stream".to_owned(),
        };
        let entry = Entry { name: name.to_owned(), attributes: Some(attributes), content: contents };
        let mut request =
            Request::new(CreateEntryRequest { directory: directory.to_owned(), entry: Some(entry), o_excl: true });
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        let call = async move {
            grpc.ready().await.map_err(|error| Status::unavailable(describe(&error)))?;
            let codec = tonic_prost::ProstCodec::<CreateEntryRequest, CreateEntryResponse>::default();
            let path = http::uri::PathAndQuery::from_static(CREATE_ENTRY);
            grpc.unary(request, path, codec).await
        };
        // A task of its own: a call that is given up goes on. SeaweedFS 4.48 falls over (a nil pointer below `cleanupChunks`)
        // when it hears in the wrong moment that a call was cancelled, which is also why it is told no deadline.
        let answer = match tokio::time::timeout(self.timeout, tokio::spawn(call)).await {
            Err(_) => return Err(FilerError::Unreachable("its gRPC service is too slow".to_owned())),
            Ok(Err(error)) => return Err(FilerError::Unreachable(error.to_string())),
            Ok(Ok(Err(status))) => return Err(failure(&status, name)),
            Ok(Ok(Ok(answer))) => answer.into_inner(),
        };
        match answer.error.as_str() {
            "" if answer.error_code == 0 => Ok(()),
            _ if answer.error_code == ALREADY_EXISTS => Err(FilerError::Exists(name.to_owned())),
            text if says_exists(text) => Err(FilerError::Exists(name.to_owned())),
            text => Err(FilerError::from_status(500, format!("cannot create {name}: {text}"))),
        }
    }
}

fn channel(url: String, settings: &FilerSettings, tls: &Tls) -> Result<Channel, FilerError> {
    let endpoint = Endpoint::from_shared(url.clone())
        .map_err(|error| FilerError::Setup(format!("filer.grpc-url {url}: {error}")))?
        .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT_MAX))
        .http2_keep_alive_interval(KEEP_ALIVE)
        .tcp_nodelay(true);
    Ok(tls.grpc(endpoint)?.connect_lazy())
}

fn failure(status: &Status, name: &str) -> FilerError {
    let message = format!("gRPC: {}: {}", status.code(), describe(status));
    match status.code() {
        _ if says_exists(status.message()) => FilerError::Exists(name.to_owned()),
        Code::AlreadyExists => FilerError::Exists(name.to_owned()),
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => FilerError::Refused(message),
        _ => FilerError::Unreachable(message),
    }
}

fn says_exists(text: &str) -> bool {
    text.contains("EEXIST") || text.contains("already exists")
}

/// As much of SeaweedFS's `filer.proto` as is needed to create an entry; the numbers are those of its fields.
#[derive(Clone, PartialEq, prost::Message)]
struct CreateEntryRequest {
    #[prost(string, tag = "1")]
    directory: String,
    #[prost(message, optional, tag = "2")]
    entry: Option<Entry>,
    #[prost(bool, tag = "3")]
    o_excl: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "4")]
    attributes: Option<Attributes>,
    #[prost(bytes = "bytes", tag = "9")]
    content: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Attributes {
    #[prost(uint64, tag = "1")]
    file_size: u64,
    #[prost(int64, tag = "2")]
    mtime: i64,
    #[prost(uint32, tag = "3")]
    file_mode: u32,
    #[prost(int64, tag = "6")]
    crtime: i64,
    #[prost(string, tag = "7")]
    mime: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateEntryResponse {
    #[prost(string, tag = "1")]
    error: String,
    #[prost(int32, tag = "3")]
    error_code: i32,
}

const CREATE_ENTRY: &str = "/filer_pb.SeaweedFiler/CreateEntry";
/// `FilerError.ENTRY_ALREADY_EXISTS`
const ALREADY_EXISTS: i32 = 5;
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
