//! Two members of a group share a topic, one is killed, the other takes over; the gateway is killed in the middle of both. No
//! record is skipped, and none is read again that was committed. What a member is: README.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::support::{
    Gateway, offsets,
    process::Process,
    tools::{go_client, java_class, node_script, python_script},
    topics, unique,
};

#[test]
fn java_range() {
    takeover(java("range"), java("range"));
}

#[test]
fn java_cooperative() {
    takeover(java("cooperative"), java("cooperative"));
}

#[test]
fn java_consumer_protocol() {
    takeover(java("consumer"), java("consumer"));
}

#[test]
fn librdkafka_range() {
    takeover(librdkafka("range"), librdkafka("range"));
}

#[test]
fn librdkafka_cooperative() {
    takeover(librdkafka("cooperative-sticky"), librdkafka("cooperative-sticky"));
}

#[test]
fn librdkafka_consumer_protocol() {
    takeover(librdkafka("consumer"), librdkafka("consumer"));
}

#[test]
fn kafka_python() {
    let member = || (python_script("kafka_python.py"), "range");
    takeover(member(), member());
}

#[test]
fn aiokafka() {
    let member = || (python_script("aio.py"), "range");
    takeover(member(), member());
}

#[test]
fn franz_go() {
    takeover(franz(), franz());
}

#[test]
fn sarama() {
    let member = || (go_client("sarama"), "range");
    takeover(member(), member());
}

#[test]
fn kafkajs() {
    takeover(kafka_js(), kafka_js());
}

#[test]
fn a_classic_member_hands_over_to_one_of_the_consumer_protocol() {
    takeover(franz(), java("consumer"));
}

#[test]
fn a_member_of_the_consumer_protocol_hands_over_to_a_classic_one() {
    takeover(librdkafka("consumer"), kafka_js());
}

/// One is killed, two takes over; each is a program and its mode.
fn takeover(one: (Command, &str), two: (Command, &str)) {
    let mut gateway = Gateway::options().storage("disk").config(SETTINGS).start();
    let (bootstrap, topic, group) = (gateway.bootstrap(), unique("topic"), unique("group"));
    topics::create(&mut gateway.connect(), &topic, PARTITIONS);
    let traffic = Traffic::start(&bootstrap, &topic);
    let journal = Journal(gateway.directory().join("members.log"));
    let start = |name, (mut command, mode): (Command, &str)| {
        command.args([&bootstrap, &topic, &group, mode, name]);
        Process::start(name, &mut command, &journal.0)
    };
    let (mut one, mut two) = (start("one", one), start("two", two));

    journal.await_that("they share the partitions, read and commit", &mut [&mut one, &mut two], |seen| {
        [&seen.one, &seen.two].iter().all(|member| member.assigned == 2 && !member.commits.is_empty())
    });
    gateway.kill();
    thread::sleep(OUTAGE);
    let before = journal.read();
    gateway.run();
    journal.await_that("both go on", &mut [&mut one, &mut two], |seen| {
        seen.one.commits_since(&before.one) > 0 && seen.two.commits_since(&before.two) > 0
    });

    one.kill();
    let before = journal.read();
    journal.await_that("two goes on", &mut [&mut two], |seen| seen.two.commits_since(&before.two) > 0);
    gateway.crash_and_restart();
    journal.await_that("two takes over", &mut [&mut two], |seen| seen.two.assigned == 4 && seen.two.commits.len() == 4);
    let written = traffic.stop();
    journal.await_that("two reads and commits all", &mut [&mut two], |seen| seen.committed == written);
    let stored = offsets::fetch_all(&mut gateway.connect(), &group).remove(0).1;
    let stored: BTreeMap<_, _> = stored.iter().map(|partition| (partition.partition, partition.offset)).collect();
    assert_eq!(stored, written, "what the gateway has");
}

fn java(assignor_or_protocol: &str) -> (Command, &str) {
    (java_class("tidegate.clients.TakeoverMember"), assignor_or_protocol)
}

fn librdkafka(assignor_or_protocol: &str) -> (Command, &str) {
    (python_script("confluent.py"), assignor_or_protocol)
}

fn franz() -> (Command, &'static str) {
    (go_client("franz"), "cooperative")
}

fn kafka_js() -> (Command, &'static str) {
    (node_script("kafkajs.js"), "roundrobin")
}

/// The file that both members print to.
struct Journal(PathBuf);

impl Journal {
    fn read(&self) -> Seen {
        let mut seen = Seen::default();
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            seen.take(line);
        }
        seen
    }

    /// Waits until it is so, while these members live.
    fn await_that(&self, what: &str, members: &mut [&mut Process], is_so: impl Fn(&Seen) -> bool) {
        let start = Instant::now();
        while !is_so(&self.read()) {
            members.iter_mut().for_each(|member| member.assert_alive());
            let waits = start.elapsed() < PATIENCE;
            assert!(waits, "not within {PATIENCE:?}: {what}\n{:?}\n{}", self.read(), self.end());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What was printed last, for a reader.
    fn end(&self) -> String {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

/// What the members have done, in the order in which they did it.
#[derive(Debug, Default)]
struct Seen {
    one: Member,
    two: Member,
    /// By partition: the first offset that nobody has read.
    next: BTreeMap<i32, i64>,
    committed: BTreeMap<i32, i64>,
}

#[derive(Debug, Default)]
struct Member {
    assigned: usize,
    /// The partitions that it committed since its assignment changed.
    commits: BTreeSet<i32>,
    commits_ever: u32,
}

impl Seen {
    fn take(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<i64>().unwrap_or_else(|_| panic!("{line}"));
        let partition = |index: usize| i32::try_from(number(index)).unwrap();
        let member = match words[0] {
            "one" => &mut self.one,
            "two" => &mut self.two,
            _ => return,
        };
        match (words[1], words.len()) {
            ("assigned", _) => {
                member.assigned = words.len() - 2;
                member.commits.clear();
            }
            ("read", 4) => {
                let (partition, offset) = (partition(2), number(3));
                let next = self.next.entry(partition).or_default();
                let committed = self.committed.get(&partition).copied().unwrap_or_default();
                assert!(offset <= *next, "{line}: skips what follows {next}");
                assert!(offset >= committed, "{line}: all up to {committed} was committed");
                *next = (*next).max(offset + 1);
            }
            ("committed", 4) => {
                let (partition, offset) = (partition(2), number(3));
                member.commits.insert(partition);
                member.commits_ever += 1;
                let committed = self.committed.entry(partition).or_default();
                assert!(offset >= *committed, "{line}: all up to {committed} was committed");
                *committed = offset;
            }
            ("failed", _) => {}
            _ => panic!("what is this: {line}"),
        }
    }
}

impl Member {
    fn commits_since(&self, before: &Self) -> u32 {
        self.commits_ever - before.commits_ever
    }
}

/// Writes numbered records to all partitions until it is stopped.
struct Traffic {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<i32, i64>>,
}

impl Traffic {
    fn start(bootstrap: &str, topic: &str) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let (topic, stops) = (topic.to_owned(), Arc::clone(&stopping));
        let thread = thread::spawn(move || {
            let mut written = BTreeMap::new();
            while !stops.load(Ordering::Relaxed) {
                for partition in 0..PARTITIONS {
                    let next: &mut i64 = written.entry(partition).or_default();
                    let value = next.to_string();
                    producer.send(BaseRecord::<str, str>::to(&topic).partition(partition).payload(&value)).unwrap();
                    *next += 1;
                }
                producer.poll(BETWEEN_RECORDS);
                thread::sleep(BETWEEN_RECORDS);
            }
            producer.flush(PATIENCE).unwrap();
            written
        });
        Self { stopping, thread }
    }

    /// How many records each partition has.
    fn stop(self) -> BTreeMap<i32, i64> {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

const PARTITIONS: i32 = 4;
/// Members of the classic protocol ask for the same; those of the consumer protocol are not asked.
const SETTINGS: &str = "group.consumer.session.timeout.ms = 6000\ngroup.consumer.min.session.timeout.ms = 6000\n\
    group.consumer.heartbeat.interval.ms = 500\ngroup.consumer.min.heartbeat.interval.ms = 500\n";
const OUTAGE: Duration = Duration::from_millis(500);
const BETWEEN_RECORDS: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);
