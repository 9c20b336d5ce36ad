//! The filer backend in the real gateway, on a real SeaweedFS: a gateway that is lost and started elsewhere, one that is
//! replaced, and a filer that fails in every way.

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
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use support::{
    Client, Gateway,
    batch::Batch,
    certificates::{Authority, Identity},
    eventually, http,
    offsets::{self, commit_partition, commit_request, commit_topic},
    proxy::{Fault, Proxy},
    seaweed::{Seaweed, Security},
    topics::{self, produce_request, read_all},
};

#[test]
fn a_gateway_lost_with_its_directory_is_started_elsewhere() {
    let folder = Seaweed::folder();
    let mut gateway = Gateway::options().storage("filer").folder(&folder).start();
    let mut client = gateway.connect();
    topics::create(&mut client, "large", 2);
    topics::create_with(&mut client, "small", 3, &[("retention.ms", "123456789")]);
    topics::create(&mut client, "gone", 1);
    topics::delete(&mut client, "gone");
    // More than stays in the journal: objects of the partition too.
    for number in 0..30 {
        let values: Vec<_> = (0..10).map(|n| format!("{number}-{n}-{}", "x".repeat(50_000))).collect();
        assert_eq!(topics::produce(&mut client, "large", 1, &Batch::of(&values)).error_code, 0);
        assert_eq!(topics::produce(&mut client, "small", 2, &Batch::of([number.to_string()])).error_code, 0);
    }
    topics::delete_records(&mut client, "small", 2, 5);
    offsets::commit(&mut client, "readers", "large", 1, 77);
    let (large, small) = (read_all(&mut client, "large", 1, 0), read_all(&mut client, "small", 2, 5));
    assert_eq!((large.len(), small.len()), (300, 25));
    thread::sleep(Duration::from_millis(1500));
    gateway.kill();
    let _ = fs::remove_dir_all(gateway.data_dir());
    drop(gateway);

    let start = Instant::now();
    let gateway = Gateway::options().storage("filer").folder(&folder).env("TIDEGATE_FILER_LEASE_MS", "3000").start();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?} after the kill", start.elapsed());
    let mut client = gateway.connect();
    assert!(read_all(&mut client, "large", 1, 0) == large);
    assert!(read_all(&mut client, "small", 2, 5) == small);
    assert_eq!(topics::log_start_offset(&mut client, "small", 2), 5);
    assert_eq!(topics::log_end_offset(&mut client, "large", 0), 0);
    assert_ne!(topics::describe(&mut client, "gone").error_code, 0);
    assert_eq!(offsets::fetch_all(&mut client, "readers")[0].1[0].offset, 77);
    let produced = topics::produce(&mut client, "large", 1, &Batch::of(["goes on"]));
    assert_eq!((produced.error_code, produced.base_offset), (0, 300));
    assert!(!gateway.data_dir().exists(), "the gateway keeps nothing of its own");
}

#[test]
fn a_gateway_that_slept_through_its_succession_writes_nothing_more_and_ends() {
    let folder = Seaweed::folder();
    let mut first = Gateway::options().storage("filer").folder(&folder).start();
    let mut client = first.connect();
    topics::create(&mut client, "t", 1);
    topics::produce_values(&mut client, "t", 0, ["before"]);
    signal(first.id(), rustix::process::Signal::STOP);
    let second = Gateway::options().storage("filer").folder(&folder).start();
    let mut successor = second.connect();
    assert_eq!(topics::produce(&mut successor, "t", 0, &Batch::of(["after"])).error_code, 0);
    signal(first.id(), rustix::process::Signal::CONT);
    // Whatever it still answers, it acknowledges nothing.
    let request = produce_request("t", 0, Batch::of(["too late"]).encode());
    if let Ok(response) = client.try_call(9, &request) {
        assert_ne!(response.responses[0].partition_responses[0].error_code, 0);
    }
    let (status, _) = first.await_end(Duration::from_secs(10));
    assert!(!status.success(), "{status}");
    assert!(first.log().contains("has taken over"), "{}", first.log());
    assert_eq!(topics::texts(&read_all(&mut successor, "t", 0, 0)), ["before", "after"]);
}

#[test]
fn a_filer_that_is_not_there_is_said_in_one_line() {
    let mut command = support::gateway::serve_command();
    command.args(["--storage", "filer", "--filer-url", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"]);
    command.args(["--admin-listen", "127.0.0.1:0"]);
    let (code, output) = support::process::run("tidegate", &mut command, Duration::from_secs(30));
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("cannot use the filer at http://127.0.0.1:1"), "{output}");
}

#[test]
fn a_missing_grpc_service_is_said_with_the_way_out() {
    let seaweed = Seaweed::shared();
    let mut command = support::gateway::serve_command();
    command.args(["--storage", "filer", "--filer-url", &seaweed.url(), "--listen", "127.0.0.1:0"]);
    command.args(["--admin-listen", "127.0.0.1:0"]);
    command.env("TIDEGATE_FILER_PATH", Seaweed::folder()).env("TIDEGATE_FILER_GRPC_URL", "http://127.0.0.1:1");
    let (code, output) = support::process::run("tidegate", &mut command, Duration::from_secs(30));
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("filer.grpc-url") && output.contains("trust-me"), "{output}");
}

#[test]
fn trust_me_serves_without_grpc_and_says_so() {
    let options = Gateway::options().storage("filer").env("TIDEGATE_FILER_GRPC_URL", "http://127.0.0.1:1");
    let mut gateway = options.env("TIDEGATE_FILER_EXCLUSIVE", "trust-me").start();
    let mut client = gateway.connect();
    topics::create(&mut client, "t", 1);
    topics::produce_values(&mut client, "t", 0, ["one"]);
    gateway.crash_and_restart();
    assert_eq!(topics::texts(&read_all(&mut gateway.connect(), "t", 0, 0)), ["one"]);
    assert!(gateway.log().contains("nothing keeps a second gateway"), "{}", gateway.log());
    eventually("the gauge says so too", Duration::from_secs(5), || {
        let found = gateway.metrics("tidegate_filer_exclusion_guarded");
        (found == [("tidegate_filer_exclusion_guarded".to_owned(), 0.0)]).then_some(())
    });
}

#[test]
fn a_filer_of_https_and_mutual_tls_is_used_as_any_other() {
    let authority = Authority::new("ours");
    let seaweed = secured(&authority, &authority.issue(&["127.0.0.1"]), true);
    let files = tempfile::tempdir().unwrap();
    let mut options = Gateway::options().storage("filer");
    for (name, value) in secure_settings(files.path(), &seaweed, &authority, &authority.issue(&[])) {
        options = options.env(name, &value);
    }
    let mut gateway = options.start();
    let mut client = gateway.connect();
    topics::create(&mut client, "t", 1);
    // More than a number of the journal holds itself, and objects of the partition.
    let values: Vec<_> = (0..120).map(|number| format!("{number} {}", "x".repeat(50_000))).collect();
    for values in values.chunks(10) {
        topics::produce_values(&mut client, "t", 0, values);
    }
    offsets::commit(&mut client, "readers", "t", 0, 77);
    gateway.crash_and_restart();
    let mut client = gateway.connect();
    assert!(topics::texts(&read_all(&mut client, "t", 0, 0)) == values);
    assert_eq!(offsets::fetch_all(&mut client, "readers")[0].1[0].offset, 77);
}

#[test]
fn what_is_wrong_with_https_is_said_in_one_line() {
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let seaweed = secured(&authority, &authority.issue(&["127.0.0.1"]), true);
    let files = tempfile::tempdir().unwrap();
    let right = secure_settings(files.path(), &seaweed, &authority, &authority.issue(&[]));
    let stranger = tempfile::tempdir().unwrap();
    let stranger_settings = secure_settings(stranger.path(), &seaweed, &other, &other.issue(&[]));
    let path = |directory: &tempfile::TempDir, name: &str| directory.path().join(name).display().to_string();
    fs::write(files.path().join("nothing.pem"), "nothing").unwrap();
    let (ca, certificate, key) = ("TIDEGATE_FILER_TLS_CA", "TIDEGATE_FILER_TLS_CERTIFICATE", "TIDEGATE_FILER_TLS_KEY");
    let plain = Seaweed::shared();
    let cases: Vec<(Vec<(&str, String)>, &[&str])> = vec![
        (vec![(ca, path(&stranger, "ca.pem"))], &["UnknownIssuer; filer.tls.ca must hold"]),
        // What the system trusts.
        (vec![(ca, String::new())], &["UnknownIssuer; filer.tls.ca must hold"]),
        (vec![(ca, path(&files, "none.pem"))], &["filer.tls.ca: ", "none.pem: No such file"]),
        (vec![(ca, path(&files, "nothing.pem"))], &["filer.tls.ca: ", "nothing.pem: it holds no certificate"]),
        (vec![(ca, path(&files, "client.key"))], &["filer.tls.ca: ", "client.key: it holds no certificate"]),
        (vec![(key, path(&files, "nothing.pem"))], &["filer.tls.key: ", "nothing.pem: "]),
        (vec![(key, path(&stranger, "client.key"))], &["filer.tls.key: ", "client.pem: "]),
        (stranger_settings[3..].to_vec(), &["filer.tls.certificate and filer.tls.key"]),
        (vec![(certificate, String::new()), (key, String::new())], &["filer.tls.certificate and filer.tls.key"]),
        (vec![("TIDEGATE_FILER_URL", plain.url().replace("http:", "https:"))], &["it speaks no https there"]),
        (
            vec![
                ("TIDEGATE_FILER_URL", plain.url()),
                ("TIDEGATE_FILER_GRPC_URL", format!("https://{}", plain.grpc_address())),
            ],
            &["filer.grpc-url must name"],
        ),
        (
            vec![
                ("TIDEGATE_FILER_URL", seaweed.url().replace("https:", "http:")),
                ("TIDEGATE_FILER_GRPC_URL", format!("https://{}", seaweed.grpc_address())),
            ],
            &["HTTP request to an HTTPS server"],
        ),
    ];
    for (changes, wanted) in cases {
        let mut command = support::gateway::serve_command();
        command.args(["--storage", "filer", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.envs(right.iter().cloned()).envs(changes.iter().cloned());
        let (code, output) = support::process::run("tidegate", &mut command, Duration::from_secs(30));
        let errors: Vec<_> = output.lines().filter(|line| line.contains("ERROR")).collect();
        let is_said = |words: &&str| errors.last().is_some_and(|line| line.contains(words));
        assert!(code == 1 && wanted.iter().all(is_said), "{changes:?}: {code}, wanted {wanted:?}:\n{output}");
        assert!(errors.last().unwrap().contains("cannot use the filer at"), "{output}");
    }
}

#[test]
fn certificates_of_no_host_as_those_of_seaweedfs_itself_need_leave() {
    let authority = Authority::new("ours");
    let seaweed = secured(&authority, &authority.issue(&[]), false);
    let files = tempfile::tempdir().unwrap();
    let settings = secure_settings(files.path(), &seaweed, &authority, &authority.issue(&[]));
    let mut command = support::gateway::serve_command();
    command.args(["--storage", "filer", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.envs(settings.iter().cloned());
    let (code, output) = support::process::run("tidegate", &mut command, Duration::from_secs(30));
    assert!(code == 1 && output.contains("filer.tls.check-host = false"), "{code} {output}");

    let mut options = Gateway::options().storage("filer").env("TIDEGATE_FILER_TLS_CHECK_HOST", "false");
    for (name, value) in &settings {
        options = options.env(name, value);
    }
    let gateway = options.start();
    let mut client = gateway.connect();
    topics::create(&mut client, "t", 1);
    topics::produce_values(&mut client, "t", 0, ["one"]);
    assert_eq!(topics::texts(&read_all(&mut client, "t", 0, 0)), ["one"]);
}

#[test]
fn kills_in_the_middle_of_long_records_lose_none_that_was_acknowledged() {
    let mut gateway = Gateway::options().storage("filer").start();
    topics::create(&mut gateway.connect(), TOPIC, 1);
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        let address = gateway.address;
        let writer = thread::spawn(move || {
            let mut client = Client::connect(address);
            let mut offsets = Vec::new();
            for number in 0.. {
                let text = format!("{round} {number} {}", "x".repeat(200_000));
                let request = produce_request(TOPIC, 0, Batch::of([&text]).encode());
                let Ok(response) = client.try_call(9, &request) else { break };
                let answer = &response.responses[0].partition_responses[0];
                if answer.error_code == 0 {
                    offsets.push((answer.base_offset, text));
                }
            }
            offsets
        });
        thread::sleep(Duration::from_millis(200 + fastrand::u64(..200)));
        gateway.kill();
        acknowledged.extend(writer.join().unwrap());
        gateway.run();
    }
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let records = read_all(&mut gateway.connect(), TOPIC, 0, 0);
    for (offset, text) in acknowledged {
        assert!(records[usize::try_from(offset).unwrap()].text() == text, "at offset {offset}");
    }
}

#[test]
fn a_slow_filer_costs_time_and_nothing_else() {
    under_fault(Fault::Slow(Duration::from_millis(200)), Expect::Progress);
}

#[test]
fn a_filer_that_answers_500_loses_nothing() {
    under_fault(Fault::Status(500), Expect::Errors);
}

#[test]
fn a_filer_that_answers_503_loses_nothing() {
    under_fault(Fault::Status(503), Expect::Errors);
}

#[test]
fn answers_that_are_lost_after_the_write_lose_nothing() {
    under_fault(Fault::AnswerLost, Expect::Errors);
}

#[test]
fn requests_that_are_cut_lose_nothing() {
    under_fault(Fault::RequestCut, Expect::Errors);
}

#[test]
fn answers_that_are_cut_lose_nothing() {
    under_fault(Fault::AnswerCut, Expect::Errors);
}

#[test]
fn a_filer_that_takes_no_connections_loses_nothing() {
    under_fault(Fault::Down, Expect::Errors);
}

#[test]
fn of_two_filers_the_other_one_serves_while_one_is_down() {
    let seaweed = Seaweed::shared();
    let filers = [0, 1].map(|_| [Proxy::start(seaweed.address()), Proxy::start(seaweed.grpc_address())]);
    let urls = |which: usize| filers.each_ref().map(|filer| format!("http://{}", filer[which].address)).join(",");
    let mut gateway = Gateway::options()
        .storage("filer")
        .env("TIDEGATE_FILER_URL", &urls(0))
        .env("TIDEGATE_FILER_GRPC_URL", &urls(1))
        .env("TIDEGATE_FILER_TIMEOUT_MS", "2000")
        .start();
    let (producer, committer) = start_writers(&gateway);
    let both = [&producer, &committer];
    for filer in [0, 1, 0, 1].map(|which| &filers[which]) {
        filer.iter().for_each(|proxy| proxy.set(Fault::Down));
        let start = Instant::now();
        both.iter().for_each(|writer| writer.await_more(20));
        println!("goes on within {:?}", start.elapsed());
        filer.iter().for_each(|proxy| proxy.set(Fault::None));
    }
    assert_eq!(both.map(Writer::refused), [0, 0], "clients hear nothing of it");
    let (produced, committed) = (producer.stop(), committer.stop());
    // A start finds the one that is there, too.
    filers[0].iter().for_each(|proxy| proxy.set(Fault::Down));
    assert_complete(&mut gateway, &produced, &committed);
}

#[test]
fn volumes_without_room_cost_errors_and_no_acknowledged_record() {
    let seaweed = Seaweed::start_with(4, 8);
    let mut gateway = Gateway::options()
        .storage("filer")
        .env("TIDEGATE_FILER_URL", &seaweed.url())
        .env("TIDEGATE_FILER_TIMEOUT_MS", "1000")
        .start();
    let mut client = gateway.connect();
    client.set_patience(Duration::from_secs(20));
    topics::create(&mut client, TOPIC, 1);
    // Too much for the filer's own store.
    let large = |number: i32| Batch::of([format!("{number} {}", "x".repeat(200_000))]);
    assert_eq!(topics::produce(&mut client, TOPIC, 0, &large(0)).error_code, 0);
    seaweed.fill();
    let mut acknowledged = 1;
    eventually("a refusal", Duration::from_secs(30), || {
        let answer = topics::produce(&mut client, TOPIC, 0, &large(acknowledged));
        acknowledged += i32::from(answer.error_code == 0);
        (answer.error_code != 0).then_some(())
    });
    eventually("/healthz names the reason", Duration::from_secs(5), || {
        let (status, body) = http::get(gateway.admin, "/healthz");
        (status == 503 && body.contains("no room on the filer's volumes")).then_some(())
    });
    let before = read_all(&mut client, TOPIC, 0, 0);
    assert!(before.len() >= usize::try_from(acknowledged).unwrap());
    seaweed.empty();
    eventually("it takes records again", Duration::from_secs(30), || {
        (topics::produce(&mut client, TOPIC, 0, &large(-1)).error_code == 0).then_some(())
    });
    gateway.crash_and_restart();
    let after = read_all(&mut gateway.connect(), TOPIC, 0, 0);
    for (number, record) in (0..acknowledged).zip(&after) {
        assert!(record.text().starts_with(&format!("{number} ")), "{number}: {:.20}", record.text());
    }
    assert!(after.len() > usize::try_from(acknowledged).unwrap());
}

/// A SeaweedFS whose gRPC wants certificates of `authority`, and its filer's HTTP too if it is to be https.
fn secured(authority: &Authority, server: &Identity, with_https: bool) -> Seaweed {
    let identity = "cert = \"server.pem\"\nkey = \"server.key\"\n";
    let sections = ["volume", "master", "filer", "client"].map(|name| format!("[grpc.{name}]\n{identity}"));
    let https = if with_https { format!("[https.filer]\nca = \"ca.pem\"\n{identity}") } else { String::new() };
    let toml = format!("[grpc]\nca = \"ca.pem\"\n{}{https}", sections.concat());
    let files = [
        ("security.toml", &toml),
        ("ca.pem", &authority.pem),
        ("server.pem", &server.certificate),
        ("server.key", &server.key),
    ];
    let https = with_https.then(|| authority.https(&authority.issue(&[])));
    Seaweed::start_secured((50, 64), Security { files: files.map(|(name, text)| (name, text.clone())).into(), https })
}

/// How a gateway reaches it; the files are written to `directory`.
fn secure_settings(
    directory: &Path,
    seaweed: &Seaweed,
    authority: &Authority,
    client: &Identity,
) -> [(&'static str, String); 5] {
    let file = |name: &str, contents: &str| {
        let path = directory.join(name);
        fs::write(&path, contents).unwrap();
        path.display().to_string()
    };
    [
        ("TIDEGATE_FILER_URL", seaweed.url()),
        ("TIDEGATE_FILER_GRPC_URL", format!("https://{}", seaweed.grpc_address())),
        ("TIDEGATE_FILER_TLS_CA", file("ca.pem", &authority.pem)),
        ("TIDEGATE_FILER_TLS_CERTIFICATE", file("client.pem", &client.certificate)),
        ("TIDEGATE_FILER_TLS_KEY", file("client.key", &client.key)),
    ]
}

enum Expect {
    /// Requests go on being acknowledged under the fault.
    Progress,
    /// They are answered with errors within a bounded time, and /healthz says why.
    Errors,
}

/// One that produces and one that commits, both under way.
fn start_writers(gateway: &Gateway) -> (Writer, Writer) {
    topics::create(&mut gateway.connect(), TOPIC, 1);
    let writers = (Writer::start(gateway.address, produce), Writer::start(gateway.address, commit));
    writers.0.await_more(5);
    writers.1.await_more(5);
    writers
}

/// Writers go on while the fault comes and goes; in the end everything acknowledged is there, after a kill too.
fn under_fault(fault: Fault, expect: Expect) {
    let seaweed = Seaweed::shared();
    let (http, grpc) = (Proxy::start(seaweed.address()), Proxy::start(seaweed.grpc_address()));
    let mut gateway = Gateway::options()
        .storage("filer")
        .env("TIDEGATE_FILER_URL", &format!("http://{}", http.address))
        .env("TIDEGATE_FILER_GRPC_URL", &format!("http://{}", grpc.address))
        .env("TIDEGATE_FILER_TIMEOUT_MS", "1000")
        .start();
    let (producer, committer) = start_writers(&gateway);
    let both = [&producer, &committer];
    for _ in 0..2 {
        let before = both.map(|writer| (writer.acknowledged(), writer.refused()));
        http.set(fault);
        grpc.set(fault);
        let start = Instant::now();
        match expect {
            Expect::Progress => both.iter().for_each(|writer| writer.await_more(2)),
            Expect::Errors => {
                for (writer, (_, refused)) in both.iter().zip(before) {
                    eventually("a refusal", Duration::from_secs(8), || (writer.refused() > refused).then_some(()));
                }
                let unhealthy = || (http::get(gateway.admin, "/healthz").0 == 503).then_some(());
                eventually("/healthz says so", Duration::from_secs(8), unhealthy);
            }
        }
        println!("{fault:?}: answered within {:?}", start.elapsed());
        http.set(Fault::None);
        grpc.set(Fault::None);
        let start = Instant::now();
        both.iter().for_each(|writer| writer.await_more(5));
        println!("{fault:?}: everything works again after {:?}", start.elapsed());
    }
    let (produced, committed) = (producer.stop(), committer.stop());
    // Also of a partition whose records were refused and that nobody writes to any more.
    if matches!(expect, Expect::Errors) {
        let mut client = gateway.connect();
        client.set_patience(Duration::from_secs(20));
        let refused = |client: &mut Client| (produce(client, -1).is_none()).then_some(());
        http.set(fault);
        grpc.set(fault);
        eventually("a refusal", Duration::from_secs(8), || refused(&mut client));
        http.set(Fault::None);
        grpc.set(Fault::None);
    }
    let start = Instant::now();
    let healthy = || (http::get(gateway.admin, "/healthz").0 == 200).then_some(());
    eventually("/healthz recovers by itself", Duration::from_secs(8), healthy);
    println!("{fault:?}: /healthz recovers after {:?}", start.elapsed());
    assert_complete(&mut gateway, &produced, &committed);
}

/// Everything that was acknowledged is there, and after a kill too.
fn assert_complete(gateway: &mut Gateway, produced: &[(i64, i64)], committed: &[(i64, i64)]) {
    for _ in 0..2 {
        let mut client = gateway.connect();
        let records = read_all(&mut client, TOPIC, 0, 0);
        for (offset, number) in produced {
            let record = &records[usize::try_from(*offset).unwrap()];
            assert!(record.text() == value(*number), "at offset {offset}: not {number}");
        }
        let found = &offsets::fetch_all(&mut client, GROUP)[0].1[0];
        let (least, _) = committed.last().unwrap();
        assert!(found.offset >= *least, "{found:?}, acknowledged {least}");
        assert_eq!(found.metadata.as_deref(), Some(&*found.offset.to_string()), "torn");
        drop(client);
        gateway.crash_and_restart();
    }
}

/// Sends one numbered request after the other; answers what came of it, an offset or none.
struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    thread: thread::JoinHandle<Vec<(i64, i64)>>,
}

impl Writer {
    fn start(address: SocketAddr, send: fn(&mut Client, i64) -> Option<i64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (acknowledged, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let shared = (Arc::clone(&stop), Arc::clone(&acknowledged), Arc::clone(&refused));
        let thread = thread::spawn(move || {
            let (stop, acknowledged, refused) = shared;
            let mut client = Client::connect(address);
            client.set_patience(Duration::from_secs(20));
            let mut results = Vec::new();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                match send(&mut client, number) {
                    Some(offset) => {
                        results.push((offset, number));
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                    None => {
                        refused.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(20));
                    }
                }
            }
            results
        });
        Self { stop, acknowledged, refused, thread }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    fn await_more(&self, count: usize) {
        let before = self.acknowledged();
        eventually("progress", Duration::from_secs(20), || (self.acknowledged() >= before + count).then_some(()));
    }

    fn stop(self) -> Vec<(i64, i64)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Now and then one so large that it becomes an object of the partition at once.
fn value(number: i64) -> String {
    match number % 16 {
        15 => format!("{number} {}", "x".repeat(300_000)),
        _ => number.to_string(),
    }
}

fn produce(client: &mut Client, number: i64) -> Option<i64> {
    let answer = topics::produce(client, TOPIC, 0, &Batch::of([value(number)]));
    (answer.error_code == 0).then_some(answer.base_offset)
}

fn commit(client: &mut Client, number: i64) -> Option<i64> {
    let metadata = number.to_string();
    let partition = commit_partition(0, number, Some(&metadata));
    let codes = offsets::commit_codes(client, 8, &commit_request(GROUP, vec![commit_topic(TOPIC, vec![partition])]));
    (codes == [0]).then_some(number)
}

fn signal(id: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(id.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

const TOPIC: &str = "under-fault";
const GROUP: &str = "readers";
