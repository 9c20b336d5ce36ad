//! The gateway under test: the real binary in its own process, on free ports and in a directory of its own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{Client, http, process::Process, seaweed::Seaweed};

/// How a gateway is started. Everything has the value that `tidegate serve` ships with.
pub struct Options {
    storage: String,
    durability: String,
    log: String,
    config: Option<String>,
    environment: Vec<(String, String)>,
    directory: TempDir,
    /// Of the filer backend.
    folder: String,
}

impl Options {
    pub fn storage(mut self, storage: &str) -> Self {
        self.storage = storage.to_owned();
        self
    }

    pub fn durability(mut self, durability: &str) -> Self {
        self.durability = durability.to_owned();
        self
    }

    pub fn log(mut self, filter: &str) -> Self {
        self.log = filter.to_owned();
        self
    }

    /// Where the filer backend keeps everything.
    pub fn folder(mut self, folder: &str) -> Self {
        self.folder = folder.to_owned();
        self
    }

    /// The text of a configuration file.
    pub fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn start(self) -> Gateway {
        let mut gateway =
            Gateway { address: loopback(), admin: loopback(), process: None, options: Some(self), starts: 0 };
        gateway.run();
        gateway
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, listen: SocketAddr, admin: SocketAddr) -> Command {
        let mut command = serve_command();
        command
            .args(["--listen", &listen.to_string(), "--admin-listen", &admin.to_string()])
            .args(["--storage", &self.storage, "--durability", &self.durability, "--log", &self.log])
            .arg("--data-dir")
            .arg(self.data_dir())
            .envs((self.storage == "filer").then(|| ("TIDEGATE_FILER_URL", Seaweed::shared().url())))
            .env("TIDEGATE_FILER_PATH", &self.folder)
            // Those that follow a kill do not wait as long as in earnest.
            .env("TIDEGATE_FILER_LEASE_MS", "600")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(config) = &self.config {
            let path = self.directory.path().join("tidegate.toml");
            fs::write(&path, config).unwrap();
            command.arg("--config").arg(path);
        }
        command
    }
}

/// `tidegate serve`, free of what the environment of the test says.
pub fn serve_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    command.arg("serve");
    command
}

pub struct Gateway {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    process: Option<Process>,
    /// None: a broker that somebody else started.
    options: Option<Options>,
    starts: u32,
}

impl Gateway {
    /// A gateway for a test that neither stops nor configures it. `TEST_BOOTSTRAP=HOST:PORT` runs such tests on a
    /// broker that is there already: an Apache Kafka shows whether a test asks what Kafka does.
    pub fn start() -> Self {
        match bootstrap_of_others() {
            Some(address) => Self { address, admin: loopback(), process: None, options: None, starts: 0 },
            None => Self::options().start(),
        }
    }

    /// A gateway of the test's own. `TEST_STORAGE=memory` runs everything on that backend.
    pub fn options() -> Options {
        Options {
            storage: std::env::var("TEST_STORAGE").unwrap_or_else(|_| "disk".to_owned()),
            durability: "sync".to_owned(),
            log: std::env::var("TEST_LOG").unwrap_or_else(|_| "info".to_owned()),
            config: None,
            environment: Vec::new(),
            directory: tempfile::Builder::new().prefix("tidegate-test-").tempdir().unwrap(),
            folder: Seaweed::folder(),
        }
    }

    /// Whether this is Apache Kafka, which lacks what it dropped in version 4 and what is ours alone.
    pub fn is_kafka(&self) -> bool {
        self.options.is_none()
    }

    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.as_mut().expect("only a gateway of our own can be killed").kill();
        self.process = None;
    }

    /// Starts it again on the same ports and data.
    pub fn run(&mut self) {
        self.begin();
        self.await_addresses();
    }

    /// The same without waiting until it serves.
    pub fn begin(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        self.starts += 1;
        let log = self.log_path();
        let options = self.options.as_ref().expect("a gateway of our own");
        let process = Process::start("tidegate", &mut options.command(self.address, self.admin), &log);
        self.process = Some(process);
    }

    pub fn crash_and_restart(&mut self) {
        self.kill();
        self.run();
    }

    /// SIGTERM; how it ended and how long that took. Panics when it still runs after `patience`.
    pub fn terminate(&mut self, patience: Duration) -> (ExitStatus, Duration) {
        let mut process = self.process.take().expect("it runs");
        let start = Instant::now();
        process.terminate();
        match process.wait(patience) {
            Some(status) => (status, start.elapsed()),
            None => panic!("still running {patience:?} after SIGTERM\n{}", process.output()),
        }
    }

    /// How it ended by itself, and when. Panics when it still runs after `patience`.
    pub fn await_end(&mut self, patience: Duration) -> (ExitStatus, Duration) {
        let mut process = self.process.take().expect("it runs");
        let start = Instant::now();
        match process.wait(patience) {
            Some(status) => (status, start.elapsed()),
            None => panic!("still running after {patience:?}\n{}", process.output()),
        }
    }

    pub fn assert_alive(&mut self) {
        if let Some(process) = &mut self.process {
            process.assert_alive();
        }
        self.connect().ping();
    }

    /// Everything that this start and the ones before it logged.
    pub fn log(&self) -> String {
        (1..=self.starts).map(|start| fs::read_to_string(self.log_path_of(start)).unwrap_or_default()).collect()
    }

    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("a gateway of our own").id()
    }

    /// See [`Process::limit_file_size`].
    pub fn limit_file_size(&self, bytes: Option<u64>) {
        self.process.as_ref().expect("a gateway of our own").limit_file_size(bytes);
    }

    pub fn resident_kib(&self) -> u64 {
        self.process.as_ref().expect("a gateway of our own").resident_kib()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.options.as_ref().expect("a gateway of our own").data_dir()
    }

    /// A place for files of the test, removed with the gateway.
    pub fn directory(&self) -> &Path {
        self.options.as_ref().expect("a gateway of our own").directory.path()
    }

    /// The Prometheus samples whose name begins with `prefix`, with their labels.
    pub fn metrics(&self, prefix: &str) -> Vec<(String, f64)> {
        let (status, body) = http::get(self.admin, "/metrics");
        assert_eq!(status, 200, "{body}");
        body.lines()
            .filter(|line| line.starts_with(prefix))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }

    fn await_addresses(&mut self) {
        let start = Instant::now();
        loop {
            let process = self.process.as_mut().expect("it was started");
            process.assert_alive();
            let output = process.output();
            let kafka = value_of(&output, "tidegate listening on ");
            let admin = value_of(&output, "tidegate admin on http://");
            if let (Some(kafka), Some(admin)) = (kafka, admin) {
                self.address = kafka;
                self.admin = admin;
                return;
            }
            assert!(start.elapsed() < START_PATIENCE, "it does not say where it listens\n{output}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn log_path(&self) -> PathBuf {
        self.log_path_of(self.starts)
    }

    fn log_path_of(&self, start: u32) -> PathBuf {
        self.directory().join(format!("tidegate-{start}.log"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() && self.options.is_some() {
            let log = self.log();
            let from = log.char_indices().rev().nth(SHOWN_CHARS).map_or(0, |(index, _)| index);
            eprintln!("---- end of the gateway's log ----\n{}---- ----", &log[from..]);
        }
        if self.options.is_some() && !thread::panicking() {
            let log = self.log();
            assert!(!log.contains("panicked at"), "the gateway panicked and lived on:\n{log}");
        }
    }
}

fn bootstrap_of_others() -> Option<SocketAddr> {
    std::env::var("TEST_BOOTSTRAP").ok().map(|value| value.parse().expect("TEST_BOOTSTRAP=IP:PORT"))
}

fn value_of(output: &str, prefix: &str) -> Option<SocketAddr> {
    let (lines, _unfinished) = output.rsplit_once('\n')?;
    lines.lines().find_map(|line| line.strip_prefix(prefix))?.trim_end_matches('/').parse().ok()
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

const START_PATIENCE: Duration = Duration::from_secs(20);
const SHOWN_CHARS: usize = 4000;
