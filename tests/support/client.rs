//! A client that speaks the protocol and nothing else: every request at every version, or any bytes at all.

use std::{
    fmt::Debug,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::{Buf, Bytes};
use kafka_protocol::{
    messages::{ApiVersionsRequest, ApiVersionsResponse, ResponseHeader},
    protocol::{Decodable, HeaderVersion, Request},
};

use super::frames;

pub struct Client {
    stream: TcpStream,
    next_correlation_id: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, next_correlation_id: 1 })
    }

    /// Sends a request and waits for its response.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let id = self.send(version, request);
        self.receive::<R>(version, id)
    }

    /// As [`call`](Self::call), for a broker that may go away.
    pub fn try_call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        let id = self.take_correlation_id();
        self.stream.write_all(&frames::frame(version, id, request))?;
        let frame = self.try_read_frame()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(decode::<R>(version, id, frame))
    }

    /// Sends a request; the response is for [`receive`](Self::receive). Answers the correlation id.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        let id = self.take_correlation_id();
        self.write(&frames::frame(version, id, request));
        id
    }

    pub fn receive<R: Request>(&mut self, version: i16, correlation_id: i32) -> R::Response {
        decode::<R>(version, correlation_id, self.read_frame())
    }

    pub fn take_correlation_id(&mut self) -> i32 {
        let id = self.next_correlation_id;
        self.next_correlation_id += 1;
        id
    }

    /// Sends a hand-made request and answers the body of its response, behind a header without tags.
    pub fn call_raw(&mut self, api_key: i16, version: i16, header_version: i16, body: &[u8]) -> Bytes {
        let id = self.take_correlation_id();
        self.write(&frames::raw_frame(api_key, version, id, header_version, body));
        let mut frame = self.read_frame();
        assert_eq!(frame.get_i32(), id, "correlation id");
        frame
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends what it can of `bytes` to a broker that may close at any byte.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next response without its length.
    pub fn read_frame(&mut self) -> Bytes {
        match self.try_read_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => panic!("the connection was closed"),
            Err(error) => panic!("no response: {error}"),
        }
    }

    /// None: closed in good order, between two responses.
    pub fn try_read_frame(&mut self) -> io::Result<Option<Bytes>> {
        let mut length = [0; 4];
        match self.stream.read(&mut length)? {
            0 => return Ok(None),
            read => self.stream.read_exact(&mut length[read..])?,
        }
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut frame)?;
        Ok(Some(frame.into()))
    }

    /// The broker must close the connection and answer nothing more.
    pub fn assert_closed(&mut self, why: &str) {
        self.set_patience(CLOSE_PATIENCE);
        match self.try_read_frame() {
            Ok(None) => {}
            Ok(Some(frame)) => panic!("{why}: expected a closed connection, got the response {frame:?}"),
            Err(error) if is_timeout(&error) => panic!("{why}: the connection is still open, and silent"),
            Err(_reset) => {}
        }
    }

    /// Whether nothing comes within the patience: no reply, and no end of the connection.
    pub fn is_silent(&self) -> bool {
        self.stream.peek(&mut [0]).is_err_and(|error| is_timeout(&error))
    }

    /// Nothing may come within `time`.
    pub fn assert_silent(&mut self, time: Duration) {
        self.set_patience(time);
        let mut byte = [0];
        match self.stream.peek(&mut byte) {
            Err(error) if is_timeout(&error) => {}
            other => panic!("expected silence, got {other:?}"),
        }
        self.set_patience(PATIENCE);
    }

    pub fn set_patience(&mut self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).unwrap();
    }

    /// The broker answers on this connection.
    pub fn ping(&mut self) {
        let response = self.api_versions();
        assert_eq!(response.error_code, 0);
    }

    pub fn api_versions(&mut self) -> ApiVersionsResponse {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(super::str_bytes("tests"))
            .with_client_software_version(super::str_bytes("1"));
        self.call(3, &request)
    }
}

fn decode<R: Request>(version: i16, correlation_id: i32, mut frame: Bytes) -> R::Response {
    let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
    assert_eq!(header.correlation_id, correlation_id, "correlation id of api {} version {version}", R::KEY);
    let response = R::Response::decode(&mut frame, version)
        .unwrap_or_else(|error| panic!("response of api {} version {version}: {error}: {frame:?}", R::KEY));
    assert!(frame.is_empty(), "api {} version {version}: {} bytes behind the response", R::KEY, frame.len());
    response
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Checks the code and shows the whole of `what` when it is another.
#[track_caller]
pub fn assert_code(code: i16, expected: i16, what: &impl Debug) {
    assert_eq!(code, expected, "error code {code} instead of {expected}: {what:?}");
}

const PATIENCE: Duration = Duration::from_secs(20);
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
