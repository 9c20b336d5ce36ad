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
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DescribeConfigsRequest,
    GroupId, IncrementalAlterConfigsRequest, InitProducerIdRequest, ListGroupsRequest,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::CreatableTopic,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    describe_configs_request::DescribeConfigsResource,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use support::{
    Client, Gateway,
    batch::{Batch, Record},
    groups::Member,
    offsets::{self, commit_partition, commit_request, commit_topic},
    str_bytes,
    topics::{self, produce_request, read_all, topic_name},
};

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_with_sync_durability() {
    crash_under_load("disk", "sync");
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_with_os_durability() {
    crash_under_load("disk", "os");
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_on_a_filer() {
    crash_under_load("filer", "sync");
}

fn crash_under_load(storage: &str, durability: &str) {
    let mut gateway = Gateway::options().storage(storage).durability(durability).start();
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
    let steps: Vec<_> =
        STEPS.iter().map(|step| Stepper::start(gateway.address, Arc::clone(&stop), step, &mut client)).collect();
    let mut member = Member::alone(&gateway, "stable");

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
        steps.iter().for_each(|stepper| stepper.check(&mut gateway.connect()));
        // A stable group does not notice: the same member in the same generation.
        member.client = gateway.connect();
        assert_eq!(member.heartbeat(), 0, "cycle {cycle}");
        assert_eq!(member.commit(8, TOPIC, 0, cycle.into()), 0, "cycle {cycle}");
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    committer.join();
    creator.join();
    steps.into_iter().for_each(Stepper::join);
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

/// Something that goes one step at a time, 1, 2, 3 …, and must never go back behind an acknowledged step.
struct Step {
    name: &'static str,
    prepare: fn(&mut Client),
    /// Whether the step was acknowledged. It may be done twice.
    take: fn(&mut Client, i64) -> io::Result<bool>,
    /// Where it stands.
    read: fn(&mut Client) -> i64,
}

const STEPS: &[Step] = &[
    Step {
        name: "log start",
        prepare: |client| {
            topics::create(client, "trimmed", 1);
            let values: Vec<_> = (0..20_000).map(|_| "x").collect();
            topics::produce_values(client, "trimmed", 0, values);
        },
        take: |client, step| {
            let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(step);
            let topic = DeleteRecordsTopic::default().with_name(topic_name("trimmed")).with_partitions(vec![partition]);
            let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000);
            Ok(client.try_call(2, &request)?.topics[0].partitions[0].error_code == 0)
        },
        read: |client| topics::log_start_offset(client, "trimmed", 0),
    },
    Step {
        name: "config",
        prepare: |client| {
            topics::create_with(client, "configured", 1, &[("segment.ms", "100000")]);
        },
        take: |client, step| {
            let config = AlterableConfig::default()
                .with_name(str_bytes("segment.ms"))
                .with_value(Some(str_bytes((100_000 + step).to_string())));
            let resource = AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(str_bytes("configured"))
                .with_configs(vec![config]);
            let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
            Ok(client.try_call(1, &request)?.responses[0].error_code == 0)
        },
        read: |client| {
            let resource = DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(str_bytes("configured"))
                .with_configuration_keys(Some(vec![str_bytes("segment.ms")]));
            let response = client.call(4, &DescribeConfigsRequest::default().with_resources(vec![resource]));
            let value = response.results[0].configs[0].value.clone().unwrap();
            value.parse::<i64>().unwrap() - 100_000
        },
    },
    Step {
        name: "partitions",
        prepare: |client| {
            topics::create(client, "growing", 1);
        },
        take: |client, step| {
            // Partitions are not for free: one more, now and then.
            thread::sleep(Duration::from_millis(20));
            let count = i32::try_from(step + 1).unwrap();
            let topic = CreatePartitionsTopic::default()
                .with_name(topic_name("growing"))
                .with_count(count)
                .with_assignments(None);
            let request = CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000);
            // INVALID_PARTITIONS: it was done just before the crash.
            Ok(matches!(client.try_call(3, &request)?.results[0].error_code, 0 | 37))
        },
        read: |client| i64::try_from(topics::describe(client, "growing").partitions.len()).unwrap() - 1,
    },
    Step {
        name: "deleted groups",
        prepare: |_| {},
        take: |client, step| {
            let group = format!("deleted-{step}");
            let topics = vec![commit_topic(TOPIC, vec![commit_partition(0, step, None)])];
            client.try_call(8, &commit_request(&group, topics))?;
            let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(str_bytes(group))]);
            // GROUP_ID_NOT_FOUND: deleted just before the crash.
            Ok(matches!(client.try_call(2, &request)?.results[0].error_code, 0 | 69))
        },
        read: |client| {
            // One of them may be in the making; what was deleted has not come back.
            let response = client.call(5, &ListGroupsRequest::default());
            let numbers =
                response.groups.iter().filter_map(|group| group.group_id.strip_prefix("deleted-")?.parse().ok());
            numbers.min().map_or(i64::MAX, |first: i64| first - 1)
        },
    },
];

struct Stepper {
    step: &'static Step,
    acknowledged: Arc<AtomicI64>,
    thread: thread::JoinHandle<()>,
}

impl Stepper {
    fn start(address: SocketAddr, stop: Arc<AtomicBool>, step: &'static Step, client: &mut Client) -> Self {
        (step.prepare)(client);
        let acknowledged = Arc::new(AtomicI64::new(0));
        let shared = Arc::clone(&acknowledged);
        let thread = thread::spawn(move || {
            let mut connection = Connection::new(address);
            let mut next = 1;
            while !stop.load(Ordering::Relaxed) {
                match connection.with(|client| (step.take)(client, next)) {
                    Ok(taken) => {
                        assert!(taken, "{}: step {next} was refused", step.name);
                        shared.store(next, Ordering::Relaxed);
                        next += 1;
                    }
                    Err(_away) => {}
                }
            }
        });
        Self { step, acknowledged, thread }
    }

    fn check(&self, client: &mut Client) {
        let least = self.acknowledged.load(Ordering::Relaxed);
        let found = (self.step.read)(client);
        assert!(found >= least, "{}: {found}, acknowledged {least}", self.step.name);
    }

    fn join(self) {
        self.thread.join().unwrap();
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
