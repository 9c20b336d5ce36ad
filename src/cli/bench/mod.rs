//! `tidegate bench`: a light load generator that works against any Kafka broker of one node.
//!
//! Requests are encoded before the clock runs and only patched afterwards; a thread serves many connections, so that
//! replies wake up as few as can be; replies are walked, not decoded. Whatever is lost, doubled or refused fails the run.

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

mod connection;
mod connections;
mod create_topic;
mod driver;
mod fetch;
mod frames;
mod groups;
mod join;
mod offset_commit;
mod offset_fetch;
mod produce;
mod reader;
mod report;
mod server;
mod tail;
mod topic;
mod units;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::{Args, Subcommand};
use tokio::runtime::Builder;

use connection::Connection;
use driver::Plan;
use report::Report;
use server::Server;

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct BenchFlags {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    workload: Workload,
}

/// What every workload takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every workload")]
struct Target {
    /// Broker to put under load; everything goes to this one node
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", global = true)]
    bootstrap: String,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration, global = true)]
    duration: Duration,
    /// How long to run before that
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::duration, global = true)]
    warmup: Duration,
    /// Topic to use, kept at the end [default: a fresh one, deleted at the end]
    #[arg(long, value_name = "NAME", global = true)]
    topic: Option<String>,
    /// Process of the broker on this machine: adds its processor time and memory
    #[arg(long, value_name = "PID", global = true)]
    server_pid: Option<u32>,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Show no progress
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum Workload {
    /// Produce large batches as fast as the broker takes them
    Produce(produce::Flags),
    /// Produce one record a request: what the broker's own overhead is
    #[command(
        mut_arg("connections", |arg| arg.default_value("16")),
        mut_arg("in_flight", |arg| arg.default_value("1")),
        mut_arg("batch_bytes", |arg| arg.default_value("0")),
        mut_arg("record_bytes", |arg| arg.default_value("100")),
    )]
    ProduceSmall(produce::Flags),
    /// Produce to 100 partitions in one request, one small batch each
    #[command(
        mut_arg("in_flight", |arg| arg.default_value("1")),
        mut_arg("batch_bytes", |arg| arg.default_value("0")),
        mut_arg("record_bytes", |arg| arg.default_value("100")),
        mut_arg("partitions", |arg| arg.default_value("100")),
        mut_arg("partitions_per_request", |arg| arg.default_value("100")),
    )]
    ProduceMany(produce::Flags),
    /// Read a topic from its start to its end, again and again, on every connection
    Fetch(fetch::Flags),
    /// Produce at a steady rate, and measure how long a record takes to a waiting consumer
    Tail(tail::Flags),
    /// Commit the offsets of many groups
    OffsetCommit(offset_commit::Flags),
    /// Read the committed offsets of many groups
    OffsetFetch(offset_fetch::Flags),
    /// Bring groups to a stable generation, let all members leave, and begin again
    Join(join::Flags),
    /// Open many connections and keep them; measures until all are open
    Connections(connections::Flags),
    /// Create a topic of many partitions, then ask for the metadata of everything
    CreateTopic(create_topic::Flags),
}

/// Runs the workload. Exit code 1: it failed, or what came back was wrong.
pub(super) fn run(flags: &BenchFlags) -> ExitCode {
    match flags.run_on_threads().and_then(|report| Ok(report.print(flags.target.json)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "tidegate bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl BenchFlags {
    fn run_on_threads(&self) -> anyhow::Result<Report> {
        // Half of the processors; the others are the broker's, which often is on the same machine.
        let threads = thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2));
        let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
        let report = runtime.block_on(self.run());
        // One that waits for a broker that says nothing must not hold up the message that says so.
        runtime.shutdown_background();
        report
    }

    async fn run(&self) -> anyhow::Result<Report> {
        match &self.workload {
            Workload::Produce(flags) => produce::run("produce", &self.target, flags).await,
            Workload::ProduceSmall(flags) => produce::run("produce-small", &self.target, flags).await,
            Workload::ProduceMany(flags) => produce::run("produce-many", &self.target, flags).await,
            Workload::Fetch(flags) => fetch::run(&self.target, flags).await,
            Workload::Tail(flags) => tail::run(&self.target, flags).await,
            Workload::OffsetCommit(flags) => offset_commit::run(&self.target, flags).await,
            Workload::OffsetFetch(flags) => offset_fetch::run(&self.target, flags).await,
            Workload::Join(flags) => join::run(&self.target, flags).await,
            Workload::Connections(flags) => connections::run(&self.target, flags).await,
            Workload::CreateTopic(flags) => create_topic::run(&self.target, flags).await,
        }
    }
}

impl Target {
    async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(&self.bootstrap).await
    }

    async fn connect_many(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(self.connect().await?);
        }
        Ok(connections)
    }

    fn server(&self) -> Option<Server> {
        self.server_pid.map(Server::new)
    }

    fn server_anonymous_kib(&self) -> anyhow::Result<Option<u64>> {
        self.server().map(|server| Ok(server.memory()?.anonymous)).transpose()
    }

    /// Warm up, then measure for the time that was asked for.
    fn timed(&self) -> Plan {
        Plan { time: Some((self.warmup, self.duration)), ..self.until_done() }
    }

    /// Measure from the first request until the workers have done their share.
    fn until_done(&self) -> Plan {
        Plan {
            own_threads: false,
            time: None,
            server: self.server(),
            progress: !self.quiet && io::stderr().is_terminal(),
        }
    }
}

const EXAMPLES: &str = "\
Every workload makes a topic of its own, checks every error code, offset and count, and fails when one is wrong.

Examples:
  tidegate bench produce --bootstrap localhost:9092 --duration 5s
  tidegate bench produce-small --connections 32 --server-pid $(pgrep -x tidegate)
  tidegate bench fetch --total-bytes 1GiB --json
  tidegate bench fetch --topic existing --fill false";
