//! A conversation with a broker, written down step by step.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{Debug, Write as _},
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::ResponseHeader,
    protocol::{Decodable, HeaderVersion, Request, StrBytes},
};
use uuid::Uuid;

use crate::{
    reply::Names,
    support::{Client, frames, offsets, str_bytes, topics},
};

/// Connections are known by a name and made when they are first used, or used again after the broker closed them.
pub struct Talk {
    address: SocketAddr,
    connections: BTreeMap<&'static str, Connection>,
    names: Names,
    /// Behind every name of a topic or group, so that a broker may be used more than once.
    suffix: String,
    text: String,
}

struct Connection {
    client: Client,
    /// Version and step of the requests whose replies are to come.
    pending: VecDeque<(i16, String)>,
}

impl Talk {
    pub fn new(address: SocketAddr) -> Self {
        let suffix = format!("_{:08x}", fastrand::u32(..));
        let mut names = Names::default();
        names.add(suffix.as_str(), "");
        Self { address, connections: BTreeMap::new(), names, suffix, text: String::new() }
    }

    /// What was said, from the first step to the last.
    pub fn into_text(self) -> String {
        self.text
    }

    /// A name of this run's own, shown as `name`.
    pub fn name(&self, name: &str) -> StrBytes {
        str_bytes(format!("{name}{}", self.suffix))
    }

    /// As [`name`](Self::name), for a group whose coordinator is ready.
    pub fn group(&mut self, name: &str) -> StrBytes {
        let group = self.name(name);
        offsets::await_coordinator(&mut self.unrecorded(), &group);
        group
    }

    /// As [`name`](Self::name), for a topic that is there.
    pub fn topic(&mut self, name: &str, partitions: i32) -> (StrBytes, Uuid) {
        let topic = self.name(name);
        let id = topics::create(&mut self.unrecorded(), &topic, partitions);
        self.names.add(id.to_string(), format!("<id of {name}>"));
        (topic, id)
    }

    /// A connection whose requests are not written down.
    pub fn unrecorded(&self) -> Client {
        Client::connect(self.address)
    }

    /// From now on `value` is shown as `name`.
    pub fn call_it(&mut self, value: &str, name: &str) {
        if !value.is_empty() {
            self.names.add(value, format!("<{name}>"));
        }
    }

    /// Sends a request and writes its reply down. The default of the reply stands for none.
    pub fn call<R>(&mut self, who: &'static str, version: i16, step: &str, request: &R) -> R::Response
    where
        R: Request,
        R::Response: Debug + Default,
    {
        self.send(who, version, step, request);
        self.receive::<R>(who)
    }

    /// As [`call`](Self::call), for a reply whose lists come in any order.
    pub fn call_sorted<R>(&mut self, who: &'static str, version: i16, step: &str, request: &R) -> R::Response
    where
        R: Request,
        R::Response: Debug + Default,
    {
        self.send(who, version, step, request);
        self.receive_with::<R>(who, true, |_| {})
    }

    /// Sends a request whose reply is for [`receive`](Self::receive).
    pub fn send<R: Request>(&mut self, who: &'static str, version: i16, step: &str, request: &R) {
        let connection = self.connection(who);
        let id = connection.client.take_correlation_id();
        let title = format!("{who}: {} {version}: {step}", api_name::<R>());
        connection.pending.push_back((version, title));
        // The broker may have closed the connection; the reply will tell.
        let _ = connection.client.try_write(&frames::frame(version, id, request));
    }

    /// A request whose whole frame is made by hand from its correlation id. `version` is that of the reply.
    pub fn send_frame<R: Request>(
        &mut self,
        who: &'static str,
        version: i16,
        step: &str,
        frame: impl FnOnce(i32) -> BytesMut,
    ) {
        let connection = self.connection(who);
        let id = connection.client.take_correlation_id();
        connection.pending.push_back((version, format!("{who}: {} {version}: {step}", api_name::<R>())));
        let _ = connection.client.try_write(&frame(id));
    }

    /// A body that is made by hand, on a connection of its own; its reply is written down.
    pub fn call_body<R>(&mut self, version: i16, step: &str, body: &[u8])
    where
        R: Request,
        R::Response: Debug + Default,
    {
        self.hang_up(HOSTILE);
        let frame = |id| frames::raw_frame(R::KEY, version, id, R::header_version(version), body);
        self.send_frame::<R>(HOSTILE, version, step, frame);
        self.receive::<R>(HOSTILE);
    }

    pub fn receive<R>(&mut self, who: &'static str) -> R::Response
    where
        R: Request,
        R::Response: Debug + Default,
    {
        self.receive_with::<R>(who, false, |_| {})
    }

    /// Writes down what `change` makes of the reply: what is of no matter goes.
    pub fn receive_with<R>(&mut self, who: &'static str, sorted: bool, change: impl Fn(&mut R::Response)) -> R::Response
    where
        R: Request,
        R::Response: Debug + Default,
    {
        let connection = self.connection(who);
        let (version, step) = connection.pending.pop_front().expect("a request without a reply");
        let frame = match self.next_frame(who) {
            Ok(frame) => frame,
            Err(why) => {
                self.note(&step, &format!("{why}\n"));
                return R::Response::default();
            }
        };
        match decode::<R::Response>(version, frame) {
            Ok(mut response) => {
                change(&mut response);
                let text = self.names.text(&response, sorted);
                self.note(&step, &text);
                response
            }
            Err(why) => {
                self.note(&step, &format!("{why}\n"));
                R::Response::default()
            }
        }
    }

    /// The reply to the request that waits longest must not come yet.
    pub fn silence(&mut self, who: &'static str, time: Duration) {
        let connection = self.connection(who);
        let step = connection.pending.front().expect("a request without a reply").1.clone();
        connection.client.set_patience(time);
        let text = match connection.client.is_silent() {
            true => format!("no reply within {time:?}\n"),
            false => "a reply, or the end of the connection\n".to_owned(),
        };
        connection.client.set_patience(PATIENCE);
        self.note(&format!("{step}, meanwhile"), &text);
    }

    /// Whole bytes of any kind, on a connection of their own; the reply is written down as it is.
    pub fn bytes(&mut self, step: &str, bytes: &[u8]) {
        self.hang_up(HOSTILE);
        let connection = self.connection(HOSTILE);
        let _ = connection.client.try_write(bytes);
        let text = match self.next_frame(HOSTILE) {
            Ok(frame) => format!("{} bytes: {frame:?}", frame.len()),
            Err(why) => why,
        };
        self.note(&format!("{HOSTILE}: {step}"), &format!("{text}\n"));
    }

    /// Writes down what was found out otherwise.
    pub fn remark(&mut self, step: &str, what: &impl Debug) {
        let text = self.names.text(what, true);
        self.note(step, &text);
    }

    /// Closes a connection on the client's side.
    pub fn hang_up(&mut self, who: &'static str) {
        self.connections.remove(who);
    }

    fn next_frame(&mut self, who: &'static str) -> Result<Bytes, String> {
        let start = Instant::now();
        match self.connection(who).client.try_read_frame() {
            Ok(Some(frame)) => return Ok(frame),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                assert!(start.elapsed() >= PATIENCE, "{error}");
                self.connections.remove(who);
                return Err(format!("no reply within {PATIENCE:?}"));
            }
            Ok(None) | Err(_) => {}
        }
        self.connections.remove(who);
        Err("connection closed".to_owned())
    }

    fn connection(&mut self, who: &'static str) -> &mut Connection {
        self.connections.entry(who).or_insert_with(|| {
            let mut client = Client::connect(self.address);
            client.set_patience(PATIENCE);
            Connection { client, pending: VecDeque::new() }
        })
    }

    fn note(&mut self, step: &str, text: &str) {
        let _ = write!(self.text, "== {step}\n{text}\n");
    }
}

fn decode<T: Decodable + HeaderVersion>(version: i16, mut frame: Bytes) -> Result<T, String> {
    let whole = frame.clone();
    let odd = |what: String| format!("{what}: {whole:?}");
    ResponseHeader::decode(&mut frame, T::header_version(version)).map_err(|error| odd(error.to_string()))?;
    let response = T::decode(&mut frame, version).map_err(|error| odd(error.to_string()))?;
    if frame.is_empty() { Ok(response) } else { Err(odd(format!("{} bytes behind the reply", frame.len()))) }
}

fn api_name<R>() -> &'static str {
    let name = std::any::type_name::<R>().rsplit("::").next().unwrap_or_default();
    name.strip_suffix("Request").unwrap_or(name)
}

const PATIENCE: Duration = Duration::from_secs(10);
const HOSTILE: &str = "hostile";
