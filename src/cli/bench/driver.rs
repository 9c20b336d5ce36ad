//! Runs the workers, a thread each, and measures what they do between a begin and an end that all share.

use std::{
    io::{self, Write},
    sync::{
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use hdrhistogram::Histogram;

use super::server::{self, Server};

/// What one thread does again and again.
pub trait Worker: Send {
    /// Sends what it may send and waits for one reply. False: its share is done.
    fn step(&mut self, tally: &mut Tally<'_>) -> anyhow::Result<bool>;

    /// Waits for what is still in flight when the time is over.
    fn finish(&mut self, _tally: &mut Tally<'_>) -> anyhow::Result<()> {
        Ok(())
    }
}

/// How long to run, and whom to watch.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Warm-up and measured time; None: measured from the start until all shares are done.
    pub time: Option<(Duration, Duration)>,
    pub server: Option<Server>,
    pub progress: bool,
}

/// What happened in the measured time.
#[derive(Clone, Debug)]
pub struct Measured {
    pub time: Duration,
    pub counts: Counts,
    pub latency_ns: Histogram<u64>,
    pub server_cpu: Option<Duration>,
    pub client_cpu: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: u64,
    pub records: u64,
    pub bytes: u64,
}

/// Where a worker enters what it did.
pub struct Tally<'a> {
    shared: &'a Shared,
    counts: Counts,
    latency_ns: Histogram<u64>,
}

impl Tally<'_> {
    /// A request that was answered now. Counts when that is in the measured time.
    pub fn request(&mut self, latency: Duration, records: u64, bytes: u64) {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.is_measured() {
            self.counts.requests += 1;
            self.counts.records += records;
            self.counts.bytes += bytes;
            self.latency_ns.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Whether what happens now counts.
    pub fn is_measured(&self) -> bool {
        self.shared.stage.load(Ordering::Relaxed) == Stage::Measured as u8
    }
}

/// Runs the workers as the plan says, and gives them back with what was measured.
pub fn run<W: Worker>(workers: Vec<W>, plan: &Plan) -> anyhow::Result<(Measured, Vec<W>)> {
    let shared = Shared::default();
    thread::scope(|scope| {
        let (report_end, ends) = mpsc::channel();
        let mut threads = Vec::with_capacity(workers.len());
        let begin = if plan.time.is_some() { Stage::Warmup } else { Stage::Measured };
        let mut sample = Sample::take(plan)?;
        shared.enter(begin);
        for worker in workers {
            let (shared, report_end) = (&shared, report_end.clone());
            threads.push(scope.spawn(move || {
                let result = drive(worker, shared);
                // Nobody listens any more when the time was over first.
                let _ = report_end.send(result.is_err());
                result
            }));
        }
        drop(report_end);
        let watch = Watch { shared: &shared, ends: &ends, running: threads.len(), progress: plan.progress };
        let measured = watch.measure(plan, &mut sample);
        shared.enter(Stage::Over);
        let mut latency_ns = histogram()?;
        let mut counts = Counts::default();
        let mut done = Vec::with_capacity(threads.len());
        for thread in threads {
            let (worker, worker_counts, worker_latency) =
                thread.join().map_err(|_| anyhow::anyhow!("a worker of the bench panicked"))??;
            done.push(worker);
            counts.add(worker_counts);
            latency_ns.add(worker_latency).context("latencies")?;
        }
        let (time, server_cpu, client_cpu) = measured?;
        Ok((Measured { time, counts, latency_ns, server_cpu, client_cpu }, done))
    })
}

/// Nanoseconds, to three digits.
pub fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?)
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// What the threads see of each other.
#[derive(Default)]
struct Shared {
    stage: AtomicU8,
    requests: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Clone, Copy)]
enum Stage {
    Warmup = 0,
    Measured = 1,
    Over = 2,
}

impl Shared {
    fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == Stage::Over as u8
    }
}

fn drive<W: Worker>(mut worker: W, shared: &Shared) -> anyhow::Result<(W, Counts, Histogram<u64>)> {
    let mut tally = Tally { shared, counts: Counts::default(), latency_ns: histogram()? };
    while !shared.is_over() && worker.step(&mut tally)? {}
    worker.finish(&mut tally)?;
    Ok((worker, tally.counts, tally.latency_ns))
}

/// Clock and processor times at one moment.
struct Sample {
    at: Instant,
    server_cpu: Option<Duration>,
    client_cpu: Duration,
}

impl Sample {
    fn take(plan: &Plan) -> anyhow::Result<Self> {
        let server_cpu = plan.server.map(Server::cpu).transpose()?;
        Ok(Self { at: Instant::now(), server_cpu, client_cpu: server::own_cpu()? })
    }
}

/// The thread that waits for the others.
struct Watch<'a> {
    shared: &'a Shared,
    /// One for each worker that ends: whether it failed.
    ends: &'a Receiver<bool>,
    running: usize,
    progress: bool,
}

impl Watch<'_> {
    fn measure(mut self, plan: &Plan, begin: &mut Sample) -> anyhow::Result<(Duration, Option<Duration>, Duration)> {
        if let Some((warmup, _)) = plan.time {
            self.wait("warm-up", warmup);
            *begin = Sample::take(plan)?;
            self.shared.enter(Stage::Measured);
        }
        self.wait("measured", plan.time.map_or(Duration::MAX, |(_, duration)| duration));
        let end = Sample::take(plan)?;
        let server_cpu = end.server_cpu.zip(begin.server_cpu).map(|(end, begin)| end.saturating_sub(begin));
        Ok((end.at - begin.at, server_cpu, end.client_cpu.saturating_sub(begin.client_cpu)))
    }

    /// Until the time is over, all workers are done, or one has failed.
    fn wait(&mut self, what: &str, time: Duration) {
        let begin = Instant::now();
        let mut shown = (begin, self.so_far());
        while self.running > 0 && begin.elapsed() < time {
            match self.ends.recv_timeout(time.saturating_sub(begin.elapsed()).min(PROGRESS_EVERY)) {
                Ok(failed) => self.running = if failed { 0 } else { self.running - 1 },
                Err(RecvTimeoutError::Disconnected) => self.running = 0,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.progress && shown.0.elapsed() >= PROGRESS_EVERY {
                shown = self.show(what, begin, shown);
            }
        }
    }

    fn show(
        &self,
        what: &str,
        begin: Instant,
        (at, (requests, bytes)): (Instant, (u64, u64)),
    ) -> (Instant, (u64, u64)) {
        let now = self.so_far();
        let seconds = at.elapsed().as_secs_f64();
        let rate = (now.0 - requests) as f64 / seconds;
        let mib = (now.1 - bytes) as f64 / seconds / (1 << 20) as f64;
        let _ = writeln!(
            io::stderr(),
            "{what} {:3.0} s  {rate:10.0} requests/s  {mib:8.1} MiB/s",
            begin.elapsed().as_secs_f64()
        );
        (Instant::now(), now)
    }

    fn so_far(&self) -> (u64, u64) {
        (self.shared.requests.load(Ordering::Relaxed), self.shared.bytes.load(Ordering::Relaxed))
    }
}

const PROGRESS_EVERY: Duration = Duration::from_secs(1);
const LATENCY_NS_MAX: u64 = 120_000_000_000;
