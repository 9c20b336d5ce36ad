//! The gateway as a process: how it starts, what it refuses, how it ends.

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
    fs,
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use kafka_protocol::messages::FetchRequest;
use support::{
    Client, Gateway,
    batch::Batch,
    eventually,
    frames::frame,
    gateway::serve_command,
    groups::{self, await_state},
    http, process,
    topics::{self, fetch_request, produce_request, produce_values, read_all, texts},
};

#[test]
fn sigterm_drains_in_time_while_clients_wait() {
    for storage in ["disk", "memory"] {
        let mut gateway = Gateway::options().storage(storage).start();
        let mut client = gateway.connect();
        topics::create(&mut client, "topic", 1);

        // A long poll, a member that waits for the others of its group, a connection that says nothing, and one
        // that is in the middle of a frame.
        let poll = client.send(12, &fetch_request("topic", 0, 0).with_max_wait_ms(60_000));
        let (mut first, second) = groups::pair(&gateway, "group");
        let join = first.send_join();
        await_state(&mut gateway.connect(), "group", "PreparingRebalance");
        let _silent = gateway.connect();
        let mut halfway = gateway.connect();
        halfway.write(&[0, 0, 1, 0, 0, 3]);
        let mut producer = gateway.connect();
        producer.write(&frame(9, 1, &produce_request("topic", 0, Batch::of(["last words"]).encode())));

        let (status, took) = gateway.terminate(Duration::from_secs(15));
        assert_eq!(status.code(), Some(0), "{storage}: {status}");
        assert!(took < Duration::from_secs(5), "{storage}: {took:?}");
        drop((poll, join, second));
        assert!(Client::try_connect(gateway.address).is_err(), "it does not listen any more");
    }
}

#[test]
fn what_was_in_flight_at_sigterm_is_answered_and_kept() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 1);
    let mut waiting = gateway.connect();
    let poll = waiting.send(12, &fetch_request("topic", 0, 0).with_max_wait_ms(60_000));
    waiting.assert_silent(Duration::from_millis(50));
    for number in 0..20 {
        let records = Batch::of([format!("{number}")]).encode();
        client.write(&frame(9, 100 + number, &produce_request("topic", 0, records)));
    }
    let (status, _) = gateway.terminate(Duration::from_secs(15));
    assert_eq!(status.code(), Some(0));
    let mut answered = 0;
    while let Ok(Some(_)) = client.try_read_frame() {
        answered += 1;
    }
    let response = waiting.receive::<FetchRequest>(12, poll);
    assert_eq!(response.responses[0].partitions[0].error_code, 0, "a poll ends early, and not with an error");
    gateway.run();
    let kept = read_all(&mut gateway.connect(), "topic", 0, 0).len();
    assert!(kept >= answered, "{answered} acknowledged, {kept} kept");
}

#[test]
fn a_joining_member_is_told_to_come_again_at_sigterm() {
    let mut gateway = Gateway::options().storage("disk").start();
    let (mut first, second) = groups::pair(&gateway, "group");
    // A leader that joins again wants a rebalance.
    let join = first.send_join();
    await_state(&mut gateway.connect(), "group", "PreparingRebalance");
    let (status, _) = gateway.terminate(Duration::from_secs(15));
    assert_eq!(status.code(), Some(0));
    // A retriable error, or no answer at all; never a generation that did not come about.
    if let Ok(Some(frame)) = first.client.try_read_frame() {
        // Correlation id, no tags, throttle time, then the error.
        let code = i16::from_be_bytes([frame[9], frame[10]]);
        assert!(matches!(code, 14..=16 | 27), "error code {code} of join {join}");
    }
    gateway.run();
    let described = groups::describe(&mut gateway.connect(), "group");
    assert_eq!((&*described.group_state, described.members.len()), ("Stable", 2));
    drop(second);
}

#[test]
fn an_orderly_stop_keeps_everything() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut client = gateway.connect();
    let id = topics::create(&mut client, "topic", 3);
    for round in 0..3 {
        let mut client = gateway.connect();
        assert_eq!(produce_values(&mut client, "topic", 2, [format!("{round}")]), round);
        support::offsets::commit(&mut client, "group", "topic", 2, round + 1);
        let (status, _) = gateway.terminate(Duration::from_secs(15));
        assert_eq!(status.code(), Some(0));
        gateway.run();
        let mut client = gateway.connect();
        assert_eq!(topics::describe(&mut client, "topic").topic_id, id);
        assert_eq!(read_all(&mut client, "topic", 2, 0).len(), usize::try_from(round + 1).unwrap());
        assert_eq!(support::offsets::fetch_all(&mut client, "group")[0].1[0].offset, round + 1);
    }
}

#[test]
fn sigterm_ends_a_start_that_is_recovering_and_harms_nothing() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 1);
    assert_eq!(produce_values(&mut client, "topic", 0, ["kept"]), 0);
    gateway.kill();
    // A recovery that takes for ever: it reads a file whose bytes never come.
    let metadata = gateway.data_dir().join("topics/topic-0/partition.metadata");
    let contents = fs::read(&metadata).unwrap();
    fs::remove_file(&metadata).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&metadata).status().unwrap().success());
    gateway.begin();
    eventually("it is recovering", PATIENCE, || {
        let (status, body) = http::try_request(gateway.admin, "GET", "/readyz", None).ok()?;
        (status == 503 && body.contains("starting")).then_some(())
    });
    let (status, took) = gateway.terminate(PATIENCE);
    assert!(status.success() && took < Duration::from_secs(2), "{status} after {took:?}");
    assert!(gateway.log().contains("stopped before the start was complete"));
    fs::remove_file(&metadata).unwrap();
    fs::write(&metadata, contents).unwrap();
    gateway.run();
    assert_eq!(texts(&read_all(&mut gateway.connect(), "topic", 0, 0)), ["kept"]);
}

#[test]
fn a_data_directory_in_use_is_refused() {
    let gateway = Gateway::options().storage("disk").start();
    let (code, output) = refuse(&["--data-dir", gateway.data_dir().to_str().unwrap(), "--storage", "disk"]);
    assert!(code == 1 || code == 2, "exit code {code}: {output}");
    let lines: Vec<_> = output.lines().filter(|line| line.contains(gateway.data_dir().to_str().unwrap())).collect();
    assert_eq!(lines.len(), 1, "one line that names the directory:\n{output}");
    assert!(!output.contains("tidegate listening"), "{output}");
    // The one that has it goes on.
    gateway.connect().ping();
}

#[test]
fn an_address_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let (code, output) = refuse(&["--listen", &address, "--data-dir", path(&directory), "--storage", "disk"]);
    assert_eq!(code, 1, "{output}");
    assert!(output.lines().any(|line| line.contains(&address)), "{output}");
}

#[test]
fn wrong_settings_are_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let file = directory.path().join(format!("{}.toml", support::unique("config")));
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let cases: [(&[&str], &str); 7] = [
        (&["--listen", "nowhere"], "nowhere"),
        (&["--durability", "perhaps"], "perhaps"),
        (&["--storage", "paper"], "paper"),
        (&["--config", "/no/such/file.toml"], "/no/such/file.toml"),
        (&["--config", &file("listenn = \"127.0.0.1:0\"\n")], "listen"),
        (&["--config", &file("listen = [\n")], "config"),
        (&["--log", "tidegate=loud=very"], "log"),
    ];
    for (arguments, named) in cases {
        let (code, output) = refuse(arguments);
        assert_eq!(code, 2, "{arguments:?}: {output}");
        assert!(output.to_lowercase().contains(named), "{arguments:?} does not name {named}:\n{output}");
        assert!(!output.contains("panicked"), "{output}");
    }
    let mut command = serve_command();
    command.env("TIDEGATE_DURABILITY", "perhaps");
    let (code, output) = process::run("tidegate", &mut command, PATIENCE);
    assert_eq!(code, 2, "{output}");
    assert_eq!(output.lines().count(), 1, "one line:\n{output}");
    assert!(output.contains("TIDEGATE_DURABILITY") && output.contains("perhaps"), "{output}");
}

#[test]
fn health_metrics_and_version_answer() {
    let gateway = Gateway::start();
    for path in ["/healthz", "/readyz", "/metrics"] {
        let (status, body) = http::get(gateway.admin, path);
        assert_eq!(status, 200, "{path}: {body}");
    }
    assert_eq!(http::get(gateway.admin, "/nowhere").0, 404);
    support::offsets::commit_codes(&mut gateway.connect(), 8, &support::offsets::commit_request("g", vec![]));
    assert!(!gateway.metrics("tidegate_").is_empty(), "metrics are ours by name");
}

#[test]
fn metrics_show_offsets_latency_and_storage() {
    for storage in ["disk", "memory"] {
        let gateway = Gateway::options().storage(storage).start();
        let mut client = gateway.connect();
        topics::create(&mut client, "topic", 1);
        produce_values(&mut client, "topic", 0, ["value"]);
        for offset in 1..=3 {
            support::offsets::commit(&mut client, "group", "topic", 0, offset);
        }
        support::offsets::fetch_all(&mut client, "group");
        let value = |name: &str| {
            let samples = gateway.metrics(name);
            assert_eq!(samples.len(), 1, "{name}: {samples:?}");
            samples[0].1
        };
        assert_eq!(value("tidegate_offset_commit_duration_seconds_count"), 3.0);
        assert!(value("tidegate_offset_fetch_duration_seconds_count") >= 1.0);
        assert_eq!(value("tidegate_offsets_committed_total"), 3.0);
        assert_eq!(value("tidegate_fetch_offset_out_of_range_total"), 0.0);
        for (kind, entries) in [("offsets", 1.0), ("groups", 1.0), ("records", 1.0)] {
            let labels = format!("{{backend=\"{storage}\",kind=\"{kind}\"}}");
            let found = value(&format!("tidegate_storage_entries{labels}"));
            // A group of nothing but offsets may or may not count as one.
            assert!(found == entries || kind == "groups" && found == 0.0, "{kind}: {found}");
            if kind != "groups" {
                assert!(value(&format!("tidegate_storage_bytes{labels}")) > 0.0, "{kind}");
            }
        }
        topics::fetch(&mut client, "topic", 0, 99);
        assert_eq!(value("tidegate_fetch_offset_out_of_range_total"), 1.0);
    }
}

#[test]
fn metrics_show_groups_members_rebalances_and_lag() {
    let gateway = Gateway::options().env("TIDEGATE_METRICS_GROUP_LAG_MAX_SERIES", "2").start();
    let mut member = groups::Member::alone(&gateway, "group");
    let mut admin = gateway.connect();
    topics::create(&mut admin, "topic", 2);
    topics::create(&mut admin, "other", 1);
    produce_values(&mut admin, "topic", 0, ["one", "two", "three"]);
    assert_eq!(member.commit(8, "topic", 0, 1), 0);
    assert_eq!(member.commit(8, "topic", 1, 0), 0);
    let value = |name: &str| {
        let samples = gateway.metrics(name);
        assert_eq!(samples.len(), 1, "{name}: {samples:?}");
        samples[0].1
    };
    assert_eq!(value("tidegate_groups{state=\"Stable\"}"), 1.0);
    assert_eq!(value("tidegate_group_members"), 1.0);
    assert_eq!(value("tidegate_group_rebalances_total"), 1.0);
    for step in ["join", "sync"] {
        let count = format!("tidegate_group_rebalance_step_duration_seconds_count{{step=\"{step}\"}}");
        assert_eq!(value(&count), 1.0);
    }
    assert_eq!(value("tidegate_group_lag{group=\"group\",topic=\"topic\"}"), 2.0);
    assert_eq!(value("tidegate_group_lag_omitted_groups"), 0.0);
    // Of three more series only one is shown, whatever groups call themselves.
    for group in ["h\"\n", "i"] {
        support::offsets::commit(&mut admin, group, "other", 0, 0);
    }
    assert_eq!(gateway.metrics("tidegate_group_lag{").len(), 2);
    assert_eq!(value("tidegate_group_lag_omitted_groups"), 1.0);
    // What a group has read, and what is gone, shows no more.
    assert_eq!(member.commit(8, "topic", 0, 3), 0);
    assert_eq!(value("tidegate_group_lag{group=\"group\",topic=\"topic\"}"), 0.0);
    topics::delete(&mut admin, "topic");
    assert_eq!(gateway.metrics("tidegate_group_lag{group=\"group\""), []);
}

#[test]
fn metrics_show_the_cache_of_offsets_where_there_is_one() {
    let without = Gateway::start();
    assert_eq!(without.metrics("tidegate_offsets_cache_events_total"), []);
    // The lag of groups is read through the cache as well.
    let gateway = Gateway::options().env("TIDEGATE_OFFSETS_CACHE_MAX_BYTES", "1000000");
    let gateway = gateway.env("TIDEGATE_METRICS_GROUP_LAG_MAX_SERIES", "0").start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 2);
    support::offsets::commit(&mut client, "group", "topic", 0, 5);
    for _ in 0..3 {
        let found = support::offsets::fetch(&mut client, 5, "group", Some(&[("topic", &[0, 1])]));
        assert_eq!(found[0].1.iter().map(|partition| partition.offset).collect::<Vec<_>>(), [5, -1]);
    }
    let value = |name: &str| gateway.metrics(name)[0].1;
    // The commit left the first partition in the cache; that the second has none was asked once.
    assert_eq!(value("tidegate_offsets_cache_events_total{event=\"hit\"}"), 5.0);
    assert_eq!(value("tidegate_offsets_cache_events_total{event=\"miss\"}"), 1.0);
    assert_eq!(value("tidegate_offsets_cache_events_total{event=\"eviction\"}"), 0.0);
    assert_eq!(value("tidegate_offsets_cache_groups"), 1.0);
    assert!(value("tidegate_offsets_cache_bytes") > 0.0);
}

#[test]
fn logs_name_what_happens_at_debug_and_are_quiet_at_info() {
    for (filter, loud) in [("info", false), ("debug", true)] {
        let gateway = Gateway::options().log(filter).start();
        let mut member = groups::Member::alone(&gateway, "the-group");
        topics::create(&mut member.client, "the-topic", 1);
        produce_values(&mut member.client, "the-topic", 0, ["value"]);
        assert_eq!(member.commit(8, "the-topic", 0, 77), 0);
        topics::fetch(&mut member.client, "the-topic", 0, 99);
        assert_eq!(member.leave(), 0);
        let member_id = format!("member={}", member.member_id);
        let log = gateway.log();
        let names_all = |line: &str| {
            ["the-group", "the-topic", "partition=0", "offset=77", "generation=1", &member_id]
                .iter()
                .all(|part| line.contains(part))
        };
        assert_eq!(log.lines().any(names_all), loud, "{filter}: {log}");
        if !loud {
            // Start, addresses, a new topic: nothing for each request.
            assert!(log.lines().count() < 10, "{log}");
        }
    }
}

#[test]
fn it_starts_at_once() {
    let start = Instant::now();
    let gateway = Gateway::options().storage("disk").start();
    gateway.connect().ping();
    // The release build is held to 10 ms by its own benchmark; this only catches what is plainly wrong.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

/// Runs `serve` with these arguments and what makes it harmless; it must end by itself.
fn refuse(arguments: &[&str]) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = serve_command();
    let given = |flag: &str| arguments.contains(&flag);
    for flag in ["--listen", "--admin-listen"] {
        if !given(flag) {
            command.args([flag, "127.0.0.1:0"]);
        }
    }
    if !given("--data-dir") {
        command.arg("--data-dir").arg(directory.path());
    }
    process::run("tidegate", command.args(arguments), PATIENCE)
}

fn path(directory: &impl AsRef<Path>) -> &str {
    directory.as_ref().to_str().unwrap()
}

const PATIENCE: Duration = Duration::from_secs(10);
