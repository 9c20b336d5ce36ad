//! Tail: a producer at a steady rate and a consumer in a long poll; the latency is from send to receipt.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use kafka_protocol::messages::fetch_request::FetchPartition;

use super::{
    Target,
    connection::Connection,
    driver::{self, Plan, Tally, Worker},
    fetch,
    frames::{Frame, Place, marker},
    produce,
    report::Report,
    topic::Topic,
    units::{self, size_text},
};

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Records a second
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Size of a record's value
    #[arg(long, value_name = "SIZE", default_value = "100", value_parser = units::message_size)]
    record_bytes: usize,
}

pub async fn run(target: &Target, flags: &Flags) -> anyhow::Result<Report> {
    Topic::with(target, 1, async |topic, admin| measure(target, flags, topic, admin).await).await
}

async fn measure(target: &Target, flags: &Flags, topic: &Topic, admin: &mut Connection) -> anyhow::Result<Report> {
    let first_offset = topic.end_offsets(admin).await?.first().copied().context("the topic has no partition")?;
    let seconds = (target.warmup + target.duration).as_secs_f64() + 1.0;
    let slots = (seconds * f64::from(flags.rate)) as usize;
    let sends = Arc::new(Sends {
        epoch: Instant::now(),
        first_offset,
        at_ns: (0..slots).map(|_| AtomicU64::new(0)).collect(),
        count: AtomicI64::new(0),
        finished: AtomicBool::new(false),
    });
    let producer = Producer {
        connection: target.connect().await?,
        frame: produce::one_record(topic, flags.record_bytes)?,
        interval: Duration::from_secs(1) / flags.rate,
        next: Instant::now(),
        sends: sends.clone(),
    };
    let partition = FetchPartition::default().with_fetch_offset(marker(0)).with_partition_max_bytes(MAX_BYTES);
    let frame = Frame::encode(fetch::VERSION, &fetch::request(topic, vec![partition], MAX_BYTES))?;
    let place = frame.place_of(marker(0))?;
    let consumer = Consumer { connection: target.connect().await?, frame, place, position: first_offset, sends };
    let (measured, _) = driver::run(
        vec![Role::Producer(producer), Role::Consumer(consumer)],
        &Plan { own_threads: true, ..target.timed() },
    )
    .await?;
    let settings =
        format!("{} records of {} a second, from send to receipt", flags.rate, size_text(flags.record_bytes));
    Report::new("tail", target, settings, measured)
}

/// When each record was sent; record N of this run has the offset `first_offset + N`.
struct Sends {
    epoch: Instant,
    first_offset: i64,
    at_ns: Vec<AtomicU64>,
    count: AtomicI64,
    finished: AtomicBool,
}

impl Sends {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn latency(&self, offset: i64, received_ns: u64) -> anyhow::Result<Duration> {
        let slot = usize::try_from(offset - self.first_offset).ok().and_then(|index| self.at_ns.get(index));
        let sent_ns = slot.context("a record that was not sent: does another producer write?")?.load(Ordering::Acquire);
        Ok(Duration::from_nanos(received_ns.saturating_sub(sent_ns)))
    }
}

enum Role {
    Producer(Producer),
    Consumer(Consumer),
}

impl Worker for Role {
    fn move_here(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Producer(producer) => producer.connection.move_here(),
            Self::Consumer(consumer) => consumer.connection.move_here(),
        }
    }

    async fn step(&mut self, tally: &mut Tally) -> anyhow::Result<bool> {
        match self {
            Self::Producer(producer) => producer.step().await,
            Self::Consumer(consumer) => consumer.step(tally).await.map(|_| true),
        }
    }

    async fn finish(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        match self {
            Self::Producer(producer) => producer.finish().await,
            Self::Consumer(consumer) => consumer.finish(tally).await,
        }
    }
}

/// Sends on time, whether or not earlier requests were answered: a slow broker must not slow the clock down.
struct Producer {
    connection: Connection,
    frame: Frame,
    interval: Duration,
    next: Instant,
    sends: Arc<Sends>,
}

impl Producer {
    async fn step(&mut self) -> anyhow::Result<bool> {
        // Timers of the runtime are no finer than a millisecond, and the thread is its own.
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
        self.next += self.interval;
        let index = self.sends.count.load(Ordering::Relaxed);
        let Some(at_ns) = self.sends.at_ns.get(usize::try_from(index)?) else { return Ok(false) };
        at_ns.store(self.sends.now_ns(), Ordering::Release);
        self.connection.send(&mut self.frame).await?;
        self.sends.count.store(index + 1, Ordering::Release);
        // Replies that have come wait in the socket meanwhile; nobody measures them.
        if self.connection.in_flight() > IN_FLIGHT {
            produce::check_one(self.connection.receive().await?.body)?;
        }
        Ok(true)
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        while self.connection.in_flight() > 0 {
            produce::check_one(self.connection.receive().await?.body)?;
        }
        self.sends.finished.store(true, Ordering::Release);
        Ok(())
    }
}

struct Consumer {
    connection: Connection,
    frame: Frame,
    place: Place,
    position: i64,
    sends: Arc<Sends>,
}

impl Consumer {
    /// Whether the poll brought anything.
    async fn step(&mut self, tally: &mut Tally) -> anyhow::Result<bool> {
        self.frame.set_i64(self.place, self.position);
        self.connection.send(&mut self.frame).await?;
        let reply = self.connection.receive().await?;
        let received_ns = self.sends.now_ns();
        let first = self.position;
        let read = fetch::walk(reply.body, std::slice::from_mut(&mut self.position)).context("Fetch response")?;
        for offset in first..self.position {
            let latency = self.sends.latency(offset, received_ns)?;
            tally.request(latency, 1, read.bytes / read.records.max(1));
        }
        Ok(self.position > first)
    }

    /// Everything that was sent must arrive.
    async fn finish(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        let mut last_record = Instant::now();
        loop {
            let received = self.position - self.sends.first_offset;
            let finished = self.sends.finished.load(Ordering::Acquire);
            let sent = self.sends.count.load(Ordering::Acquire);
            if finished && received == sent {
                return Ok(());
            }
            if self.step(tally).await? {
                last_record = Instant::now();
            }
            ensure!(last_record.elapsed() < PATIENCE, "{sent} records sent and {received} received");
        }
    }
}

const MAX_BYTES: i32 = 1 << 20;
const IN_FLIGHT: usize = 64;
/// The last record is followed by long polls that bring nothing.
const PATIENCE: Duration = Duration::from_secs(10);
