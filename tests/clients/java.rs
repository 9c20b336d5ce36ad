//! Java's kafka-clients: each test is a scenario of tests/clients/java, which says what it checks.

use crate::support::{Gateway, tools};

#[test]
fn consumer_offset_commit_and_fetch() {
    tools::java_scenario(&Gateway::start().bootstrap(), "consumer_offset_commit_and_fetch", &[]);
}

#[test]
fn consumer_group_persistence() {
    let mut gateway = Gateway::options().storage("disk").start();
    let state = gateway.directory().join("state.properties");
    let state = ["--state", state.to_str().unwrap()];
    tools::java_scenario(&gateway.bootstrap(), "consumer_group_persistence_prepare", &state);
    gateway.crash_and_restart();
    tools::java_scenario(&gateway.bootstrap(), "consumer_group_persistence_check", &state);
}

#[test]
fn stable_group_survives_restart() {
    let mut gateway = Gateway::options().storage("disk").start();
    tools::java_scenario_with_restart(&mut gateway, "stable_group_survives_restart", &["--expect-no-rebalance"]);
}

#[test]
fn stable_group_of_the_consumer_protocol_survives_restart() {
    let mut gateway = Gateway::options().storage("disk").config(CONSUMER_SETTINGS).start();
    tools::java_scenario_with_restart(
        &mut gateway,
        "stable_group_survives_restart_consumer",
        &["--expect-no-rebalance"],
    );
}

#[test]
fn fetch_from_offset() {
    tools::java_scenario(&Gateway::start().bootstrap(), "fetch_from_offset", &[]);
}

#[test]
fn offset_reset() {
    tools::java_scenario(&Gateway::start().bootstrap(), "offset_reset", &[]);
}

#[test]
fn idempotent_producer() {
    tools::java_scenario(&Gateway::start().bootstrap(), "idempotent_producer", &[]);
}

#[test]
fn admin() {
    tools::java_scenario(&Gateway::start().bootstrap(), "admin", &[]);
}

#[test]
fn older_clients_work() {
    let gateway = Gateway::start();
    for version in ["2.8.2", "3.3.2", "3.7.2", "3.9.1"] {
        for scenario in ["consumer_offset_commit_and_fetch", "idempotent_producer"] {
            tools::old_java_scenario(version, &gateway.bootstrap(), scenario);
        }
    }
}

#[test]
fn rebalance() {
    tools::java_scenario(&Gateway::start().bootstrap(), "rebalance", &[]);
}

#[test]
fn consumer_protocol() {
    let gateway = Gateway::options().config(CONSUMER_SETTINGS).start();
    tools::java_scenario(&gateway.bootstrap(), "consumer_protocol", &[]);
}

#[test]
fn transactional_refused() {
    tools::java_scenario(&Gateway::options().start().bootstrap(), "transactional_refused", &[]);
}

const CONSUMER_SETTINGS: &str =
    "group.consumer.heartbeat.interval.ms = 500\ngroup.consumer.min.heartbeat.interval.ms = 500";
