//! A disk that is full, lies or is not there: what the gateway says, serves and keeps.

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
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use kafka_protocol::messages::{CreateTopicsRequest, create_topics_request::CreatableTopic};
use support::{
    Client, Gateway,
    batch::{self, Batch},
    eventually,
    gateway::serve_command,
    http,
    offsets::{self, commit_partition, commit_request, commit_topic},
    process,
    topics::{self, produce, produce_values, read_all, texts, topic_name},
};
use uuid::Uuid;

// ---- A data directory that cannot be used ----

#[test]
fn a_data_directory_that_cannot_be_used_is_one_clear_line() {
    let cases: [(&str, fn(&Path)); 8] = [
        // The records are not removed as those of no topic.
        ("data/journal", |dir| fs::remove_dir_all(dir.join("data/journal")).unwrap()),
        ("data", |dir| {
            fs::remove_dir_all(dir.join("data")).unwrap();
            fs::write(dir.join("data"), "").unwrap();
        }),
        ("data/.lock", |dir| {
            fs::remove_file(dir.join("data/.lock")).unwrap();
            fs::create_dir(dir.join("data/.lock")).unwrap();
        }),
        ("data/journal", |dir| {
            fs::remove_dir_all(dir.join("data/journal")).unwrap();
            fs::write(dir.join("data/journal"), "").unwrap();
        }),
        ("data/topics", |dir| {
            fs::remove_dir_all(dir.join("data/topics")).unwrap();
            fs::write(dir.join("data/topics"), "").unwrap();
        }),
        ("data/topics/topic-0", |dir| {
            fs::remove_dir_all(dir.join("data/topics/topic-0")).unwrap();
            fs::write(dir.join("data/topics/topic-0"), "").unwrap();
        }),
        ("data/journal/00000000000000000001.log", |dir| {
            patch(&journal_file(&dir.join("data")), |bytes| {
                bytes[8..10].copy_from_slice(&9_u16.to_be_bytes());
                let checksum = crc_fast::crc32_iscsi(&bytes[..28]);
                bytes[28..32].copy_from_slice(&checksum.to_be_bytes());
            });
        }),
        // In the middle: what follows was written after it was durable.
        ("data/journal/00000000000000000001.log", |dir| {
            patch(&journal_file(&dir.join("data")), |bytes| bytes[60] ^= 1);
        }),
    ];
    for (named, spoil) in cases {
        let mut gateway = Gateway::options().storage("disk").start();
        let mut client = gateway.connect();
        topics::create(&mut client, "topic", 1);
        produce_values(&mut client, "topic", 0, ["value"]);
        offsets::commit(&mut client, "group", "topic", 0, 1);
        stop(&mut gateway);
        spoil(gateway.directory());
        let (code, output) = process::run("tidegate", &mut serve(&gateway.data_dir()), PATIENCE);
        assert_eq!(code, 1, "{named}: {output}");
        let lines: Vec<_> = output.lines().filter(|line| line.contains("ERROR")).collect();
        let name = gateway.directory().join(named);
        assert!(
            lines.len() == 1 && lines[0].contains(name.to_str().unwrap().trim_end_matches("/.lock")),
            "{named}:\n{output}"
        );
        let records = gateway.data_dir().join("topics/topic-0/00000000000000000000.log");
        assert!(
            records.exists() || named.ends_with("data") || named.contains("topics"),
            "{named}: the records are gone"
        );
        assert!(!output.contains("panicked") && !output.contains("tidegate listening"), "{named}: {output}");
    }
}

#[test]
fn a_data_directory_that_cannot_be_made_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    // Nobody, not even root, makes directories in /proc.
    for path in [file.join("data"), PathBuf::from("/proc/data")] {
        let (code, output) = process::run("tidegate", &mut serve(&path), PATIENCE);
        let lines: Vec<_> = output.lines().filter(|line| line.contains("ERROR")).collect();
        assert!(code == 1 && lines.len() == 1 && lines[0].contains(path.to_str().unwrap()), "{output}");
    }
}

// ---- A disk that is full ----

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_takes_writes_again_by_itself() {
    for durability in ["sync", "os"] {
        let mut gateway = Gateway::options().storage("disk").durability(durability).start();
        let mut client = gateway.connect();
        topics::create(&mut client, "topic", 2);
        let mut acknowledged = Vec::new();
        let mut next = 0;
        let mut produce_one = |client: &mut Client| {
            let value = format!("{next}-{}", "x".repeat(2_000));
            next += 1;
            let response = produce(client, "topic", 0, &Batch::of([&value]));
            if response.error_code == 0 {
                acknowledged.push(value);
            }
            response.error_code
        };
        for _ in 0..5 {
            assert_eq!(produce_one(&mut client), 0);
        }
        for round in 0..3 {
            gateway.limit_file_size(Some(ROOM * (round + 1)));
            let refused =
                eventually("no room is left", PATIENCE, || Some(produce_one(&mut client)).filter(|code| *code != 0));
            assert_eq!(refused, KAFKA_STORAGE_ERROR, "{durability}");
            assert_eq!(http::get(gateway.admin, "/healthz").0, 503);
            assert_eq!(gateway.metrics("tidegate_storage_refuses_writes")[0].1, 1.0);
            assert!(
                gateway.metrics("tidegate_appends_refused_total")[0].1 >= f64::from(u32::try_from(round).unwrap() + 1)
            );
            // A small one to another partition has room.
            produce_values(&mut client, "topic", 1, ["small"]);
            assert!(!read_all(&mut client, "topic", 0, 0).is_empty());
            gateway.limit_file_size(None);
            for _ in 0..3 {
                assert_eq!(produce_one(&mut client), 0, "{durability}: it takes writes again");
            }
            assert_eq!(http::get(gateway.admin, "/healthz").0, 200);
        }
        gateway.crash_and_restart();
        let kept = read_all(&mut gateway.connect(), "topic", 0, 0);
        assert_eq!(texts(&kept), acknowledged, "{durability}");
        gateway.kill();
        let (code, output) = doctor(&gateway);
        assert_eq!(code, 0, "{output}");
    }
}

#[test]
fn a_full_disk_loses_no_offsets_and_no_topics() {
    for durability in ["sync", "os"] {
        let mut gateway = Gateway::options().storage("disk").durability(durability).start();
        let mut client = gateway.connect();
        topics::create(&mut client, "topic", 1);
        let mut committed = 0;
        for round in 0..3 {
            for _ in 0..20 {
                assert_eq!(commit(&mut client, committed + 1), 0);
                committed += 1;
            }
            // Not even the journal's next byte, nor a line of the log.
            gateway.limit_file_size(Some(1));
            let refused = eventually("the journal is full", PATIENCE, || {
                Some(commit(&mut client, committed + 1)).filter(|code| *code != 0)
            });
            // COORDINATOR_NOT_AVAILABLE: clients try again.
            assert_eq!(refused, 15, "{durability}");
            assert_eq!(create(&mut client, &format!("refused-{round}")), KAFKA_STORAGE_ERROR);
            assert_eq!(produce(&mut client, "topic", 0, &Batch::of(["no"])).error_code, KAFKA_STORAGE_ERROR);
            assert_eq!(http::get(gateway.admin, "/healthz").0, 503);
            let found = offsets::fetch_all(&mut client, "group")[0].1[0].offset;
            assert!(found == committed || found == committed + 1, "{durability}: {found}, acknowledged {committed}");
            gateway.limit_file_size(None);
            eventually("it takes commits again", PATIENCE, || (commit(&mut client, committed + 1) == 0).then_some(()));
            committed += 1;
            assert_eq!(create(&mut client, &format!("created-{round}")), 0);
            produce_values(&mut client, "topic", 0, ["yes"]);
            assert_eq!(http::get(gateway.admin, "/healthz").0, 200);
            gateway.crash_and_restart();
            client = gateway.connect();
            assert_eq!(offsets::fetch_all(&mut client, "group")[0].1[0].offset, committed, "{durability}");
            assert_eq!(topics::describe(&mut client, &format!("created-{round}")).error_code, 0);
            assert_eq!(topics::describe(&mut client, &format!("refused-{round}")).error_code, 3);
        }
        assert_eq!(texts(&read_all(&mut client, "topic", 0, 0)), ["yes"; 3]);
    }
}

#[test]
fn a_gateway_starts_on_a_full_disk_and_serves_what_there_is() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 1);
    produce_values(&mut client, "topic", 0, ["value"]);
    offsets::commit(&mut client, "group", "topic", 0, 1);
    for clean in [true, false] {
        if clean {
            stop(&mut gateway);
        } else {
            gateway.kill();
        }
        let serve = serve(&gateway.data_dir());
        // Its output goes to pipes: a file would be full as well.
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -f 0; exec \"$0\" \"$@\""])
            .arg(serve.get_program())
            .args(serve.get_args())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("tidegate listening on ").unwrap_or_else(|| panic!("{line}"));
        let mut client = Client::connect(address.parse().unwrap());
        assert_eq!(texts(&read_all(&mut client, "topic", 0, 0)), ["value"]);
        assert_eq!(offsets::fetch_all(&mut client, "group")[0].1[0].offset, 1);
        assert_eq!(produce(&mut client, "topic", 0, &Batch::of(["no"])).error_code, KAFKA_STORAGE_ERROR);
        child.kill().unwrap();
        child.wait().unwrap();
        gateway.run();
        assert_eq!(texts(&read_all(&mut gateway.connect(), "topic", 0, 0)), ["value"]);
    }
}

// ---- A disk that lies ----

#[test]
fn a_flipped_bit_costs_its_batch_and_no_other() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 1);
    let values: Vec<_> = (0..20).map(|number| format!("value-{number}-{}", "x".repeat(100))).collect();
    values.iter().for_each(|value| _ = produce_values(&mut client, "topic", 0, [value]));
    stop(&mut gateway);
    let segment = gateway.data_dir().join("topics/topic-0/00000000000000000000.log");
    let batch_bytes = usize::try_from(fs::metadata(&segment).unwrap().len()).unwrap() / 20;
    // Values of two digits are a byte longer, so the seventh lies where the first ten are alike.
    let first = fs::read(&segment).unwrap();
    let length = 12 + usize::try_from(i32::from_be_bytes(first[8..12].try_into().unwrap())).unwrap();
    assert!(length <= batch_bytes + 1);
    patch(&segment, |bytes| bytes[7 * length + 90] ^= 0x10);

    let (code, output) = doctor(&gateway);
    assert_eq!(code, 1, "{output}");
    let line = output.lines().find(|line| line.starts_with("damage: ")).unwrap_or_else(|| panic!("{output}"));
    for part in ["topics/topic-0/00000000000000000000.log", &format!("at byte {}", 7 * length), "offset 7 is damaged"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(output.lines().count(), 2, "that and the summary: {output}");

    gateway.run();
    let mut client = gateway.connect();
    let answer = topics::fetch(&mut client, "topic", 0, 7);
    assert_eq!(answer.error_code, CORRUPT_MESSAGE);
    for (offset, value) in values.iter().enumerate().filter(|(offset, _)| *offset != 7) {
        let answer = topics::fetch(&mut client, "topic", 0, i64::try_from(offset).unwrap());
        assert_eq!(answer.error_code, 0, "{offset}");
        assert_eq!(batch::records_of(answer.records.as_ref())[0].text(), value);
    }
    assert_eq!(produce_values(&mut client, "topic", 0, ["next"]), 20);
}

#[test]
fn indexes_that_are_missing_or_garbage_are_made_again() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut client = gateway.connect();
    let configs = [("internal.segment.bytes", "20000"), ("index.interval.bytes", "1000")];
    topics::create_with(&mut client, "topic", 1, &configs);
    for number in 0..150 {
        produce_values(&mut client, "topic", 0, [format!("{number}-{}", "x".repeat(500))]);
    }
    let spoils: [fn(&Path); 2] = [|path| fs::remove_file(path).unwrap(), |path| fs::write(path, [0xa5; 1203]).unwrap()];
    for spoil in spoils {
        stop(&mut gateway);
        let indexes = files(&gateway.data_dir().join("topics/topic-0"), "index");
        assert!(indexes.len() >= 6, "{indexes:?}");
        indexes.iter().for_each(|path| spoil(path));
        gateway.run();
        let mut client = gateway.connect();
        for offset in [0, 1, 37, 74, 111, 149] {
            let answer = topics::fetch(&mut client, "topic", 0, offset);
            let text = batch::records_of(answer.records.as_ref())[0].text().to_owned();
            assert!(text.starts_with(&format!("{offset}-")), "{text}");
        }
        assert_eq!(read_all(&mut client, "topic", 0, 0).len(), 150);
    }
    stop(&mut gateway);
    let (code, output) = doctor(&gateway);
    assert_eq!(code, 0, "the indexes are right again: {output}");
}

#[test]
fn a_missing_segment_is_told_counted_and_read_over() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut client = gateway.connect();
    for (topic, policy) in [("deleted", "delete"), ("compacted", "compact")] {
        let configs = [("internal.segment.bytes", "2000"), ("cleanup.policy", policy)];
        topics::create_with(&mut client, topic, 1, &configs);
        for number in 0..20 {
            let value = format!("{number}-{}", "x".repeat(400));
            let record = (Some("key".to_owned().into()), Some(value.into()));
            assert_eq!(produce(&mut client, topic, 0, &Batch::keyed(vec![record])).error_code, 0);
        }
    }
    stop(&mut gateway);
    let mut hole = 0..=0;
    for topic in ["deleted", "compacted"] {
        let segments = files(&gateway.data_dir().join(format!("topics/{topic}-0")), ".log");
        assert!(segments.len() > 3);
        hole = base_offset(&segments[1])..=base_offset(&segments[2]) - 1;
        fs::remove_file(&segments[1]).unwrap();
    }
    let missing = format!("offsets {} to {} are missing", hole.start(), hole.end());
    let (code, output) = doctor(&gateway);
    let damages: Vec<_> = output.lines().filter(|line| line.starts_with("damage: ")).collect();
    assert!(code == 1 && damages.len() == 1, "{output}");
    assert!(damages[0].contains("topics/deleted-0/") && damages[0].contains(&missing), "{output}");

    gateway.run();
    let told = eventually("the log tells", PATIENCE, || {
        let log = gateway.log();
        let lines: Vec<_> =
            log.lines().filter(|line| line.contains("records are missing")).map(str::to_owned).collect();
        (!lines.is_empty()).then_some(lines)
    });
    assert_eq!(told.len(), 1, "{told:?}");
    for part in
        ["ERROR", "deleted-0", &format!("first_offset={}", hole.start()), &format!("last_offset={}", hole.end())]
    {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
    let count = hole.clone().count();
    eventually("the metric counts", PATIENCE, || {
        (gateway.metrics("tidegate_missing_records")[0].1 == count as f64).then_some(())
    });
    let mut client = gateway.connect();
    for at in hole.clone() {
        let answer = topics::fetch(&mut client, "deleted", 0, at);
        assert_eq!(answer.error_code, 0);
        assert_eq!(
            batch::records_of(answer.records.as_ref())[0].offset,
            hole.end() + 1,
            "as in Kafka: what comes next"
        );
    }
    assert_eq!(read_all(&mut client, "deleted", 0, 0).len(), 20 - count);
    assert_eq!(produce_values(&mut client, "deleted", 0, ["next"]), 20);
}

// ---- Files that are deleted under a reader ----

#[test]
fn a_topic_that_is_deleted_and_created_again_never_shows_records_of_the_other() {
    let mut gateway = Gateway::options().storage("disk").durability("os").start();
    let born: Arc<Mutex<Vec<Uuid>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (born, stop, mut client) = (Arc::clone(&born), Arc::clone(&stop), gateway.connect());
            thread::spawn(move || {
                let mut read = 0;
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(1));
                    let known = born.lock().unwrap().len();
                    let life = known.saturating_sub(1 + fastrand::usize(0..2));
                    let Some(id) = born.lock().unwrap().get(life).copied() else { continue };
                    let request = topics::fetch_request_by_id(id, 0, fastrand::i64(0..40));
                    let answer = client.call(13, &request).responses.remove(0).partitions.remove(0);
                    // The records, or the topic, were deleted before or while they were read.
                    assert!([0, 1, 3, 6, 100].contains(&answer.error_code), "{answer:?}");
                    for record in batch::records_of(answer.records.as_ref()) {
                        assert!(record.text().starts_with(&format!("{life}-")), "{life}: {}", record.text());
                        read += 1;
                    }
                }
                read
            })
        })
        .collect();
    let mut client = gateway.connect();
    for life in 0..25 {
        let id = topics::create_with(&mut client, "topic", 1, &[("internal.segment.bytes", "1000")]);
        let produced = |client: &mut Client| {
            (0..10).for_each(|_| _ = produce_values(client, "topic", 0, [format!("{life}-{}", "x".repeat(150))]));
        };
        produced(&mut client);
        born.lock().unwrap().push(id);
        (0..3).for_each(|_| produced(&mut client));
        topics::delete_records(&mut client, "topic", 0, 20);
        topics::delete(&mut client, "topic");
    }
    stop.store(true, Ordering::Relaxed);
    let read: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    assert!(read > 0, "they read something");
    gateway.assert_alive();
}

// ---- The doctor ----

#[test]
fn the_doctor_finds_nothing_in_a_sound_directory_and_changes_nothing() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut client = gateway.connect();
    topics::create_with(&mut client, "topic", 2, &[("internal.segment.bytes", "3000")]);
    for number in 0..40 {
        produce_values(&mut client, "topic", number % 2, [format!("{number}-{}", "x".repeat(200))]);
    }
    topics::delete_records(&mut client, "topic", 0, 7);
    offsets::commit(&mut client, "group", "topic", 0, 1);
    let (code, output) = doctor(&gateway);
    assert!(code == 2 && output.contains("in use by another process"), "{output}");
    assert_eq!(output.lines().count(), 1, "{output}");
    for is_kill in [true, false] {
        if is_kill {
            gateway.kill();
        } else {
            stop(&mut gateway);
        }
        let before = listing(&gateway.data_dir());
        let (code, output) = doctor(&gateway);
        assert_eq!((code, output.lines().count()), (0, 1), "{output}");
        assert!(output.contains("2 partitions") && output.contains("40 batches"), "{output}");
        assert_eq!(listing(&gateway.data_dir()), before, "nothing was touched");
        gateway.run();
    }
}

/// A gateway that is not running, the segment of its one partition, and what is in it.
fn killed_with_five_batches() -> (Gateway, PathBuf, Vec<u8>) {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 1);
    (0..5).for_each(|number| _ = produce_values(&mut client, "topic", 0, [number.to_string()]));
    gateway.kill();
    let segment = gateway.data_dir().join("topics/topic-0/00000000000000000000.log");
    let whole = fs::read(&segment).unwrap();
    (gateway, segment, whole)
}

#[test]
fn the_doctor_tells_a_torn_tail_from_damage() {
    let (mut gateway, segment, whole) = killed_with_five_batches();
    fs::write(&segment, &whole[..whole.len() - 3]).unwrap();
    // It would bring back what is cut here.
    fs::remove_dir_all(gateway.data_dir().join("redo")).unwrap();
    let (code, output) = doctor(&gateway);
    let size = whole.len() / 5;
    assert!(
        output.contains(&format!("note: topics/topic-0/00000000000000000000.log at byte {}", 4 * size)),
        "{output}"
    );
    assert!(code == 0 && output.contains("will be cut at start"), "{output}");
    gateway.run();
    assert_eq!(read_all(&mut gateway.connect(), "topic", 0, 0).len(), 4);
}

#[test]
fn what_a_power_cut_takes_from_a_segment_comes_back_from_the_redo_log() {
    let (mut gateway, segment, whole) = killed_with_five_batches();
    // The first batch was synced with its segment, the others elsewhere.
    for kept in [whole.len() / 5, whole.len() / 2, whole.len() - 3] {
        let notes = fs::read_dir(gateway.data_dir().join("redo")).unwrap().map(|entry| entry.unwrap().path());
        let notes: Vec<_> = notes.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        assert!(!notes.is_empty());
        fs::write(&segment, &whole[..kept]).unwrap();
        gateway.run();
        assert_eq!(read_all(&mut gateway.connect(), "topic", 0, 0).len(), 5, "{kept} of {} bytes", whole.len());
        gateway.kill();
        notes.iter().for_each(|(path, contents)| fs::write(path, contents).unwrap());
    }
}

#[test]
fn a_flipped_bit_in_the_redo_log_is_told_and_what_is_behind_it_is_applied() {
    let (mut gateway, segment, whole) = killed_with_five_batches();
    let size = whole.len() / 5;
    let note = gateway.data_dir().join("redo/00000000000000000001.redo");
    patch(&note, |bytes| {
        let third = &whole[2 * size..3 * size];
        let at = bytes.windows(size).position(|window| window == third).unwrap();
        bytes[at + 65] ^= 4;
    });
    // As a power cut may: the first batch was synced with its segment, the others only there.
    fs::write(&segment, &whole[..size]).unwrap();
    let (code, output) = doctor(&gateway);
    assert!(code == 1 && output.contains("damage: redo/00000000000000000001.redo at byte "), "{output}");
    gateway.run();
    let mut client = gateway.connect();
    for offset in 0..5 {
        let answer = topics::fetch(&mut client, "topic", 0, offset);
        match offset {
            2 => assert_eq!(answer.error_code, CORRUPT_MESSAGE),
            _ => assert_eq!(batch::records_of(answer.records.as_ref())[0].text(), offset.to_string()),
        }
    }
    assert_eq!(produce_values(&mut client, "topic", 0, ["next"]), 5, "no offset is given out twice");
    eventually("the metric counts", PATIENCE, || {
        (gateway.metrics("tidegate_redo_log_damages")[0].1 == 1.0).then_some(())
    });
    let log = gateway.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("the redo log is damaged")).collect();
    assert!(told.len() == 1 && told[0].contains("ERROR"), "{told:?}");
    stop(&mut gateway);
    let (code, output) = doctor(&gateway);
    assert_eq!(code, 1, "{output}");
    for part in ["damage: redo/00000000000000000001.damaged: ", "offset 2 is damaged"] {
        assert!(output.contains(part), "{part}: {output}");
    }
}

#[test]
fn the_doctor_names_what_belongs_to_nothing_and_what_is_broken_beside_the_records() {
    let mut gateway = Gateway::options().storage("disk").start();
    let mut client = gateway.connect();
    topics::create(&mut client, "topic", 2);
    for partition in 0..2 {
        (0..200).for_each(|_| _ = produce_values(&mut client, "topic", partition, ["x".repeat(500)]));
    }
    stop(&mut gateway);
    let data = gateway.data_dir();
    fs::write(data.join("notes.txt"), "").unwrap();
    fs::create_dir_all(data.join("topics/nobody-3")).unwrap();
    fs::write(data.join("topics/topic-0/core"), "").unwrap();
    patch(&data.join("topics/topic-0/recovery-checkpoint"), |bytes| bytes[20] ^= 1);
    patch(&data.join("topics/topic-1/00000000000000000000.index"), |bytes| bytes[30] ^= 8);
    fs::write(data.join("topics/topic-1/partition.metadata"), "?").unwrap();
    let (code, output) = doctor(&gateway);
    assert_eq!(code, 1, "{output}");
    for expected in [
        "note: notes.txt: belongs to nothing",
        "note: topics/nobody-3: belongs to no topic; removed at the start",
        "note: topics/topic-0/core: belongs to nothing",
        "damage: topics/topic-0/recovery-checkpoint: cannot be read",
        "damage: topics/topic-1/00000000000000000000.index at byte 24: ",
        "damage: topics/topic-1/partition.metadata: cannot be read",
        "3 damaged, 3 notes",
    ] {
        assert!(output.contains(expected), "{expected}:\n{output}");
    }
    assert_eq!(output.lines().count(), 7, "{output}");
    patch(&journal_file(&data), |bytes| bytes[60] ^= 1);
    let (code, output) = doctor(&gateway);
    assert!(code == 1 && output.contains("00000000000000000001.log at byte 32"), "{output}");
    assert!(output.contains("the gateway refuses to start"), "{output}");
    fs::remove_dir_all(data.join("journal")).unwrap();
    let (code, output) = doctor(&gateway);
    assert!(code == 1 && output.contains("damage: journal: is missing, and there are records"), "{output}");
}

#[test]
fn the_doctor_says_when_it_cannot_tell() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [directory.path(), &file, Path::new("/no/such/directory")] {
        let (code, output) = run_doctor(path);
        assert!(code == 2 && output.lines().count() == 1, "{output}");
        assert!(output.contains(path.to_str().unwrap()), "{output}");
    }
}

fn doctor(gateway: &Gateway) -> (i32, String) {
    run_doctor(&gateway.data_dir())
}

fn run_doctor(data_dir: &Path) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    process::run("tidegate doctor", command.args(["doctor", "--data-dir"]).arg(data_dir), PATIENCE)
}

fn serve(data_dir: &Path) -> Command {
    let mut command = serve_command();
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--storage", "disk", "--data-dir"]);
    command.arg(data_dir);
    command
}

fn stop(gateway: &mut Gateway) {
    let (status, _) = gateway.terminate(PATIENCE);
    assert_eq!(status.code(), Some(0));
}

fn commit(client: &mut Client, offset: i64) -> i16 {
    let topics = vec![commit_topic("topic", vec![commit_partition(0, offset, None)])];
    offsets::commit_codes(client, 8, &commit_request("group", topics))[0]
}

fn create(client: &mut Client, name: &str) -> i16 {
    let topic = CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(1).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(topics::REQUEST_TIMEOUT_MS);
    client.call(7, &request).topics[0].error_code
}

fn patch(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn journal_file(data_dir: &Path) -> PathBuf {
    data_dir.join("journal/00000000000000000001.log")
}

/// The files of a partition whose names end like this, in order.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    files.sort();
    files
}

fn base_offset(segment: &Path) -> i64 {
    segment.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// Every file with its size and the time of its last change.
fn listing(directory: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
        if metadata.is_dir() {
            found.extend(listing(&path));
        }
        found.push((path, metadata.len(), metadata.modified().unwrap()));
    }
    found.sort();
    found
}

const PATIENCE: Duration = Duration::from_secs(10);
const KAFKA_STORAGE_ERROR: i16 = 56;
const CORRUPT_MESSAGE: i16 = 2;
/// Of a file, in bytes, while the disk is full.
const ROOM: u64 = 40_000;
