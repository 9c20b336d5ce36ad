//! Programs of others that the tests run; `tests/setup.py` fetches what is missing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use super::{
    Gateway,
    process::{self, Process},
};

/// `kcat` with these arguments; it must end well. Answers what it printed.
pub fn kcat(arguments: &[&str]) -> String {
    let (code, output) = try_kcat(arguments);
    assert_eq!(code, 0, "kcat {arguments:?}: {output}");
    output
}

/// Whether a broker tells kcat of itself.
pub fn kcat_answers(bootstrap: &str) -> bool {
    try_kcat(&["-b", bootstrap, "-L", "-m", "2"]).0 == 0
}

pub fn try_kcat(arguments: &[&str]) -> (i32, String) {
    let program = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .flat_map(|directory| [directory.join("kcat"), directory.join("kafkacat")])
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("kcat is missing: {RUN_SETUP}"));
    process::run("kcat", Command::new(program).args(arguments), PATIENCE)
}

/// One scenario of tests/clients/java against the broker at `bootstrap`.
pub fn java_scenario(bootstrap: &str, scenario: &str, options: &[&str]) {
    let (code, output) = process::run(scenario, java_clients(bootstrap, scenario).args(options), JAVA_PATIENCE);
    assert_scenario(scenario, code, &output);
}

/// As [`java_scenario`], with `--restart-command`.
pub fn java_scenario_with_restart(gateway: &mut Gateway, scenario: &str, options: &[&str]) {
    let mut command = java_clients(&gateway.bootstrap(), scenario);
    command.args(options);
    let (code, output, restarts) = with_restarts(scenario, gateway, |restart| {
        command.args(["--restart-command", restart]);
        command
    });
    assert_scenario(scenario, code, &output);
    assert_eq!(restarts, 1, "{output}");
}

/// As [`java_scenario`], with the clients of an older release.
pub fn old_java_scenario(version: &str, bootstrap: &str, scenario: &str) {
    let clients = existing(cache().join(format!("old-java-clients/kafka-clients-{version}.jar")));
    let scenarios = root().join("tests/clients/java/target/java-clients.jar");
    let mut command = java();
    // The first jar that has a class gives it.
    command.arg("-cp").arg(format!("{}:{}", clients.display(), existing(scenarios).display()));
    command.args(["tidegate.clients.Main", "--bootstrap", bootstrap, scenario]);
    let (code, output) = process::run(scenario, &mut command, JAVA_PATIENCE);
    assert_scenario(scenario, code, &format!("kafka-clients {version}\n{output}"));
}

fn java_clients(bootstrap: &str, scenario: &str) -> Command {
    let mut command = java_class("tidegate.clients.Main");
    command.args(["--bootstrap", bootstrap, scenario]);
    command
}

/// A main class of tests/clients/java.
pub fn java_class(class: &str) -> Command {
    let mut command = java();
    command.arg("-cp").arg(existing(root().join("tests/clients/java/target/java-clients.jar"))).arg(class);
    command
}

/// A program of tests/clients/go.
pub fn go_client(name: &str) -> Command {
    Command::new(existing(root().join(".cache/go").join(name)))
}

/// A script of tests/clients/python, in the environment of tests/requirements.txt.
pub fn python_script(name: &str) -> Command {
    let mut command = Command::new(existing(root().join(".cache/venv/bin/python")));
    command.arg("-B").arg(root().join("tests/clients/python").join(name));
    command
}

/// A script of tests/clients/node.
pub fn node_script(name: &str) -> Command {
    let folder = root().join("tests/clients/node");
    existing(folder.join("node_modules"));
    let mut command = Command::new("node");
    command.arg(folder.join(name));
    command
}

fn assert_scenario(scenario: &str, code: i32, output: &str) {
    assert_eq!(code, 0, "{output}");
    assert!(output.lines().any(|line| line == format!("ok {scenario}")), "{output}");
}

/// A main class of Apache Kafka's own tools; exit code and output.
pub fn kafka_tool(class: &str, arguments: &[&str]) -> (i32, String) {
    process::run(class, kafka_command(class).args(arguments), JAVA_PATIENCE)
}

/// As [`kafka_tool`], for one that reads its stdin.
pub fn kafka_tool_with_input(class: &str, arguments: &[&str], input: &str) -> (i32, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, input).unwrap();
    let tool = kafka_command(class);
    let mut command = Command::new("sh");
    // The tool's own command line comes behind the name of the file.
    command.args(["-c", "input=$1; shift; exec \"$@\" <\"$input\"", "sh"]).arg(file.path());
    command.arg(tool.get_program()).args(tool.get_args()).args(arguments);
    process::run(class, &mut command, JAVA_PATIENCE)
}

/// The command line of a main class of Apache Kafka.
pub fn kafka_command(class: &str) -> Command {
    let libraries = existing(cache().join("kafka-4.1.0/libs"));
    let mut command = java();
    command.arg("-cp").arg(format!("{}/*", libraries.display())).arg(class);
    command
}

/// Runs a program that has the gateway killed and started again by `sh -c COMMAND`; `command` makes the program's
/// command line from that. The gateway stays a child of the test, which does the work when the command asks for it.
pub fn with_restarts(name: &str, gateway: &mut Gateway, command: impl FnOnce(&str) -> Command) -> (i32, String, u32) {
    let directory = tempfile::tempdir().unwrap();
    let (asked, done) = (directory.path().join("asked"), directory.path().join("done"));
    let restart = format!(
        "rm -f {done}; touch {asked}; until [ -e {done} ]; do sleep 0.02; done",
        asked = asked.display(),
        done = done.display()
    );
    let mut process = Process::start(name, &mut command(&restart), &directory.path().join("output.log"));
    let start = Instant::now();
    let mut restarts = 0;
    loop {
        if let Some(status) = process.wait(Duration::from_millis(10)) {
            return (status.code().unwrap_or(-1), process.output(), restarts);
        }
        if fs::remove_file(&asked).is_ok() {
            gateway.crash_and_restart();
            restarts += 1;
            fs::write(&done, "").unwrap();
        }
        assert!(start.elapsed() < JAVA_PATIENCE, "{name} does not end\n{}", process.output());
    }
}

/// What the Schema Registry does to a broker, without the registry: tests/registry/reproducer.
pub fn reproducer() -> Command {
    let mut command = java();
    command.arg("-jar").arg(existing(root().join("tests/registry/reproducer/target/schema-registry-reproducer.jar")));
    command
}

/// The jar that starts the Apicurio registry.
pub fn apicurio_jar() -> PathBuf {
    existing(cache().join("apicurio-registry-3.3.3/quarkus-run.jar"))
}

/// A Java that is new enough for all of them, and starts quickly.
pub fn java() -> Command {
    let mut command = Command::new(existing(cache().join("java")));
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]);
    command
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cache() -> PathBuf {
    root().join(".cache/tools")
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: {RUN_SETUP}", path.display());
    path
}

const RUN_SETUP: &str = "run tests/setup.py";
const PATIENCE: Duration = Duration::from_secs(60);
const JAVA_PATIENCE: Duration = Duration::from_secs(150);
