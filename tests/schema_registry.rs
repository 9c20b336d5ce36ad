//! A real Schema Registry (Apicurio, kafkasql storage) that keeps everything it knows in the gateway.
//!
//! Registered schemas must be found again, whatever was restarted; and the registry's consumer, which reads its topic
//! from the first record on, must advance 0, 1, 2 … and never lose its place.

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
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Gateway, eventually, http, process::Process, tools, topics, unique};

/// One schema, back by subject and by id, and then all of the ten that a registry begins with.
#[test]
fn schema_registry_register_and_retrieve() {
    let gateway = Gateway::options().storage("disk").start();
    let registry = Registry::start(&gateway);
    let schemas: Vec<_> = (0..10).map(Schema::new).collect();
    let ids: Vec<_> = schemas.iter().map(|schema| registry.register(schema)).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 10, "an id each: {ids:?}");
    let missing: Vec<_> =
        schemas.iter().zip(&ids).filter_map(|(schema, id)| registry.check(schema, *id).err()).collect();
    assert!(missing.is_empty(), "verified {}/10: {missing:#?}", 10 - missing.len());
    // What is known already keeps its id.
    assert_eq!(registry.register(&schemas[3]), ids[3]);
    assert_eq!(registry.status("/subjects/never-registered/versions/latest"), 404);
}

/// The background consumer reads 0, 1, 2 … 11: each record once, in order, never going back.
#[test]
fn schema_registry_consumer_progression() {
    let gateway = Gateway::options().storage("disk").log("info,tidegate=debug").start();
    let registry = Registry::start(&gateway);
    let reader = Reader::start(gateway.address);
    let before = log_end(&gateway);
    let mut number = 0;
    while log_end(&gateway) < before.max(0) + 12 {
        let schema = Schema::new(number);
        let id = registry.register(&schema);
        registry.check(&schema, id).unwrap();
        number += 1;
    }
    let end = log_end(&gateway);
    let progress = reader.stop_at(end);
    assert!(end >= 12, "{end} records");
    assert_eq!(progress, (0..end).collect::<Vec<_>>(), "offsets in the order in which they were read");
    registry.assert_never_reset();
    assert_eq!(out_of_range(&gateway), 0.0, "fetches that were told OFFSET_OUT_OF_RANGE");
}

/// Several versions of a subject, several subjects of a schema, and more than one kind of schema.
#[test]
fn schema_registry_multiple_schemas() {
    let gateway = Gateway::options().storage("memory").start();
    let registry = Registry::start(&gateway);
    let subject = unique("subject");
    let versions: Vec<_> = (0..5)
        .map(|version| {
            let fields: Vec<_> = (0..=version)
                .map(|field| json!({"name": format!("f{field}"), "type": "string", "default": ""}))
                .collect();
            let definition = json!({"type": "record", "name": "Grows", "fields": fields});
            Schema { subject: subject.clone(), definition }
        })
        .collect();
    let ids: Vec<_> = versions.iter().map(|schema| registry.register(schema)).collect();
    assert_eq!(registry.get(&format!("/subjects/{subject}/versions")), json!([1, 2, 3, 4, 5]));
    for (version, (schema, id)) in versions.iter().zip(&ids).enumerate() {
        let found = registry.get(&format!("/subjects/{subject}/versions/{}", version + 1));
        assert_eq!((found["id"].as_i64(), &found["subject"]), (Some(*id), &json!(subject)));
        assert_eq!(definition_of(&found), schema.definition);
    }
    for number in 0..10 {
        let schema = Schema::new(number);
        let id = registry.register(&schema);
        registry.check(&schema, id).unwrap();
    }
    let text = json!({"schemaType": "JSON", "schema": json!({"$schema": JSON_SCHEMA, "type": "object"}).to_string()});
    let (status, answer) = registry.post("/subjects/json-value/versions", &text);
    assert_eq!(status, 200, "{answer}");
    let subjects = registry.get("/subjects");
    assert_eq!(subjects.as_array().unwrap().len(), 12, "{subjects}");
}

/// The registry restarts with an empty memory, the gateway by kill -9: everything is found again.
#[test]
fn schema_registry_restart() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut registry = Registry::start(&gateway);
    let reader = Reader::start(gateway.address);
    let mut known: Vec<(Schema, i64)> = Vec::new();
    let register = |registry: &Registry, known: &mut Vec<(Schema, i64)>, count: u32| {
        for _ in 0..count {
            let schema = Schema::new(u32::try_from(known.len()).unwrap());
            let id = registry.register_when_possible(&schema);
            known.push((schema, id));
        }
    };
    let verify = |registry: &Registry, known: &[(Schema, i64)], when: &str| {
        let missing: Vec<_> = known.iter().filter_map(|(schema, id)| registry.check(schema, *id).err()).collect();
        assert!(missing.is_empty(), "verified {}/{} {when}: {missing:#?}", known.len() - missing.len(), known.len());
    };
    register(&registry, &mut known, 10);
    verify(&registry, &known, "at first");

    gateway.crash_and_restart();
    verify(&registry, &known, "after kill -9 of the gateway");
    register(&registry, &mut known, 2);
    verify(&registry, &known, "after a registration across the crash");

    registry.restart(&gateway);
    verify(&registry, &known, "after a restart of the registry");
    register(&registry, &mut known, 1);
    verify(&registry, &known, "at the end");

    let end = log_end(&gateway);
    assert_eq!(reader.stop_at(end), (0..end).collect::<Vec<_>>(), "a reader that lived through the crash");
    registry.assert_never_reset();
    assert_eq!(out_of_range(&gateway), 0.0);
}

/// What Confluent's registry does to a broker, without the registry; once more across a kill -9.
#[test]
fn reproducer() {
    let mut gateway = Gateway::options().storage("disk").start();
    let bootstrap = gateway.bootstrap();
    let expected = "registered 10/10 verified 10/10 resets 0";
    let mut command = tools::reproducer();
    command.args(["--bootstrap", &bootstrap]);
    let (code, output) = support::process::run("reproducer", &mut command, Duration::from_secs(130));
    assert_eq!((code, output.lines().last()), (0, Some(expected)), "{output}");

    let (code, output, restarts) = tools::with_restarts("reproducer", &mut gateway, |restart| {
        let mut command = tools::reproducer();
        command.args(["--bootstrap", &bootstrap, "--topic", "_again", "--group", "again", "--restart-broker", restart]);
        command
    });
    assert_eq!((code, output.lines().last()), (0, Some(expected)), "{output}");
    assert!(restarts > 0, "{output}");
}

struct Schema {
    subject: String,
    definition: Value,
}

impl Schema {
    fn new(number: u32) -> Self {
        let definition = json!({
            "type": "record",
            "name": format!("Event{number}"),
            "namespace": "tidegate.tests",
            "fields": [{"name": "id", "type": "long"}, {"name": format!("extra{number}"), "type": ["null", "string"]}],
        });
        Self { subject: format!("topic-{number}-value"), definition }
    }
}

/// Apicurio's registry in its own process, by the REST API that it shares with Confluent's.
struct Registry {
    process: Option<Process>,
    address: SocketAddr,
    directory: PathBuf,
    starts: u32,
}

impl Registry {
    fn start(gateway: &Gateway) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut registry = Self { process: None, address, directory: gateway.directory().to_owned(), starts: 0 };
        registry.restart(gateway);
        registry
    }

    fn restart(&mut self, gateway: &Gateway) {
        self.process = None;
        self.starts += 1;
        let temporary = self.directory.join("registry-tmp");
        std::fs::create_dir_all(&temporary).unwrap();
        let mut command = tools::java();
        command
            .arg("-Xmx384m")
            .arg(format!("-Djava.io.tmpdir={}", temporary.display()))
            .arg("-jar")
            .arg(tools::apicurio_jar())
            .env("APICURIO_STORAGE_KIND", "kafkasql")
            .env("APICURIO_KAFKASQL_BOOTSTRAP_SERVERS", gateway.bootstrap())
            // At its start it waits twice for a poll that comes back empty.
            .env("APICURIO_KAFKASQL_CONSUMER_POLL_TIMEOUT", "500")
            .env("QUARKUS_HTTP_HOST", "127.0.0.1")
            .env("QUARKUS_HTTP_PORT", self.address.port().to_string())
            .env("QUARKUS_HTTP_ACCESS_LOG_ENABLED", "false")
            .env("QUARKUS_MANAGEMENT_HOST", "127.0.0.1")
            .env("QUARKUS_MANAGEMENT_PORT", "0");
        let log = self.log_path(self.starts);
        let mut process = Process::start("apicurio", &mut command, &log);
        let start = Instant::now();
        self.address = loop {
            process.assert_alive();
            let output = process.output();
            let listening = output.split_once("Listening on: http://").map(|(_, rest)| rest);
            let address = listening.and_then(|rest| rest.split_whitespace().next()?.trim_end_matches('.').parse().ok());
            if let (Some(address), true) = (address, output.contains("storage bootstrapped in")) {
                break address;
            }
            assert!(start.elapsed() < START_PATIENCE, "the registry does not start\n{output}");
            thread::sleep(Duration::from_millis(50));
        };
        self.process = Some(process);
        eventually("the registry lists its subjects", START_PATIENCE, || {
            matches!(self.request("GET", "/subjects", None), Ok((200, _))).then_some(())
        });
    }

    fn register(&self, schema: &Schema) -> i64 {
        let (status, answer) = self.try_register(schema).unwrap();
        assert_eq!(status, 200, "{}: {answer}", schema.subject);
        answer["id"].as_i64().unwrap()
    }

    /// Tries again while the registry finds its broker again.
    fn register_when_possible(&self, schema: &Schema) -> i64 {
        eventually("a registration", Duration::from_secs(60), || match self.try_register(schema) {
            Ok((200, answer)) => answer["id"].as_i64(),
            _ => None,
        })
    }

    fn try_register(&self, schema: &Schema) -> std::io::Result<(u16, Value)> {
        let body = json!({"schema": schema.definition.to_string()});
        self.request("POST", &format!("/subjects/{}/versions", schema.subject), Some(&body))
    }

    /// Reads the schema back by subject and by id.
    fn check(&self, schema: &Schema, id: i64) -> Result<(), String> {
        let subject = &schema.subject;
        let read = |path: String| match self.request("GET", &path, None) {
            Ok((200, answer)) => Ok(answer),
            other => Err(format!("{subject}, id {id}: {path}: {other:?}")),
        };
        let latest = read(format!("/subjects/{subject}/versions/latest"))?;
        let by_id = read(format!("/schemas/ids/{id}"))?;
        if latest["id"] != id
            || definition_of(&latest) != schema.definition
            || definition_of(&by_id) != schema.definition
        {
            return Err(format!("{subject}, id {id}: found {latest} and {by_id}"));
        }
        Ok(())
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.request("GET", path, None).unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.request("POST", path, Some(body)).unwrap()
    }

    fn status(&self, path: &str) -> u16 {
        self.request("GET", path, None).unwrap().0
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(u16, Value)> {
        let body = body.map(Value::to_string);
        let body = body.as_deref().map(|content| ("application/vnd.schemaregistry.v1+json", content));
        let (status, answer) = http::try_request(self.address, method, &format!("/apis/ccompat/v7{path}"), body)?;
        Ok((status, serde_json::from_str(&answer).unwrap_or(Value::String(answer))))
    }

    /// What its consumers logged about losing their place. A new group has no committed offset and begins at 0: that
    /// line is expected, before the registry is up; any other is the failure that this project exists to prevent.
    fn assert_never_reset(&self) {
        for start in 1..=self.starts {
            let log = std::fs::read_to_string(self.log_path(start)).unwrap();
            let mut started = false;
            for line in log.lines() {
                started |= line.contains("storage bootstrapped in");
                let reset = line.contains("Resetting offset for partition");
                let lost =
                    line.contains("out of range") || reset && (started || !line.contains("FetchPosition{offset=0,"));
                assert!(!lost, "start {start} of the registry: {line}");
            }
        }
    }

    fn log_path(&self, start: u32) -> PathBuf {
        self.directory.join(format!("registry-{start}.log"))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(process) = &self.process
        {
            let output = process.output();
            let lines: Vec<_> = output.lines().rev().take(40).collect();
            eprintln!("---- end of the registry's log ----");
            lines.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn definition_of(answer: &Value) -> Value {
    serde_json::from_str(answer["schema"].as_str().unwrap_or("null")).unwrap()
}

/// Reads the registry's topic as the registry does: from its first record, and on for as long as it lives.
struct Reader {
    read: Arc<Mutex<Vec<i64>>>,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Reader {
    fn start(address: SocketAddr) -> Self {
        let (read, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (shared, stopped) = (Arc::clone(&read), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut position = 0;
            let mut connection = None;
            while !stopped.load(Ordering::Relaxed) {
                // The gateway may be away for a moment; the position is the reader's own.
                let Some(mut client) = connection.take().or_else(|| support::Client::try_connect(address).ok()) else {
                    thread::sleep(Duration::from_millis(10));
                    continue;
                };
                let request = topics::fetch_request(JOURNAL, 0, position).with_max_wait_ms(200);
                let Ok(response) = client.try_call(12, &request) else { continue };
                let answer = &response.responses[0].partitions[0];
                assert_eq!(answer.error_code, 0, "at {position}: {answer:?}");
                let records = support::batch::records_of(answer.records.as_ref());
                for record in records.iter().filter(|record| record.offset >= position) {
                    shared.lock().unwrap().push(record.offset);
                }
                position = position.max(records.last().map_or(0, |record| record.offset + 1));
                connection = Some(client);
            }
        });
        Self { read, stop, thread }
    }

    /// Every offset read, in order, once it has come to `end`.
    fn stop_at(self, end: i64) -> Vec<i64> {
        eventually("the reader comes to the end", Duration::from_secs(20), || {
            (self.thread.is_finished() || self.read.lock().unwrap().last() == Some(&(end - 1))).then_some(())
        });
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the reader went on without an error");
        let read = self.read.lock().unwrap();
        read.clone()
    }
}

fn log_end(gateway: &Gateway) -> i64 {
    topics::log_end_offset(&mut gateway.connect(), JOURNAL, 0)
}

fn out_of_range(gateway: &Gateway) -> f64 {
    let samples = gateway.metrics("tidegate_fetch_offset_out_of_range_total");
    assert!(!samples.is_empty(), "the metric is there");
    samples.iter().map(|(_, value)| value).sum()
}

/// Where Apicurio keeps its schemas: one partition, one record a change.
const JOURNAL: &str = "kafkasql-journal";
const JSON_SCHEMA: &str = "http://json-schema.org/draft-07/schema#";
const START_PATIENCE: Duration = Duration::from_secs(120);
