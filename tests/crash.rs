//! Kill -9 under load, again and again: what was acknowledged is there, once and in order.
//!
//! `CRASH_CYCLES` says how often (10 for each durability).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by a panic, and owns no clock"
)]

mod support;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use kafka_protocol::messages::{CreateTopicsRequest, InitProducerIdRequest, create_topics_request::CreatableTopic};
use support::{
    Client, Gateway,
    batch::{Batch, Record},
    offsets::{self, commit_partition, commit_request, commit_topic},
    topics::{self, produce_request, read_all, topic_name},
};

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_with_sync_durability() {
    crash_under_load("sync");
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_with_os_durability() {
    crash_under_load("os");
}

fn crash_under_load(durability: &str) {
    let mut gateway = Gateway::options().storage("disk").durability(durability).start();
    let mut client = gateway.connect();
    topics::create(&mut client, TOPIC, PARTITIONS);
    let stop = Arc::new(AtomicBool::new(false));
    let progress = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let writer = Writer::new(gateway.address, partition, Arc::clone(&stop), Arc::clone(&progress));
            thread::spawn(move || writer.run())
        })
        .collect();
    let committer = Committer::start(gateway.address, Arc::clone(&stop));
    let creator = Creator::start(gateway.address, Arc::clone(&stop));

    for cycle in 0..cycles() {
        // Some work in each life, and then an end at any moment.
        let before = progress.load(Ordering::Relaxed);
        let start = Instant::now();
        while progress.load(Ordering::Relaxed) < before + 50 && start.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(progress.load(Ordering::Relaxed) > before, "no writer got anywhere in cycle {cycle}");
        thread::sleep(Duration::from_millis(fastrand::u64(0..100)));
        gateway.kill();
        let start = Instant::now();
        gateway.run();
        assert!(start.elapsed() < Duration::from_secs(5), "cycle {cycle}: a start took {:?}", start.elapsed());
        check_commits(&mut gateway.connect(), &committer.acknowledged, durability);
        check_topics(&mut gateway.connect(), &creator.acknowledged);
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    committer.join();
    creator.join();
    gateway.crash_and_restart();
    let mut client = gateway.connect();
    for (partition, acknowledged) in (0..).zip(acknowledged) {
        check_records(&read_all(&mut client, TOPIC, partition, 0), &acknowledged, partition);
    }
}

/// One producer that sends 0, 1, 2 … and repeats a batch until it is acknowledged, as idempotent clients do.
struct Writer {
    address: SocketAddr,
    partition: i32,
    stop: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
}

/// Base offset and first number of each acknowledged batch.
type Acknowledged = Vec<(i64, i32)>;

impl Writer {
    fn new(address: SocketAddr, partition: i32, stop: Arc<AtomicBool>, progress: Arc<AtomicU64>) -> Self {
        Self { address, partition, stop, progress }
    }

    fn run(self) -> Acknowledged {
        let mut connection = Connection::new(self.address);
        let request = InitProducerIdRequest::default().with_transactional_id(None).with_producer_id((-1).into());
        let producer_id = loop {
            if let Ok(response) = connection.with(|client| client.try_call(4, &request)) {
                assert_eq!(response.error_code, 0);
                break response.producer_id.0;
            }
        };
        let mut acknowledged = Vec::new();
        let mut sequence = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let values: Vec<_> = (sequence..sequence + BATCH).map(|number| number.to_string()).collect();
            let batch = Batch::of(values).idempotent(producer_id, 0, sequence);
            let request = produce_request(TOPIC, self.partition, batch.encode());
            // Nobody answers while the gateway is down; then the same batch is sent again.
            let Ok(response) = connection.with(|client| client.try_call(9, &request)) else { continue };
            let answer = &response.responses[0].partition_responses[0];
            assert_eq!(answer.error_code, 0, "batch {sequence} of partition {}: {answer:?}", self.partition);
            acknowledged.push((answer.base_offset, sequence));
            sequence += BATCH;
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
        acknowledged
    }
}

fn check_records(records: &[Record], acknowledged: &Acknowledged, partition: i32) {
    for (expected, record) in records.iter().enumerate() {
        // Offsets without holes, numbers without gaps or repeats.
        let found = (record.offset, record.text());
        assert_eq!(found, (i64::try_from(expected).unwrap(), &*expected.to_string()), "partition {partition}");
    }
    for (base_offset, number) in acknowledged {
        assert_eq!(*base_offset, i64::from(*number), "partition {partition}");
        let last = base_offset + i64::from(BATCH);
        assert!(i64::try_from(records.len()).unwrap() >= last, "partition {partition}: {number} is lost");
    }
}

/// Commits ever higher offsets for some groups, in one request with two partitions that must agree.
struct Committer {
    acknowledged: Arc<Mutex<Vec<i64>>>,
    thread: thread::JoinHandle<()>,
}

impl Committer {
    fn start(address: SocketAddr, stop: Arc<AtomicBool>) -> Self {
        let acknowledged = Arc::new(Mutex::new(vec![0; GROUPS]));
        let shared = Arc::clone(&acknowledged);
        let thread = thread::spawn(move || {
            let mut connection = Connection::new(address);
            for offset in 1_i64.. {
                for group in 0..GROUPS {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let metadata = offset.to_string();
                    let partition = |number| commit_partition(number, offset, Some(&metadata));
                    let topics = vec![commit_topic(TOPIC, vec![partition(0), partition(1)])];
                    let request = commit_request(&format!("group-{group}"), topics);
                    let answer = connection.with(|client| client.try_call(8, &request));
                    if let Ok(response) = answer {
                        let codes: Vec<_> = response.topics[0].partitions.iter().map(|it| it.error_code).collect();
                        assert_eq!(codes, [0, 0]);
                        shared.lock().unwrap()[group] = offset;
                    }
                }
            }
        });
        Self { acknowledged, thread }
    }

    fn join(self) {
        self.thread.join().unwrap();
    }
}

/// A commit may be newer than the acknowledged one, never older, and never torn.
fn check_commits(client: &mut Client, acknowledged: &Mutex<Vec<i64>>, durability: &str) {
    for group in 0..GROUPS {
        let least = acknowledged.lock().unwrap()[group];
        let found = offsets::fetch_all(client, &format!("group-{group}"));
        let found: Vec<_> = found.into_iter().flat_map(|(_, partitions)| partitions).collect();
        assert!(least == 0 || found.len() == 2, "{durability}: {found:?}, acknowledged {least}");
        for committed in &found {
            assert!(committed.offset >= least, "{durability}: {committed:?}, acknowledged {least}");
            assert_eq!(committed.metadata.as_deref(), Some(&*committed.offset.to_string()));
        }
    }
}

/// Creates topics, and deletes every third again.
struct Creator {
    acknowledged: Arc<Mutex<Vec<(String, bool)>>>,
    thread: thread::JoinHandle<()>,
}

impl Creator {
    fn start(address: SocketAddr, stop: Arc<AtomicBool>) -> Self {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&acknowledged);
        let thread = thread::spawn(move || {
            let mut connection = Connection::new(address);
            for number in 0_u32.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let name = format!("created-{number}");
                if !matches!(connection.with(|client| create(client, &name)), Ok(0)) {
                    continue;
                }
                let index = {
                    let mut topics = shared.lock().unwrap();
                    topics.push((name.clone(), true));
                    topics.len() - 1
                };
                if number.is_multiple_of(3) {
                    // While nobody knows whether it is deleted, it is not checked.
                    let old = std::mem::take(&mut shared.lock().unwrap()[index].0);
                    if let Ok(0) = connection.with(|client| delete(client, &name)) {
                        shared.lock().unwrap()[index] = (old, false);
                    }
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { acknowledged, thread }
    }

    fn join(self) {
        self.thread.join().unwrap();
    }
}

fn create(client: &mut Client, name: &str) -> io::Result<i16> {
    let topic = CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(1).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(topics::REQUEST_TIMEOUT_MS);
    Ok(client.try_call(7, &request)?.topics[0].error_code)
}

fn delete(client: &mut Client, name: &str) -> io::Result<i16> {
    use kafka_protocol::messages::{DeleteTopicsRequest, delete_topics_request::DeleteTopicState};
    let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
    let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(topics::REQUEST_TIMEOUT_MS);
    Ok(client.try_call(6, &request)?.responses[0].error_code)
}

fn check_topics(client: &mut Client, acknowledged: &Mutex<Vec<(String, bool)>>) {
    let before = acknowledged.lock().unwrap().clone();
    for (name, exists) in before.iter().rev().take(30).filter(|(name, _)| !name.is_empty()) {
        let code = topics::describe(client, name).error_code;
        // The creator may delete it just now.
        let now = acknowledged.lock().unwrap().iter().any(|(known, it)| known == name && it == exists);
        if now {
            assert_eq!(code, if *exists { 0 } else { 3 }, "topic {name}");
        }
    }
}

/// A connection that is opened again after it broke.
struct Connection {
    address: SocketAddr,
    client: Option<Client>,
}

impl Connection {
    fn new(address: SocketAddr) -> Self {
        Self { address, client: None }
    }

    fn with<T>(&mut self, call: impl FnOnce(&mut Client) -> io::Result<T>) -> io::Result<T> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::try_connect(self.address).inspect_err(|_| thread::sleep(Duration::from_millis(2)))?,
        };
        let answer = call(&mut client)?;
        self.client = Some(client);
        Ok(answer)
    }
}

fn cycles() -> u32 {
    std::env::var("CRASH_CYCLES").map_or(10, |value| value.parse().expect("CRASH_CYCLES is a number"))
}

const TOPIC: &str = "topic";
const PARTITIONS: i32 = 3;
const BATCH: i32 = 5;
const GROUPS: usize = 5;
