//! High watermark, group commit, and what happens when the disk does not do as it is told.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    faulty::{Faults, FaultyStore},
    support::*,
};
use crate::{
    config::Durability,
    log::{AppendError, Isolation, LogContext, LogError, PartitionInfo, PartitionLog, Waiter},
};

fn faulty() -> (Bench, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let inner = Bench::memory().store;
    (Bench::over(Arc::new(FaultyStore { inner, faults: Arc::clone(&faults) })), faults)
}

fn visible(log: &PartitionLog) -> Vec<(i64, i64)> {
    let from = log.log_start();
    ranges(&log.read(from, 1 << 20, true, Isolation::ReadUncommitted).unwrap().records)
}

#[tokio::test]
async fn the_high_watermark_follows_the_sync() {
    let log = Bench::memory().open();
    let appended = log.append(batch_of(2, 10), 0).unwrap();
    // The flush runs on another thread; nothing is visible before it.
    log.wait_durable(appended.ticket).await.unwrap();
    assert_eq!(log.offsets().high_watermark, 2);
}

#[tokio::test]
async fn without_anybody_waiting_data_becomes_visible_as_well() {
    let log = Bench::memory().open();
    let waiter = Waiter::new();
    log.register(&waiter);
    log.append(batch_of(2, 10), 0).unwrap();
    while log.offsets().high_watermark < 2 {
        waiter.wait().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_sync_serves_all_that_wait() {
    let (bench, faults) = faulty();
    let log = bench.open();
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let appended = log.append(batch_of(1, 10), 0).unwrap();
                log.wait_durable(appended.ticket).await.unwrap();
                assert!(log.offsets().high_watermark > appended.last_offset);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(faults.sync_count.load(Ordering::SeqCst) <= 200);
    assert_eq!(log.offsets().high_watermark, 200);
}

#[tokio::test]
async fn with_os_durability_the_write_is_enough() {
    let (mut bench, faults) = faulty();
    bench.durability = Durability::Os;
    let log = bench.open();
    let waiter = Waiter::new();
    log.register(&waiter);
    let appended = log.append(batch_of(2, 10), 0).unwrap();
    waiter.wait().await;
    log.wait_durable(appended.ticket).await.unwrap();
    assert_eq!((log.offsets().high_watermark, faults.sync_count.load(Ordering::SeqCst)), (2, 0));
}

#[tokio::test]
async fn after_a_failed_sync_the_log_is_cut_back_and_goes_on() {
    let (bench, faults) = faulty();
    let log = bench.open();
    let kept = log.append(idempotent(9, 0, 0, 2), 0).unwrap();
    log.wait_durable(kept.ticket).await.unwrap();

    faults.syncs.store(true, Ordering::SeqCst);
    let lost = log.append(idempotent(9, 0, 2, 3), 0).unwrap();
    let error = log.wait_durable(lost.ticket).await.unwrap_err();
    assert!(matches!(error, LogError::Storage { .. }), "{error}");
    faults.syncs.store(false, Ordering::SeqCst);

    while log.trouble().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!((log.offsets().log_end, visible(&log)), (2, vec![(0, 1)]));
    // Whoever asks late hears the same: not "durable" because others wrote at these offsets since.
    let again = log.append(idempotent(9, 0, 2, 3), 0).unwrap();
    assert!(!again.is_duplicate, "the producer's state was cut back as well");
    log.wait_durable(again.ticket).await.unwrap();
    assert!(log.wait_durable(lost.ticket).await.is_err());
    log.wait_durable(kept.ticket).await.unwrap();
    assert_eq!(visible(&log), [(0, 1), (2, 4)]);
}

#[tokio::test]
async fn writes_are_refused_until_the_cut_worked_and_reads_go_on() {
    let (bench, faults) = faulty();
    let log = bench.open();
    let kept = log.append(batch_of(1, 10), 0).unwrap();
    log.wait_durable(kept.ticket).await.unwrap();
    faults.syncs.store(true, Ordering::SeqCst);
    faults.truncates.store(true, Ordering::SeqCst);
    let lost = log.append(batch_of(1, 10), 0).unwrap();
    log.wait_durable(lost.ticket).await.unwrap_err();
    for _ in 0..3 {
        bench.clock.advance(Duration::from_secs(2));
        assert!(matches!(log.append(batch_of(1, 10), 0), Err(AppendError::Storage(_))));
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(visible(&log), [(0, 0)]);
        assert!(log.trouble().is_some());
    }
    faults.syncs.store(false, Ordering::SeqCst);
    faults.truncates.store(false, Ordering::SeqCst);
    bench.clock.advance(Duration::from_secs(2));
    assert!(log.append(batch_of(1, 10), 0).is_err(), "this one finds it broken and has it repaired");
    while log.trouble().is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(log.append(batch_of(1, 10), 0).unwrap().base_offset, 1);
}

#[tokio::test]
async fn a_log_that_could_not_be_repaired_is_so_later_without_another_append() {
    let (bench, faults) = faulty();
    let log = bench.open();
    faults.syncs.store(true, Ordering::SeqCst);
    faults.truncates.store(true, Ordering::SeqCst);
    let lost = log.append(batch_of(1, 10), 0).unwrap();
    log.wait_durable(lost.ticket).await.unwrap_err();
    // More than one attempt goes by.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(log.trouble().is_some());
    faults.syncs.store(false, Ordering::SeqCst);
    faults.truncates.store(false, Ordering::SeqCst);
    let sound = async {
        while log.trouble().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), sound).await.unwrap();
    assert_eq!(log.append(batch_of(1, 10), 0).unwrap().base_offset, 0);
}

#[tokio::test]
async fn a_torn_write_that_cannot_be_cut_is_cut_later() {
    let (bench, faults) = faulty();
    let log = bench.open();
    log.append(batch_of(1, 10), 0).unwrap();
    faults.torn.store(true, Ordering::SeqCst);
    assert!(matches!(log.append(batch_of(1, 10), 0), Err(AppendError::Storage(_))));
    faults.torn.store(false, Ordering::SeqCst);
    while log.trouble().is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let appended = log.append(batch_of(1, 10), 0).unwrap();
    log.wait_durable(appended.ticket).await.unwrap();
    assert_eq!(visible(&log), [(0, 0), (1, 1)]);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_resumes_by_itself() {
    let (bench, faults) = faulty();
    let log = bench.open();
    faults.full.store(true, Ordering::SeqCst);
    assert!(log.append(batch_of(1, 10), 0).is_err());
    faults.full.store(false, Ordering::SeqCst);
    let first = log.append(batch_of(1, 10), 0).unwrap();
    log.wait_durable(first.ticket).await.unwrap();
    faults.full.store(true, Ordering::SeqCst);
    assert!(log.append(batch_of(1, 10), 0).is_err());
    assert_eq!((visible(&log), log.trouble().is_some()), (vec![(0, 0)], false));
    faults.full.store(false, Ordering::SeqCst);
    let second = log.append(batch_of(1, 10), 0).unwrap();
    log.wait_durable(second.ticket).await.unwrap();
    assert_eq!(visible(&log), [(0, 0), (1, 1)]);
}

#[test]
fn memory_is_capped() {
    let bench = Bench::memory_of(300_000);
    let log = bench.open();
    let refused = (0..100).find_map(|_| log.append(batch_of(1, 10_000), 0).err()).unwrap();
    assert!(matches!(refused, AppendError::Storage(crate::storage::StorageError::Full(_))));
    assert!(log.size_bytes() > 200_000 && log.trouble().is_none());
}

#[tokio::test]
async fn a_closed_log_says_so_to_everybody() {
    let bench = Bench::memory();
    let log = bench.open();
    let waiter = Waiter::new();
    log.register(&waiter);
    log.append(batch_of(1, 10), 0).unwrap();
    log.close().unwrap();
    waiter.wait().await;
    assert!(matches!(log.append(batch_of(1, 10), 0), Err(AppendError::Closed)));
    assert!(log.read(0, 100, true, Isolation::ReadUncommitted).is_err());
    log.close().unwrap();
    let log = bench.open();
    assert_eq!(visible(&log), [(0, 0)]);
    log.delete().unwrap();
    assert_eq!(bench.store.partitions().unwrap(), []);
    assert!(matches!(log.append(batch_of(1, 10), 0), Err(AppendError::Closed)));
    assert_eq!(bench.store.partitions().unwrap(), []);
}

#[tokio::test]
async fn a_stop_after_a_failed_sync_vouches_for_nothing() {
    let (bench, faults) = faulty();
    let log = bench.open();
    let kept = log.append(batch_of(1, 10), 0).unwrap();
    log.wait_durable(kept.ticket).await.unwrap();
    faults.syncs.store(true, Ordering::SeqCst);
    faults.truncates.store(true, Ordering::SeqCst);
    let lost = log.append(batch_of(1, 10), 0).unwrap();
    let wait = log.wait_durable(lost.ticket);
    log.close().ok();
    assert!(wait.await.is_err());
    assert_eq!(bench.store.read_whole(log.partition(), "recovery-checkpoint").unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_appended_while_the_log_closes_is_answered_truly() {
    for _ in 0..20 {
        let bench = Bench::memory();
        let log = bench.open();
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let mut durable = 0;
                    while let Ok(appended) = log.append(batch_of(1, 10), 0) {
                        if log.wait_durable(appended.ticket).await.is_ok() {
                            durable = durable.max(appended.last_offset + 1);
                        }
                    }
                    durable
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let closing = Arc::clone(&log);
        tokio::task::spawn_blocking(move || closing.close().unwrap()).await.unwrap();
        let mut durable = 0;
        for task in tasks {
            durable = durable.max(task.await.unwrap());
        }
        assert!(bench.open().offsets().log_end >= durable);
    }
}

#[test]
fn an_idle_partition_is_small() {
    assert!(size_of::<PartitionLog>() <= 1024, "{}", size_of::<PartitionLog>());
}

#[tokio::test(flavor = "multi_thread")]
async fn small_batches_of_many_logs_survive_a_power_cut_that_their_segments_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::disk(directory.path());
    let context = bench.context();
    let open = |partition: i32, context: &Arc<LogContext>, bench: &Bench| {
        let info =
            PartitionInfo { topic: Arc::from("orders"), topic_id: bench.topic_id, partition, log_start_offset: 0 };
        let config = Arc::new(bench.config.clone());
        PartitionLog::open(Arc::clone(&bench.store), info, config, Arc::clone(context)).unwrap()
    };
    let logs: Vec<_> = (0..20).map(|partition| open(partition, &context, &bench)).collect();
    let mut first_sizes = Vec::new();
    for round in 0..5 {
        let tickets: Vec<_> = logs.iter().map(|log| log.append(batch_of(2, 50), 0).unwrap().ticket).collect();
        for (log, ticket) in logs.iter().zip(tickets) {
            log.wait_durable(ticket).await.unwrap();
        }
        if round == 0 {
            // The first flush of a log syncs its segment and its directory.
            first_sizes = logs.iter().map(|log| log.size_bytes()).collect();
        }
    }
    let copy = tempfile::tempdir().unwrap();
    copy_directory(directory.path(), copy.path());
    let bench = Bench { store: Bench::disk_store(copy.path(), &first_sizes), ..bench };
    let context = bench.context();
    for partition in 0..20 {
        let log = open(partition, &context, &bench);
        assert_eq!(log.offsets().high_watermark, 10, "partition {partition}");
        assert_eq!(visible(&log).len(), 5);
    }
}

#[test]
fn what_waits_is_flushed_though_another_append_broke_the_log_during_a_flush() {
    let (bench, faults) = faulty();
    let log = bench.open();
    log.append(batch_of(1, 10), 0).unwrap();
    log.state.lock().is_flushing = true;
    log.append(batch_of(1, 10), 0).unwrap();
    let tail = log.plan_tail().unwrap();
    log.append(batch_of(1, 10), 0).unwrap();
    faults.torn.store(true, Ordering::SeqCst);
    log.append(batch_of(1, 10), 0).unwrap_err();
    faults.torn.store(false, Ordering::SeqCst);
    let mut is_more = log.tail_flushed(&tail, Ok(()));
    while is_more {
        is_more = log.flush_once();
    }
    assert_eq!((log.trouble().is_some(), log.offsets().high_watermark), (false, 3));
}

#[test]
fn after_a_new_segment_was_cut_off_nothing_is_visible_before_its_flush() {
    let (mut bench, faults) = faulty();
    bench.config.segment_bytes = 1000;
    let log = bench.open();
    log.append(batch_of(1, 500), 0).unwrap();
    faults.syncs.store(true, Ordering::SeqCst);
    log.append(batch_of(1, 600), 0).unwrap();
    faults.syncs.store(false, Ordering::SeqCst);
    assert_eq!((log.trouble().is_some(), log.segment_count()), (false, 1), "cut back");
    log.state.lock().is_flushing = true;
    log.append(batch_of(1, 10), 0).unwrap();
    assert_eq!((log.segment_count(), log.offsets().high_watermark), (1, 1));
    assert_eq!(visible(&log), [(0, 0)]);
}
