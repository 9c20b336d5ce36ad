//! A real SeaweedFS: master, volume server and filer in one process, in a directory of its own.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// It ends with the test process, whatever ends that: a shell beside it waits for the end of a pipe.
pub struct Seaweed {
    directory: TempDir,
    port_base: u16,
    room: (u32, u32),
    /// How https is spoken with its filer, where that is so.
    https: Option<Arc<rustls::ClientConfig>>,
    running: Option<(Child, ChildStdin)>,
}

/// What SeaweedFS reads as `security.toml`, the files that it names, and how the test speaks https with it then.
pub struct Security {
    pub files: Vec<(&'static str, String)>,
    pub https: Option<Arc<rustls::ClientConfig>>,
}

impl Seaweed {
    /// The one that all tests of this process share; each takes a folder of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Seaweed> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    pub fn start() -> Self {
        Self::start_with(50, 64)
    }

    /// With room for so many volumes of so many MiB; each takes a little more than that.
    pub fn start_with(volumes: u32, volume_mib: u32) -> Self {
        Self::start_secured((volumes, volume_mib), Security { files: Vec::new(), https: None })
    }

    pub fn start_secured(room: (u32, u32), security: Security) -> Self {
        // Tests of other processes take ports meanwhile: what did not start is tried with others.
        for _ in 0..5 {
            let directory = tempfile::Builder::new().prefix("tidegate-seaweed-").tempdir().unwrap();
            for (name, contents) in &security.files {
                fs::write(directory.path().join(name), contents).unwrap();
            }
            let https = security.https.clone();
            let mut seaweed = Self { directory, port_base: free_ports(), room, https, running: None };
            if seaweed.run() {
                return seaweed;
            }
            eprintln!("SeaweedFS does not start:\n{}", seaweed.log());
        }
        panic!("SeaweedFS does not start");
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.https.is_some() { "https" } else { "http" }, self.address())
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port_base + FILER))
    }

    pub fn grpc_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port_base + FILER + 10_000))
    }

    /// A folder that no other test uses.
    pub fn folder() -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("/test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Ends it as a power cut of the machine would not: what it wrote is in the kernel.
    pub fn kill(&mut self) {
        let Some((mut shell, mut pipe)) = self.running.take() else { return };
        pipe.write_all(b"keep\n").unwrap();
        drop(pipe);
        shell.wait().unwrap();
    }

    /// Starts it again on the same ports and data.
    pub fn restart(&mut self) {
        assert!(self.run(), "SeaweedFS does not start again\n{}", self.log());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn run(&mut self) -> bool {
        let (data, port) = (self.directory.path(), self.port_base);
        let arguments = [
            "-logtostderr=true".to_owned(),
            "server".to_owned(),
            format!("-dir={}", data.display()),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            "-filer".to_owned(),
            format!("-master.port={}", port + MASTER),
            format!("-volume.port={}", port + VOLUME),
            format!("-filer.port={}", port + FILER),
            format!("-master.volumeSizeLimitMB={}", self.room.1),
            format!("-volume.max={}", self.room.0),
            "-volume.preStopSeconds=0".to_owned(),
        ];
        // The shared one is never dropped, so its directory goes here; one that is killed to be restarted says so.
        let script = "log=$1; shift; \"$@\" >>\"$log\" 2>&1 & read -r word; kill -9 $! 2>/dev/null; wait; \
                      [ \"$word\" = keep ] || rm -rf \"$(dirname \"$log\")\"";
        let mut shell = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(data.join("log"))
            .arg(program())
            .args(arguments)
            .current_dir(data)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = shell.stdin.take().unwrap();
        self.running = Some((shell, pipe));
        let start = Instant::now();
        while start.elapsed() < START_PATIENCE {
            if self.takes_objects() && TcpStream::connect(self.grpc_address()).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.kill();
        false
    }

    /// How many entries a folder has, up to a thousand.
    pub fn list(&self, folder: &str) -> usize {
        let request = format!("GET {folder}/?limit=1000 HTTP/1.0\r\nAccept: application/json\r\n\r\n");
        self.ask(&request).unwrap().matches("\"FullPath\"").count()
    }

    /// Stores objects of 1 MiB below `/filler` until there is no room for another.
    pub fn fill(&self) {
        for number in 0..10_000 {
            let length = 1 << 20;
            let head = format!("PUT /filler/{number} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
            let request = [head.into_bytes(), vec![b'x'; length]].concat();
            if !self.send(self.address(), &request).unwrap().contains(" 201 ") {
                return;
            }
        }
        panic!("it does not get full");
    }

    /// Removes what [`fill`](Self::fill) stored, and has the space taken back.
    pub fn empty(&self) {
        self.ask("DELETE /filler?recursive=true HTTP/1.0\r\n\r\n").unwrap();
        let master = SocketAddr::from(([127, 0, 0, 1], self.port_base + MASTER));
        self.send(master, b"GET /vol/vacuum?garbageThreshold=0.01 HTTP/1.0\r\n\r\n").unwrap();
    }

    fn takes_objects(&self) -> bool {
        let answer = self.ask("PUT /.ready HTTP/1.0\r\nContent-Length: 1\r\n\r\nx");
        answer.is_ok_and(|answer| answer.contains(" 201 "))
    }

    fn ask(&self, request: &str) -> std::io::Result<String> {
        self.send(self.address(), request.as_bytes())
    }

    fn send(&self, address: SocketAddr, request: &[u8]) -> std::io::Result<String> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        match self.https.clone().filter(|_| address == self.address()) {
            None => exchange(stream, request),
            Some(config) => {
                let connection = rustls::ClientConnection::new(config, address.ip().into()).unwrap();
                exchange(rustls::StreamOwned::new(connection, stream), request)
            }
        }
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        self.kill();
    }
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> std::io::Result<String> {
    stream.write_all(request)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A base such that all ports above it, and those of their gRPC services, are free at the moment.
fn free_ports() -> u16 {
    loop {
        let base = fastrand::u16(10_100..22_000);
        let ports = [MASTER, VOLUME, FILER].into_iter().flat_map(|port| [base + port, base + port + 10_000]);
        if ports.into_iter().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
}

fn program() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/bin/weed");
    assert!(program.exists(), "{} is missing: run tests/setup.py", program.display());
    program
}

const MASTER: u16 = 0;
const VOLUME: u16 = 1;
const FILER: u16 = 2;
const START_PATIENCE: Duration = Duration::from_secs(30);
