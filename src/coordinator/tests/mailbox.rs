//! Who works a mailbox off, and when.

use super::*;

#[tokio::test]
async fn what_need_not_wait_is_answered_within_the_call() {
    let (_, coordinator) = start().await;
    let committed = coordinator.commit_offsets(commit("g", "", -1, 1)).now_or_never();
    assert!(committed.unwrap().is_ok());
    let joined = coordinator.join(join("g", ""), no_topics()).now_or_never().unwrap().unwrap();
    let synced = coordinator.sync(sync("g", &joined)).now_or_never();
    assert!(synced.unwrap().is_ok());
    let beat = coordinator.heartbeat(heartbeat("g", &joined.member_id, 1)).now_or_never();
    assert_eq!(beat, Some(Ok(())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_asks_at_once_is_answered_once_and_in_its_order() {
    let (storage, coordinator) = start().await;
    let askers: Vec<_> = (0..8)
        .map(|asker| {
            let coordinator = Arc::clone(&coordinator);
            tokio::spawn(async move {
                let group = format!("g{}", asker % 2);
                for offset in 0..500 {
                    let mut request = commit(&group, "", -1, offset);
                    request.partitions[0].partition = TopicPartition::new("t", asker);
                    let first = coordinator.commit_offsets(request.clone());
                    request.partitions[0].offset += 1;
                    let second = coordinator.commit_offsets(request);
                    let (first, second) = tokio::join!(first, second);
                    assert!(first.is_ok() && second.is_ok());
                }
            })
        })
        .collect();
    for asker in askers {
        tokio::time::timeout(Duration::from_secs(60), asker).await.unwrap().unwrap();
    }
    assert_eq!(coordinator.stats().offsets_committed, 8_000);
    assert_eq!(storage.offsets.lock().values().map(|value| value.offset).collect::<Vec<_>>(), [500; 8]);
}

#[tokio::test]
async fn a_shard_that_panicked_is_gone_and_nobody_waits_for_it() {
    let (storage, coordinator) = start().await;
    let held = storage.gate.0.acquire().await.unwrap();
    let first = coordinator.commit_offsets(commit("g", "", -1, 1));
    let second = coordinator.commit_offsets(commit("g", "", -1, 2));
    storage.panics.store(true, Ordering::SeqCst);
    drop(held);
    assert_eq!(first.await, Err(GroupError::NotCoordinator));
    assert_eq!(second.await, Err(GroupError::NotCoordinator));
    let late = coordinator.commit_offsets(commit("g", "", -1, 3)).now_or_never();
    assert_eq!(late, Some(Err(GroupError::CoordinatorNotAvailable)));
    // The same within the call of one who asks.
    let mut elsewhere = (0..100).map(|i| format!("g{i}")).filter(|id| shard_of(id, 4) != shard_of("g", 4));
    let other = elsewhere.next().unwrap();
    let within = coordinator.commit_offsets(commit(&other, "", -1, 1)).now_or_never();
    assert_eq!(within, Some(Err(GroupError::NotCoordinator)));
    storage.panics.store(false, Ordering::SeqCst);
    let others = elsewhere.find(|id| shard_of(id, 4) != shard_of(&other, 4)).unwrap();
    coordinator.commit_offsets(commit(&others, "", -1, 1)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), coordinator.shutdown()).await.unwrap();
}
