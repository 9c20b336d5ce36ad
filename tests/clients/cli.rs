//! kcat and the command-line tools that come with Apache Kafka.

use std::fs;

use crate::support::{
    Gateway, offsets,
    tools::{kafka_tool, kcat, try_kcat},
    topics::{self, produce_values},
    unique,
};

#[test]
fn kcat_lists_produces_and_consumes() {
    let gateway = Gateway::start();
    let bootstrap = gateway.bootstrap();
    let topic = unique("topic");
    topics::create(&mut gateway.connect(), &topic, 3);
    let listed = kcat(&["-b", &bootstrap, "-L", "-t", &topic]);
    assert!(listed.contains(&format!("topic \"{topic}\" with 3 partitions")), "{listed}");
    assert!(listed.contains(&format!("at {bootstrap}")), "{listed}");

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "k1:one\nk2:two\nk3:three\n").unwrap();
    let file = file.path().to_str().unwrap();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = unique("topic");
        topics::create(&mut gateway.connect(), &topic, 1);
        // Debian's kcat has no zstd: then the client itself says so, before it sends anything.
        let produce = ["-b", &bootstrap, "-P", "-t", &topic, "-p", "0", "-K:", "-z", codec, "-l", file];
        let (code, output) = try_kcat(&produce);
        if codec == "zstd" && code != 0 {
            assert!(output.contains("not available at build time") || output.contains("Invalid value"), "{output}");
            continue;
        }
        assert_eq!(code, 0, "{codec}: {output}");
        let consumed = kcat(&["-b", &bootstrap, "-C", "-t", &topic, "-e", "-q", "-f", "%o %k %s\\n"]);
        assert_eq!(consumed, "0 k1 one\n1 k2 two\n2 k3 three\n", "{codec}");
        let tail = kcat(&["-b", &bootstrap, "-C", "-t", &topic, "-o", "2", "-e", "-q", "-f", "%o %s\\n"]);
        assert_eq!(tail, "2 three\n", "{codec}");
    }
    let (code, output) = try_kcat(&["-b", &bootstrap, "-C", "-t", &topic, "-o", "beginning", "-e", "-p", "9"]);
    assert_ne!(code, 0, "partition 9 does not exist: {output}");
}

#[test]
fn kcat_reads_in_a_group() {
    let gateway = Gateway::start();
    let bootstrap = gateway.bootstrap();
    let (topic, group) = (unique("topic"), unique("group"));
    topics::create(&mut gateway.connect(), &topic, 1);
    offsets::await_coordinator(&mut gateway.connect(), &group);
    produce_values(&mut gateway.connect(), &topic, 0, ["a", "b", "c"]);
    let read = || kcat(&["-b", &bootstrap, "-X", "auto.offset.reset=earliest", "-G", &group, "-e", "-q", &topic]);
    assert_eq!(read(), "a\nb\nc\n");
    produce_values(&mut gateway.connect(), &topic, 0, ["d"]);
    assert_eq!(read(), "d\n", "it committed when it left");
}

#[test]
fn kafka_topics_and_configs() {
    let gateway = Gateway::start();
    let bootstrap = gateway.bootstrap();
    let topic = unique("topic");
    let topics = |arguments: &[&str]| tool("org.apache.kafka.tools.TopicCommand", &bootstrap, arguments);
    let configs = |arguments: &[&str]| tool("kafka.admin.ConfigCommand", &bootstrap, arguments);
    let created = topics(&["--create", "--topic", &topic, "--partitions", "3", "--config", "retention.ms=60000"]);
    assert!(created.contains(&format!("Created topic {topic}.")), "{created}");
    assert!(topics(&["--list"]).lines().any(|line| line == topic));
    let described = topics(&["--describe", "--topic", &topic]);
    assert!(described.contains("PartitionCount: 3\tReplicationFactor: 1\tConfigs: "), "{described}");
    assert!(described.contains("retention.ms=60000"), "{described}");
    assert!(described.contains("Partition: 2\tLeader: 1\tReplicas: 1\tIsr: 1"), "{described}");
    topics(&["--alter", "--topic", &topic, "--partitions", "5"]);
    assert!(topics(&["--describe", "--topic", &topic]).contains("PartitionCount: 5"));

    let entity = ["--entity-type", "topics", "--entity-name", &topic];
    let altered =
        configs(&[&["--alter", "--add-config", "cleanup.policy=compact,segment.ms=7200000"], &entity[..]].concat());
    assert!(altered.contains("Completed updating config"), "{altered}");
    configs(&[&["--alter", "--delete-config", "retention.ms"], &entity[..]].concat());
    let shown = configs(&[&["--describe"], &entity[..]].concat());
    for expected in ["cleanup.policy=compact sensitive=false", "segment.ms=7200000 sensitive=false"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(!shown.contains("retention.ms=60000"), "{shown}");
    let all = configs(&[&["--describe", "--all"], &entity[..]].concat());
    assert!(all.contains("retention.ms=604800000") && all.contains("DEFAULT_CONFIG"), "{all}");
    let broker = configs(&["--describe", "--all", "--entity-type", "brokers", "--entity-name", "1"]);
    assert!(broker.contains("auto.create.topics.enable=true"), "{broker}");

    topics(&["--delete", "--topic", &topic]);
    assert!(!topics(&["--list"]).lines().any(|line| line == topic));
    let (code, output) = kafka_tool(
        "org.apache.kafka.tools.TopicCommand",
        &["--bootstrap-server", &bootstrap, "--describe", "--topic", &topic],
    );
    assert_ne!(code, 0);
    assert!(output.contains("does not exist as expected"), "{output}");
}

#[test]
fn kafka_configs_of_groups() {
    let gateway = Gateway::start();
    let bootstrap = gateway.bootstrap();
    let group = unique("group");
    let entity = ["--entity-type", "groups", "--entity-name", &group];
    let configs =
        |arguments: &[&str]| tool("kafka.admin.ConfigCommand", &bootstrap, &[arguments, &entity[..]].concat());
    let two = "consumer.session.timeout.ms=50000,consumer.heartbeat.interval.ms=7000";
    let altered = configs(&["--alter", "--add-config", two]);
    assert!(altered.contains("Completed updating config"), "{altered}");
    configs(&["--alter", "--delete-config", "consumer.heartbeat.interval.ms"]);
    let shown = configs(&["--describe"]);
    assert!(shown.contains("consumer.session.timeout.ms=50000 sensitive=false"), "{shown}");
    assert!(!shown.contains("consumer.heartbeat.interval.ms=7000"), "{shown}");
    let all = tool("kafka.admin.ConfigCommand", &bootstrap, &["--describe", "--entity-type", "groups"]);
    assert!(all.contains(&group), "{all}");
}

#[test]
fn kafka_console_producer_and_consumer() {
    let gateway = Gateway::start();
    let bootstrap = gateway.bootstrap();
    let topic = unique("topic");
    topics::create(&mut gateway.connect(), &topic, 1);
    // The producer reads stdin, which the shell gives it.
    let produced = crate::support::tools::kafka_tool_with_input(
        "org.apache.kafka.tools.ConsoleProducer",
        &[
            "--bootstrap-server",
            &bootstrap,
            "--topic",
            &topic,
            "--property",
            "parse.key=true",
            "--property",
            "key.separator=:",
        ],
        "k1:one\nk2:two\n",
    );
    assert_eq!(produced.0, 0, "{}", produced.1);
    let consumed = tool(
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        &bootstrap,
        &[
            "--topic",
            &topic,
            "--from-beginning",
            "--max-messages",
            "2",
            "--timeout-ms",
            "20000",
            "--property",
            "print.key=true",
            "--property",
            "print.offset=true",
        ],
    );
    assert!(consumed.contains("Offset:0\tk1\tone\nOffset:1\tk2\ttwo\n"), "{consumed}");
    assert!(consumed.contains("Processed a total of 2 messages"), "{consumed}");
    let offsets = tool("org.apache.kafka.tools.GetOffsetShell", &bootstrap, &["--topic", &topic]);
    assert!(offsets.lines().any(|line| line == format!("{topic}:0:2")), "{offsets}");
    let earliest =
        tool("org.apache.kafka.tools.GetOffsetShell", &bootstrap, &["--topic", &topic, "--time", "earliest"]);
    assert!(earliest.lines().any(|line| line == format!("{topic}:0:0")), "{earliest}");
    let newest =
        tool("org.apache.kafka.tools.GetOffsetShell", &bootstrap, &["--topic", &topic, "--time", "max-timestamp"]);
    assert!(newest.lines().any(|line| line.starts_with(&format!("{topic}:0:"))), "{newest}");
}

#[test]
fn kafka_consumer_groups_describe_and_reset() {
    let gateway = Gateway::start();
    let bootstrap = gateway.bootstrap();
    let mut client = gateway.connect();
    let (topic, group) = (unique("topic"), unique("group"));
    topics::create(&mut client, &topic, 2);
    offsets::await_coordinator(&mut client, &group);
    produce_values(&mut client, &topic, 0, ["a", "b", "c", "d"]);
    offsets::commit(&mut client, &group, &topic, 0, 3);
    let groups =
        |arguments: &[&str]| tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &bootstrap, arguments);
    assert!(groups(&["--list"]).lines().any(|line| line == group));
    let row = |output: &str, partition: &str| -> Vec<String> {
        let row = output.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        row.into_iter()
            .find(|row| row.first() == Some(&group) && row.get(2).map(String::as_str) == Some(partition))
            .unwrap_or_else(|| panic!("no row of partition {partition}: {output}"))
    };
    // Group, topic, partition, current offset, (leader epoch,) log end offset, lag.
    let described = groups(&["--describe", "--group", &group]);
    let cells = row(&described, "0");
    assert_eq!((&*cells[1], &*cells[3]), (&*topic, "3"), "{described}");
    assert!(
        cells[4..].starts_with(&["4".to_owned(), "1".to_owned()])
            || cells[5..].starts_with(&["4".to_owned(), "1".to_owned()]),
        "{described}"
    );
    let state = groups(&["--describe", "--group", &group, "--state"]);
    assert!(state.contains("Empty"), "{state}");

    let reset = ["--reset-offsets", "--group", &group, "--topic", &topic];
    let planned = groups(&[&reset[..], &["--to-earliest", "--dry-run"]].concat());
    assert!(planned.contains(&topic), "{planned}");
    assert_eq!(offsets::fetch_all(&mut client, &group)[0].1[0].offset, 3, "a dry run changes nothing");
    groups(&[&reset[..], &["--to-offset", "1", "--execute"]].concat());
    assert_eq!(offsets::fetch_all(&mut client, &group)[0].1[0].offset, 1);
    groups(&[&reset[..], &["--to-latest", "--execute"]].concat());
    assert_eq!(offsets::fetch_all(&mut client, &group)[0].1[0].offset, 4);
    groups(&[&reset[..], &["--shift-by", "-2", "--execute"]].concat());
    assert_eq!(offsets::fetch_all(&mut client, &group)[0].1[0].offset, 2);

    let removed = groups(&["--delete-offsets", "--group", &group, "--topic", &topic]);
    assert!(removed.contains("Successful"), "{removed}");
    assert_eq!(offsets::fetch_all(&mut client, &group), []);
    offsets::commit(&mut client, &group, &topic, 0, 3);
    let deleted = groups(&["--delete", "--group", &group]);
    assert!(deleted.contains("was successful"), "{deleted}");
    assert!(!groups(&["--list"]).lines().any(|line| line == group));
}

#[test]
fn kafka_tools_that_look_around() {
    let gateway = Gateway::start();
    let bootstrap = gateway.bootstrap();
    let topic = unique("topic");
    topics::create(&mut gateway.connect(), &topic, 1);
    produce_values(&mut gateway.connect(), &topic, 0, ["a", "b", "c"]);
    let versions = tool("org.apache.kafka.tools.BrokerApiVersionsCommand", &bootstrap, &[]);
    assert!(versions.contains("Produce(0): 0 to 13"), "{versions}");
    let directories =
        tool("org.apache.kafka.tools.LogDirsCommand", &bootstrap, &["--describe", "--topic-list", &topic]);
    assert!(directories.contains(&format!("\"partition\":\"{topic}-0\"")), "{directories}");

    let file = tempfile::NamedTempFile::new().unwrap();
    let up_to =
        format!("{{\"partitions\": [{{\"topic\": \"{topic}\", \"partition\": 0, \"offset\": 2}}], \"version\": 1}}");
    fs::write(&file, up_to).unwrap();
    let arguments = ["--offset-json-file", file.path().to_str().unwrap()];
    let deleted = tool("org.apache.kafka.tools.DeleteRecordsCommand", &bootstrap, &arguments);
    assert!(deleted.contains("low_watermark: 2"), "{deleted}");
    assert_eq!(topics::log_start_offset(&mut gateway.connect(), &topic, 0), 2);
}

#[test]
fn kafka_tools_of_administrators() {
    let gateway = Gateway::start();
    let bootstrap = gateway.bootstrap();
    let topic = unique("topic");
    topics::create(&mut gateway.connect(), &topic, 1);
    let run = |class: &str, arguments: &[&str]| tool(&format!("org.apache.kafka.tools.{class}"), &bootstrap, arguments);
    let quorum = run("MetadataQuorumCommand", &["describe", "--status"]);
    assert!(quorum.lines().any(|line| line.starts_with("CurrentVoters:") && line.contains("\"id\": 1")), "{quorum}");
    let moves = run("reassign.ReassignPartitionsCommand", &["--list"]);
    assert!(moves.contains("No partition reassignments found."), "{moves}");
    let election =
        run("LeaderElectionCommand", &["--election-type", "preferred", "--topic", &topic, "--partition", "0"]);
    assert!(election.contains(&format!("Valid replica already elected for partitions {topic}-0")), "{election}");
    run("LeaderElectionCommand", &["--election-type", "unclean", "--all-topic-partitions"]);
    let producers = run("TransactionsCommand", &["describe-producers", "--topic", &topic, "--partition", "0"]);
    assert!(producers.contains("LastSequence"), "{producers}");
    let transactions = run("TransactionsCommand", &["list"]);
    assert!(transactions.contains("TransactionalId"), "{transactions}");
    for kind in ["users", "clients", "ips", "groups", "client-metrics"] {
        let configs = tool("kafka.admin.ConfigCommand", &bootstrap, &["--describe", "--entity-type", kind]);
        assert!(!configs.contains("configs"), "{kind}: {configs}");
    }
    let (_, acls) = kafka_tool("org.apache.kafka.tools.AclCommand", &["--bootstrap-server", &bootstrap, "--list"]);
    assert!(acls.contains("No Authorizer is configured on the broker"), "{acls}");
}

#[test]
fn kafka_performance_tools() {
    let gateway = Gateway::start();
    let bootstrap = gateway.bootstrap();
    let topic = unique("topic");
    topics::create(&mut gateway.connect(), &topic, 1);
    let servers = format!("bootstrap.servers={bootstrap}");
    let (code, produced) = kafka_tool(
        "org.apache.kafka.tools.ProducerPerformance",
        &[
            "--topic",
            &topic,
            "--num-records",
            "20000",
            "--record-size",
            "100",
            "--throughput",
            "-1",
            "--producer-props",
            &servers,
        ],
    );
    assert_eq!(code, 0, "{produced}");
    assert!(produced.contains("20000 records sent"), "{produced}");
    let arguments = ["--topic", &topic, "--messages", "20000", "--timeout", "20000"];
    let consumed = tool("org.apache.kafka.tools.ConsumerPerformance", &bootstrap, &arguments);
    assert!(consumed.lines().last().unwrap().split(", ").any(|cell| cell == "20000"), "{consumed}");
}

/// Runs a tool that must end well.
fn tool(class: &str, bootstrap: &str, arguments: &[&str]) -> String {
    let (code, output) = kafka_tool(class, &[&["--bootstrap-server", bootstrap], arguments].concat());
    assert_eq!(code, 0, "{class} {arguments:?}: {output}");
    output
}
