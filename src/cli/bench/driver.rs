//! Runs the workers, a task each, and measures what they do between a begin and an end that all share.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use tokio::{
    runtime::Builder,
    task::{JoinError, JoinSet},
    time::timeout,
};

use super::{
    connection::PATIENCE,
    server::{self, Server},
};

/// What one task does again and again.
pub trait Worker: Send + 'static {
    /// Sends what it may send and waits for one reply. False: its share is done.
    fn step(&mut self, tally: &mut Tally) -> impl Future<Output = anyhow::Result<bool>> + Send;

    /// Called first, on the thread that will do the work: one that has it to itself takes its connection along.
    fn move_here(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Waits for what is still in flight when the time is over.
    fn finish(&mut self, _tally: &mut Tally) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }
}

/// How long to run, and whom to watch.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// A thread for each worker, for those that wait in other ways or copy as much as a thread can. Else few threads
    /// serve all: replies to connections of one thread wake up nobody else.
    pub own_threads: bool,
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
pub struct Tally {
    shared: Arc<Shared>,
    counts: Counts,
    latency_ns: Histogram<u64>,
}

impl Tally {
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

/// Runs the workers as the plan says, and gives them back with what was measured, in any order.
pub async fn run<W: Worker>(workers: Vec<W>, plan: &Plan) -> anyhow::Result<(Measured, Vec<W>)> {
    let shared = Arc::new(Shared::default());
    let begin = if plan.time.is_some() { Stage::Warmup } else { Stage::Measured };
    let mut sample = Sample::take(plan)?;
    shared.enter(begin);
    let mut tasks = JoinSet::new();
    for worker in workers {
        let driven = drive(worker, Arc::clone(&shared));
        if plan.own_threads {
            tasks.spawn_blocking(|| Builder::new_current_thread().enable_all().build()?.block_on(driven));
        } else {
            tasks.spawn(driven);
        }
    }
    let mut crew = Crew { shared, tasks, ended: Vec::new(), progress: plan.progress };
    if let Some((warmup, _)) = plan.time {
        crew.watch("warm-up", warmup).await?;
        sample = Sample::take(plan)?;
        crew.shared.enter(Stage::Measured);
    }
    crew.watch("measured", plan.time.map_or(Duration::MAX, |(_, duration)| duration)).await?;
    let end = Sample::take(plan)?;
    crew.shared.enter(Stage::Over);
    timeout(PATIENCE, crew.join_all()).await.context("no reply to the last requests")??;

    let mut latency_ns = histogram()?;
    let mut counts = Counts::default();
    let mut workers = Vec::with_capacity(crew.ended.len());
    for (worker, tally) in std::mem::take(&mut crew.ended) {
        workers.push(worker);
        counts.add(tally.counts);
        latency_ns.add(tally.latency_ns).context("latencies")?;
    }
    let measured = Measured {
        time: end.at - sample.at,
        counts,
        latency_ns,
        server_cpu: end.server_cpu.zip(sample.server_cpu).map(|(end, begin)| end.saturating_sub(begin)),
        client_cpu: end.client_cpu.saturating_sub(sample.client_cpu),
    };
    Ok((measured, workers))
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

/// What the tasks see of each other.
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

async fn drive<W: Worker>(mut worker: W, shared: Arc<Shared>) -> anyhow::Result<(W, Tally)> {
    worker.move_here()?;
    let mut tally = Tally { shared, counts: Counts::default(), latency_ns: histogram()? };
    while !tally.shared.is_over() && worker.step(&mut tally).await? {}
    worker.finish(&mut tally).await?;
    Ok((worker, tally))
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

/// The workers at work, and those that are done.
struct Crew<W> {
    shared: Arc<Shared>,
    tasks: JoinSet<anyhow::Result<(W, Tally)>>,
    ended: Vec<(W, Tally)>,
    progress: bool,
}

/// Those on threads of their own cannot be cut: when one has failed, the others are told to end.
impl<W> Drop for Crew<W> {
    fn drop(&mut self) {
        self.shared.enter(Stage::Over);
    }
}

impl<W: Worker> Crew<W> {
    /// Until the time is over or all workers are done. An error when one has failed, or nothing goes on.
    async fn watch(&mut self, what: &str, time: Duration) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut shown = (begin, self.so_far());
        let mut moved = (begin, shown.1);
        while begin.elapsed() < time {
            match timeout(time.saturating_sub(begin.elapsed()).min(PROGRESS_EVERY), self.tasks.join_next()).await {
                Ok(Some(ended)) => self.note(ended)?,
                Ok(None) => return Ok(()),
                Err(_) => {}
            }
            if moved.1 != self.so_far() {
                moved = (Instant::now(), self.so_far());
            }
            ensure!(moved.0.elapsed() < PATIENCE, "no reply from the broker in {} s", PATIENCE.as_secs());
            if self.progress && shown.0.elapsed() >= PROGRESS_EVERY {
                shown = self.show(what, begin, shown);
            }
        }
        Ok(())
    }

    async fn join_all(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            self.note(ended)?;
        }
        Ok(())
    }

    fn note(&mut self, ended: Result<anyhow::Result<(W, Tally)>, JoinError>) -> anyhow::Result<()> {
        match ended {
            Ok(result) => self.ended.push(result?),
            Err(_) => bail!("a worker of the bench panicked"),
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps for as long as it may, or fails at once.
    struct Stepper {
        fails: bool,
    }

    impl Worker for Stepper {
        async fn step(&mut self, _tally: &mut Tally) -> anyhow::Result<bool> {
            ensure!(!self.fails, "a wrong reply");
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(true)
        }
    }

    /// The runtime of the test waits for every thread at its end.
    #[tokio::test]
    async fn one_that_fails_ends_all() {
        for own_threads in [false, true] {
            let plan = Plan { own_threads, time: None, server: None, progress: false };
            let workers = vec![Stepper { fails: false }, Stepper { fails: true }];
            let error = run(workers, &plan).await.map(drop).unwrap_err();
            assert_eq!(error.to_string(), "a wrong reply");
        }
    }
}
