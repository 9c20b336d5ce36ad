//! Files of partitions are Kafka's: its tools read ours, and what a stopped Kafka leaves is read here.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::support::{
    Gateway,
    kafka::Kafka,
    tools::{kafka_tool, kcat},
    topics, unique,
};

#[test]
fn kafka_dump_log_reads_what_the_gateway_writes() {
    let mut gateway = Gateway::options().storage("disk").start();
    let topic = unique("topic");
    topics::create_with(&mut gateway.connect(), &topic, 1, &[("segment.ms", "10"), ("index.interval.bytes", "500")]);
    for codec in CODECS {
        produce(&gateway.bootstrap(), &topic, codec, 0..RECORDS);
        gateway.crash_and_restart();
    }
    let (status, _) = gateway.terminate(PATIENCE);
    assert!(status.success(), "{}", gateway.log());

    let directory = gateway.data_dir().join("topics").join(format!("{topic}-0"));
    let logs = files(&directory, ".log");
    assert!(logs.len() > 3, "{logs:?}");
    let dumped = dump(&["--deep-iteration", "--print-data-log"], &logs);
    let records: Vec<_> = dumped.lines().filter(|line| line.contains("payload:")).collect();
    let offsets: Vec<usize> = records.iter().map(|line| number_behind("offset: ", line)).collect();
    assert_eq!(offsets, (0..CODECS.len() * RECORDS).collect::<Vec<_>>());
    for (index, record) in records.iter().enumerate() {
        let value = value_of(index % RECORDS);
        assert!(record.ends_with(&format!("key: k{} payload: {value}", index % RECORDS)), "{record}");
    }
    let batches: Vec<_> = dumped.lines().filter(|line| line.starts_with("baseOffset:")).collect();
    assert!(batches.iter().all(|batch| batch.contains("isvalid: true")), "{dumped}");
    for codec in CODECS {
        assert!(batches.iter().any(|batch| batch.contains(&format!("compresscodec: {codec} "))), "{codec}: {dumped}");
    }
    // Without a word about entries that do not fit the records.
    for (index, entry) in [(".index", "offset: "), (".timeindex", "timestamp: ")] {
        let dumped = dump(&[], &files(&directory, index));
        assert!(dumped.lines().any(|line| line.starts_with(entry)), "{dumped}");
        assert!(!dumped.contains("Found timestamp mismatch") && !dumped.contains("Mismatches in"), "{dumped}");
    }
    let snapshots = files(&directory, ".snapshot");
    assert!(dump(&[], &snapshots).contains("producerEpoch: 0"), "{snapshots:?}");
}

#[test]
fn a_partition_of_a_stopped_kafka_is_read_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(directory.path());
    let topic = unique("topic");
    let create = ["--bootstrap-server", &kafka.bootstrap, "--create", "--topic", &topic, "--partitions", "1"];
    let (code, output) = kafka_tool("org.apache.kafka.tools.TopicCommand", &create);
    assert_eq!(code, 0, "{output}");
    for codec in CODECS {
        produce(&kafka.bootstrap, &topic, codec, 0..RECORDS);
    }
    let theirs = kafka.stop().join(format!("{topic}-0"));

    let mut gateway = Gateway::options().storage("disk").start();
    topics::create(&mut gateway.connect(), &topic, 1);
    gateway.terminate(PATIENCE);
    let ours = gateway.data_dir().join("topics").join(format!("{topic}-0"));
    fs::create_dir_all(&ours).unwrap();
    for file in files(&theirs, "") {
        // The one file that says which topic the others belong to.
        if !file.ends_with("partition.metadata") {
            fs::copy(&file, ours.join(file.file_name().unwrap())).unwrap();
        }
    }
    gateway.run();
    let all = CODECS.len() * RECORDS;
    assert_eq!(
        read(&gateway.bootstrap(), &topic, all),
        (0..all).map(|index| value_of(index % RECORDS)).collect::<Vec<_>>()
    );
    // It goes on behind them, and after a kill as well.
    produce(&gateway.bootstrap(), &topic, "none", 0..1);
    gateway.crash_and_restart();
    let tail = kcat(&["-b", &gateway.bootstrap(), "-C", "-t", &topic, "-o", "-1", "-e", "-q", "-f", "%o %s"]);
    assert_eq!(tail, format!("{all} {}", value_of(0)));
}

/// An idempotent producer with batches of a few records.
fn produce(bootstrap: &str, topic: &str, codec: &str, records: std::ops::Range<usize>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("compression.codec", codec)
        .set("batch.num.messages", "7")
        .create()
        .unwrap();
    for index in records {
        let (key, value) = (format!("k{index}"), value_of(index));
        producer.send(BaseRecord::to(topic).partition(0).key(&key).payload(&value)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

fn read(bootstrap: &str, topic: &str, count: usize) -> Vec<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", unique("group"))
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let begin = Instant::now();
    let mut values = Vec::new();
    while values.len() < count {
        assert!(begin.elapsed() < PATIENCE, "{} records of {count}", values.len());
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            values.push(String::from_utf8(message.unwrap().payload().unwrap().to_vec()).unwrap());
        }
    }
    values
}

fn value_of(index: usize) -> String {
    format!("value-{index}-{}", "x".repeat(index % 97))
}

fn dump(options: &[&str], files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let (code, output) = kafka_tool("kafka.tools.DumpLogSegments", &[options, &["--files", &names.join(",")]].concat());
    assert_eq!(code, 0, "{output}");
    output
}

/// In the order of their names, which is that of their offsets.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    files.sort();
    files
}

fn number_behind(label: &str, line: &str) -> usize {
    let digits = line.split_once(label).unwrap().1;
    digits.split(' ').next().unwrap().parse().unwrap()
}

/// Those that this librdkafka is built with.
const CODECS: [&str; 4] = ["none", "gzip", "snappy", "lz4"];
const RECORDS: usize = 300;
const PATIENCE: Duration = Duration::from_secs(30);
