//! Connections: opened as fast as it goes, one request on each, all kept.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use kafka_protocol::{messages::ApiVersionsRequest, protocol::StrBytes};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::sleep;

use super::{
    Target,
    connection::Connection,
    driver::{self, Tally, Worker},
    frames::Frame,
    produce::at_least_one,
    report::Report,
};

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// How many to open
    #[arg(long, value_name = "COUNT", default_value = "5000", value_parser = at_least_one)]
    connections: usize,
    /// How many are being opened at a time
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = at_least_one)]
    at_once: usize,
}

pub async fn run(target: &Target, flags: &Flags) -> anyhow::Result<Report> {
    allow_descriptors(flags.connections)?;
    let frame = hello()?;
    let openers = (0..flags.at_once).map(|index| Opener {
        address: target.bootstrap.clone(),
        frame: frame.clone(),
        left: (flags.connections + index) / flags.at_once,
        open: Vec::new(),
    });
    // The first may be what lets the broker make what it keeps for good.
    Opener { address: target.bootstrap.clone(), frame: frame.clone(), left: 1, open: Vec::new() }.open().await?;
    let before = target.server_anonymous_kib()?;
    let (measured, openers) = driver::run(openers.collect(), &target.until_done()).await?;
    sleep(SETTLE).await;
    let after = target.server_anonymous_kib()?;
    let open: usize = openers.iter().map(|opener| opener.open.len()).sum();
    ensure!(open == flags.connections, "{open} connections open of {}", flags.connections);
    let settings = format!("{open} connections, {} opened at a time, ApiVersions on each", flags.at_once);
    let report = Report::new("connections", target, settings, measured)?;
    Ok(match before.zip(after) {
        None => report,
        Some((before, after)) => report.figure(
            "idle_bytes_per_connection",
            "anonymous memory a connection, bytes",
            (after as f64 - before as f64) * 1024.0 / open as f64,
        ),
    })
}

struct Opener {
    address: String,
    frame: Frame,
    left: usize,
    open: Vec<Connection>,
}

impl Opener {
    async fn open(&mut self) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let mut connection = Connection::open(&self.address)
            .await
            .with_context(|| format!("connection {} of this worker", self.open.len() + 1))?;
        connection.exchange(&mut self.frame).await?.body.no_error(|| "ApiVersions".to_owned())?;
        self.open.push(connection);
        Ok(begin.elapsed())
    }
}

impl Worker for Opener {
    async fn step(&mut self, tally: &mut Tally) -> anyhow::Result<bool> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(false) };
        self.left = left;
        let latency = self.open().await?;
        tally.request(latency, 0, 0);
        Ok(true)
    }
}

fn hello() -> anyhow::Result<Frame> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("tidegate-bench"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    Frame::encode(3, &request)
}

/// The usual soft limit is 1024.
fn allow_descriptors(connections: usize) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(connections + SPARE_DESCRIPTORS)?;
    if limit.current.is_some_and(|current| current < needed) {
        let raised = limit.maximum.is_none_or(|maximum| maximum >= needed)
            && setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit }).is_ok();
        ensure!(raised, "{needed} open files are needed: raise the hard limit with `ulimit -Hn {needed}`, as root");
    }
    Ok(())
}

const SPARE_DESCRIPTORS: usize = 64;
/// For the broker to be done with what it allocates on a new connection.
const SETTLE: Duration = Duration::from_millis(500);
