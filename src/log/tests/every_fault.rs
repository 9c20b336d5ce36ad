//! One life of a log, again and again: each time another of its disk operations goes wrong, in each of the ways that it
//! can, and then the power goes. Whatever was answered stands.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::{
    crash_disk::{CrashDisk, Cut, Fault},
    support::*,
};
use crate::{
    config::Durability,
    log::{Isolation, PartitionInfo, PartitionLog},
    model::batch::batches,
};

/// What was asked and answered in a life.
#[derive(Default)]
struct Answers {
    /// First offset, last offset, payload: answered as durable.
    kept: Vec<(i64, i64, Bytes)>,
    /// Payloads that were refused, and must not be there while the process lives.
    refused: HashSet<Bytes>,
    asked: HashSet<Bytes>,
    log_start: i64,
    refusals: u32,
    sequence: i32,
}

struct Life {
    bench: Bench,
    log: Option<Arc<PartitionLog>>,
    answers: Answers,
}

impl Life {
    fn new(disk: &CrashDisk, durability: Durability) -> Self {
        let mut bench = Bench::over(Arc::new(disk.clone()));
        bench.config.segment_bytes = 900;
        bench.config.index_interval_bytes = 200;
        bench.durability = durability;
        let mut life = Self { bench, log: None, answers: Answers::default() };
        life.open();
        life
    }

    /// No runtime runs here, so that every flush is done within the append that asks for it.
    fn live(&mut self) {
        for round in 0..4 {
            for index in 0..4 {
                self.append(batch_of(1 + index, 60 + 7 * index + round));
                self.append_idempotent();
            }
            if round == 1 {
                self.delete_records();
            }
            if round == 2 {
                self.stop();
                self.open();
            }
        }
    }

    fn open(&mut self) {
        let info = PartitionInfo {
            topic: Arc::from("orders"),
            topic_id: self.bench.topic_id,
            partition: 3,
            log_start_offset: self.bench.log_start_offset,
        };
        let open = || {
            let config = Arc::new(self.bench.config.clone());
            PartitionLog::open(Arc::clone(&self.bench.store), info.clone(), config, self.bench.context())
        };
        // One that cannot be opened is tried again, as an operator would.
        self.log = open().or_else(|_| open()).ok();
    }

    fn stop(&mut self) {
        if let Some(log) = self.log.take() {
            let _ = log.close();
        }
    }

    fn append_idempotent(&mut self) {
        let batch = idempotent(9, 0, self.answers.sequence, 1);
        // As a producer does: the same batch until it is answered.
        for _ in 0..3 {
            if self.append(batch.clone()) {
                self.answers.sequence += 1;
                return;
            }
        }
    }

    fn append(&mut self, batch: Bytes) -> bool {
        let Some(log) = &self.log else { return false };
        let payload = batch.slice(PAYLOAD_AT..);
        self.answers.asked.insert(payload.clone());
        let outcome = log.append(batch, 0).map(|appended| {
            let durable = log.wait_durable(appended.ticket).now_or_never().expect("flushed within the append");
            durable.map(|()| (appended.base_offset, appended.last_offset))
        });
        match outcome {
            Ok(Ok((first, last))) => {
                self.answers.refused.remove(&payload);
                self.answers.kept.retain(|(kept, ..)| *kept != first);
                self.answers.kept.push((first, last, payload));
                true
            }
            Ok(Err(_)) | Err(_) => {
                self.answers.refused.insert(payload);
                self.answers.refusals += 1;
                self.bench.clock.advance(Duration::from_secs(2));
                false
            }
        }
    }

    fn delete_records(&mut self) {
        let Some(log) = &self.log else { return };
        let before = log.offsets().high_watermark / 2;
        // The catalogue has it first.
        self.bench.log_start_offset = before;
        self.answers.log_start = before;
        let _ = log.delete_records(before);
    }

    fn check(&self, log: &PartitionLog, is_same_life: bool, note: &str) {
        let found = everything(log, note);
        for (first, last, payload) in self.answers.kept.iter().filter(|(_, last, _)| *last >= self.answers.log_start) {
            let it = found.iter().find(|(found, ..)| found == first);
            assert_eq!(it.map(|it| (it.1, &it.2)), Some((*last, payload)), "{note}: offset {first} was answered");
        }
        for (first, _, payload) in &found {
            assert!(self.answers.asked.contains(payload), "{note}: nobody wrote what is at {first}");
            let is_refused = self.answers.refused.contains(payload);
            assert!(!is_same_life || !is_refused, "{note}: what is at {first} was refused");
        }
        let known: HashSet<_> = found.iter().map(|(first, ..)| first).collect();
        assert_eq!(known.len(), found.len(), "{note}: an offset twice");
    }
}

/// First offset, last offset and payload of every batch that can be read; there is no gap between them.
fn everything(log: &PartitionLog, note: &str) -> Vec<(i64, i64, Bytes)> {
    let mut found = Vec::new();
    let mut at = log.log_start();
    loop {
        let read =
            log.read(at, 500, true, Isolation::ReadUncommitted).unwrap_or_else(|error| panic!("{note}: {error}"));
        if read.records.is_empty() {
            assert_eq!(at, log.offsets().high_watermark.max(log.log_start()), "{note}: the end");
            return found;
        }
        let records = read.records.read().unwrap();
        for batch in batches(&records) {
            let batch = batch.unwrap();
            assert!(batch.is_intact(), "{note}");
            assert!(batch.header.base_offset <= at, "{note}: a gap before {}", batch.header.base_offset);
            at = batch.header.next_offset();
            let payload = records.slice(batch.start + PAYLOAD_AT..batch.start + batch.bytes.len());
            found.push((batch.header.base_offset, batch.header.last_offset(), payload));
        }
    }
}

/// One life with `faults`, and one more after each of `cuts`. Answers how many appends were refused.
fn try_one(durability: Durability, faults: &[(usize, Fault)], cuts: &[Cut], note: &str) -> u32 {
    let disk = CrashDisk::default();
    faults.iter().for_each(|(at, fault)| disk.plan(*at, *fault));
    let mut life = Life::new(&disk, durability);
    life.live();
    if faults.iter().all(|(_, fault)| *fault != Fault::Crashes) {
        let log = life.log.as_ref().unwrap_or_else(|| panic!("{note}: a fault does not keep it closed"));
        assert!(life.answers.refusals <= 4 * faults.len() as u32, "{note}: it takes writes again");
        life.check(log, true, note);
    }
    life.log = None;
    // A failed sync of an index loses entries that a later one vouches for; look-ups do without them.
    let done = disk.operations();
    let has_lost_entries =
        faults.iter().filter_map(|(at, _)| done.get(*at)).any(|it| it.starts_with("sync") && it.ends_with("index"));
    for &cut in cuts {
        let note = format!("{note}, then {cut:?} is kept");
        let mut bench = life.bench.clone();
        bench.store = Arc::new(disk.after(cut));
        if !has_lost_entries {
            assert_undamaged(&bench, &note);
        }
        let log = bench.open();
        life.check(&log, false, &note);
        if life.answers.sequence > 0 {
            let again = log.append(idempotent(9, 0, life.answers.sequence - 1, 1), 0).unwrap();
            assert!(again.is_duplicate, "{note}: the last batch of the producer is known");
        }
        let end = log.offsets().log_end;
        assert_eq!(log.append(batch_of(1, 10), 0).unwrap().base_offset, end, "{note}");
    }
    life.answers.refusals
}

fn try_all(durability: Durability, cuts: &[Cut]) {
    let operations = operations(durability);
    for what in ["create", "append to", "delete", "write", "rename to"] {
        assert!(operations.iter().any(|operation| operation.starts_with(what)), "no {what} in {operations:?}");
    }
    let mut refusals = 0;
    for (at, operation) in operations.iter().enumerate() {
        for fault in [Fault::Fails, Fault::Full, Fault::FailsLate, Fault::Crashes] {
            let note = format!("{durability:?}, {fault:?} at {at}: {operation}");
            refusals += try_one(durability, &[(at, fault)], cuts, &note);
        }
    }
    assert!(refusals > 0, "the faults were felt");
}

/// What a life without faults does to the disk.
fn operations(durability: Durability) -> Vec<String> {
    let disk = CrashDisk::default();
    let mut life = Life::new(&disk, durability);
    life.live();
    assert_eq!(life.answers.refusals, 0);
    disk.operations()
}

#[test]
fn whatever_fails_what_was_answered_as_durable_survives_a_power_cut() {
    try_all(Durability::Sync, &[Cut::Nothing, Cut::Everything, Cut::Halves]);
}

#[test]
fn whatever_fails_what_was_answered_as_written_survives_a_kill() {
    try_all(Durability::Os, &[Cut::Everything]);
}

#[test]
fn a_fault_in_the_repair_of_a_fault_loses_nothing_either() {
    let operations = operations(Durability::Sync);
    for (at, operation) in operations.iter().enumerate() {
        let is_write = operation.starts_with("append to") || operation.starts_with("sync");
        for (first, distance, second) in
            (1..6).flat_map(|distance| SECOND_FAULTS.map(|(first, second)| (first, distance, second)))
        {
            if is_write {
                let note = format!("{first:?} at {at}: {operation}, {second:?} {distance} later");
                let faults = [(at, first), (at + distance, second)];
                try_one(Durability::Sync, &faults, &[Cut::Nothing, Cut::Halves], &note);
            }
        }
    }
}

#[test]
fn a_start_that_is_cut_short_by_another_crash_loses_nothing() {
    let cuts = [Cut::Nothing, Cut::Halves];
    let mut interrupted = 0;
    for at in (0..operations(Durability::Sync).len()).step_by(5) {
        let disk = CrashDisk::default();
        disk.plan(at, Fault::Crashes);
        let mut life = Life::new(&disk, Durability::Sync);
        life.live();
        life.log = None;
        for (cut, fault) in cuts.into_iter().flat_map(|cut| [(cut, Fault::Crashes), (cut, Fault::FailsLate)]) {
            for step in 0.. {
                let again = disk.after(cut);
                again.plan(step, fault);
                life.bench.store = Arc::new(again.clone());
                life.open();
                life.log = None;
                if again.operations().len() <= step {
                    break;
                }
                interrupted += 1;
                let note = format!("crash at {at}, {cut:?} is kept, {fault:?} at step {step} of the start");
                let mut bench = life.bench.clone();
                bench.store = Arc::new(again.after(cut));
                life.check(&bench.open(), false, &note);
            }
        }
    }
    assert!(interrupted > 100, "{interrupted}");
}

const SECOND_FAULTS: [(Fault, Fault); 3] =
    [(Fault::Fails, Fault::FailsLate), (Fault::FailsLate, Fault::Fails), (Fault::FailsLate, Fault::Crashes)];
/// Behind base offset, length, leader epoch, magic and checksum: what a broker does not change.
const PAYLOAD_AT: usize = 21;
