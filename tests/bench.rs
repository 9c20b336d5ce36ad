//! `tidegate bench`: each workload runs against the gateway, and says so when something is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by a panic, and owns no clock"
)]

mod support;

use std::{net::TcpListener, process::Command, time::Duration};

use kafka_protocol::messages::MetadataRequest;
use serde_json::Value;
use support::{Gateway, process, topics};

#[test]
fn every_workload_runs_and_leaves_nothing_behind() {
    let gateway = Gateway::options().storage("disk").durability("os").start();
    let workloads: [&[&str]; 12] = [
        &["produce"],
        &["produce", "--acks", "1", "--total-bytes", "4MiB"],
        &["produce-small"],
        &["produce-many"],
        &["fetch", "--total-bytes", "8MiB"],
        &["tail", "--rate", "500"],
        &["offset-commit", "--connections", "4", "--groups", "8"],
        &["offset-fetch", "--connections", "4", "--groups", "8"],
        &["offset-fetch", "--all", "--connections", "4", "--groups", "8"],
        &["join", "--groups", "3", "--members", "4"],
        &["connections", "--connections", "200"],
        &["create-topic", "--partitions", "100"],
    ];
    for workload in workloads {
        let report = run(&gateway, workload);
        assert!(report["workload"].as_str().unwrap().starts_with(workload[0]), "{report}");
        for key in ["requests", "requests_per_second", "latency_p50_ms", "latency_p99_ms", "server_resident_kib"] {
            assert!(report[key].as_f64().unwrap() > 0.0, "{key} of {workload:?}: {report}");
        }
    }
    let left = gateway.connect().call(9, &MetadataRequest::default().with_topics(None)).topics;
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_named_topic_is_kept_and_read_to_its_last_record() {
    let gateway = Gateway::options().storage("memory").start();
    let produced = run(&gateway, &["produce", "--topic", "kept", "--total-bytes", "4MiB", "--connections", "2"]);
    let records = produced["records"].as_i64().unwrap();
    let ends: i64 = (0..4).map(|partition| topics::log_end_offset(&mut gateway.connect(), "kept", partition)).sum();
    assert_eq!(ends, records);

    let read =
        run(&gateway, &["fetch", "--topic", "kept", "--fill", "false", "--connections", "1", "--duration", "1s"]);
    assert!(read["passes"].as_f64().unwrap() >= 1.0, "{read}");
    assert_eq!(topics::log_end_offset(&mut gateway.connect(), "kept", 0), ends / 2, "two producers, a partition each");
}

#[test]
fn what_goes_wrong_is_one_line_and_exit_code_1() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let gateway = Gateway::options().storage("memory").start();
    let address = gateway.address.to_string();
    let cases: [(&[&str], &str); 4] = [
        (&["produce", "--bootstrap", &closed], "cannot connect"),
        (&["fetch", "--fill", "false", "--topic", "empty", "--bootstrap", &address], "topic empty is empty"),
        (&["produce", "--topic", "not a name", "--bootstrap", &address], "InvalidTopic"),
        (&["produce", "--record-bytes", "2MiB", "--bootstrap", &address], "MessageTooLarge"),
    ];
    for (arguments, message) in cases {
        let (code, output) = process::run("bench", command().args(arguments), PATIENCE);
        assert_eq!((code, output.lines().count()), (1, 1), "{arguments:?}: {output}");
        assert!(output.contains(message), "{arguments:?}: {output}");
    }
}

fn run(gateway: &Gateway, arguments: &[&str]) -> Value {
    let mut command = command();
    command.args(["--json", "--bootstrap", &gateway.address.to_string(), "--server-pid", &gateway.id().to_string()]);
    for (flag, value) in [("--duration", "300ms"), ("--warmup", "100ms")] {
        if !arguments.contains(&flag) {
            command.args([flag, value]);
        }
    }
    let (code, output) = process::run("bench", command.args(arguments), PATIENCE);
    assert_eq!(code, 0, "{arguments:?}: {output}");
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output}"))
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("bench");
    command
}

const PATIENCE: Duration = Duration::from_secs(60);
