use std::sync::Arc;

use crate::{
    clock::MockClock,
    config::DynamicConfigs,
    storage::{Journal, memory::MemoryJournal},
};

use super::*;

async fn open(journal: &Arc<MemoryJournal>) -> Catalog {
    Catalog::open(Arc::clone(journal) as Arc<dyn Journal>, Arc::new(MockClock::at(0)), 10).await.unwrap()
}

fn topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic { name: name.into(), partitions, configs: TopicConfigs::from([("retention.ms".into(), "1".into())]) }
}

#[tokio::test]
async fn topics_configs_and_log_starts_are_there_after_reopening() {
    let journal = Arc::new(MemoryJournal::new());
    let catalog = open(&journal).await;
    let created = catalog.create(vec![topic("a", 2)]).await.remove(0).unwrap();
    catalog.grow("a", 3).await.unwrap();
    catalog.set_log_start(created.id, 1, 7).await.unwrap();
    let dynamic = DynamicConfigs { broker: [("k".into(), "v".into())].into(), ..DynamicConfigs::default() };
    catalog.change_dynamic_configs(|_| Ok::<_, CatalogError>(dynamic.clone())).await.unwrap();

    let reopened = open(&journal).await;
    assert_eq!(reopened.cluster_id(), catalog.cluster_id());
    assert_eq!(reopened.snapshot().topic("a"), catalog.snapshot().topic("a"));
    assert_eq!(reopened.snapshot().topic_by_id(created.id).unwrap().partitions, 3);
    assert_eq!(reopened.log_start(created.id, 1), 7);
    assert_eq!(*reopened.dynamic_configs(), dynamic);
}

#[tokio::test]
async fn group_configs_are_there_after_reopening_until_the_last_is_deleted() {
    let journal = Arc::new(MemoryJournal::new());
    let catalog = open(&journal).await;
    let (some, none) = (TopicConfigs::from([("k".into(), "v".into())]), TopicConfigs::new());
    let change = async |catalog: &Catalog, group: &str, configs: &TopicConfigs| {
        catalog.change_group_configs(&group.into(), |_| Ok::<_, CatalogError>(configs.clone())).await.unwrap()
    };
    change(&catalog, "a", &some).await;
    change(&catalog, "b", &some).await;
    change(&catalog, "a", &none).await;
    for catalog in [&catalog, &open(&journal).await] {
        assert_eq!(catalog.configured_groups(), [("b".into(), some.clone())]);
        assert_eq!((catalog.group_configs("a"), catalog.group_configs("b")), (none.clone(), some.clone()));
    }
}

#[tokio::test]
async fn configs_of_groups_are_not_without_a_limit() {
    let catalog = open(&Arc::new(MemoryJournal::new())).await;
    let change = async |group: usize, value: &str| {
        let configs = TopicConfigs::from([("k".into(), value.into())]);
        catalog.change_group_configs(&group.to_string().into(), |_| Ok::<_, CatalogError>(configs)).await
    };
    for group in 0..GROUPS_CONFIGURED_MAX {
        change(group, "1").await.unwrap();
    }
    assert!(matches!(change(GROUPS_CONFIGURED_MAX, "1").await, Err(CatalogError::TooManyGroupConfigs)));
    change(0, "2").await.unwrap();
}

#[tokio::test]
async fn a_topic_created_again_has_another_id_and_none_of_the_old_log_starts() {
    let journal = Arc::new(MemoryJournal::new());
    let catalog = open(&journal).await;
    let old = catalog.create(vec![topic("a", 1)]).await.remove(0).unwrap();
    catalog.set_log_start(old.id, 0, 5).await.unwrap();
    catalog.delete(old.id).await.unwrap();
    assert!(catalog.snapshot().topic("a").is_none());
    assert!(matches!(catalog.set_log_start(old.id, 0, 6).await, Err(CatalogError::UnknownTopicId)));
    let new = catalog.create(vec![topic("a", 1)]).await.remove(0).unwrap();
    assert_ne!(new.id, old.id);

    let reopened = open(&journal).await;
    assert_eq!(reopened.log_start(new.id, 0), 0);
    assert!(reopened.snapshot().topic_by_id(old.id).is_none());
}

#[tokio::test]
async fn one_request_creates_what_it_can() {
    let catalog = open(&Arc::new(MemoryJournal::new())).await;
    let results = catalog
        .create(vec![
            topic("a.b", 1),
            topic("a.b", 1),
            topic("a_b", 1),
            topic("a/b", 1),
            topic("c", 100),
            topic("d", 1),
        ])
        .await;
    assert!(results[0].is_ok());
    assert!(matches!(results[1], Err(CatalogError::TopicExists(_))));
    assert!(matches!(results[2], Err(CatalogError::NameCollision { .. })));
    assert!(matches!(results[3], Err(CatalogError::InvalidName(_))));
    assert!(matches!(results[4], Err(CatalogError::TooManyPartitions { .. })));
    assert!(results[5].is_ok());
    assert_eq!(catalog.snapshot().partitions_total(), 2);
}

#[tokio::test]
async fn a_topic_does_not_shrink_and_a_log_start_does_not_go_back() {
    let catalog = open(&Arc::new(MemoryJournal::new())).await;
    let created = catalog.create(vec![topic("a", 2)]).await.remove(0).unwrap();
    assert!(matches!(catalog.grow("a", 2).await, Err(CatalogError::SameCount(2))));
    assert!(matches!(catalog.grow("a", 1).await, Err(CatalogError::NotAnIncrease { .. })));
    assert!(matches!(catalog.grow("b", 2).await, Err(CatalogError::UnknownTopic)));
    catalog.set_log_start(created.id, 0, 9).await.unwrap();
    catalog.set_log_start(created.id, 0, 4).await.unwrap();
    assert_eq!(catalog.log_start(created.id, 0), 9);
}

#[tokio::test]
async fn producer_ids_are_never_given_out_twice() {
    let journal = Arc::new(MemoryJournal::new());
    let first = ProducerIds::open(Arc::clone(&journal) as Arc<dyn Journal>, None).await.unwrap();
    let mut last = -1;
    for _ in 0..1500 {
        let id = first.next().await.unwrap();
        assert!(id > last);
        last = id;
    }
    let second = ProducerIds::open(journal as Arc<dyn Journal>, Some(7)).await.unwrap();
    assert!(second.next().await.unwrap() > last);
}

#[tokio::test]
async fn producer_ids_of_records_from_elsewhere_are_not_given_out() {
    let open = |known| ProducerIds::open(Arc::new(MemoryJournal::new()), Some(known));
    assert_eq!(open(4999).await.unwrap().next().await.unwrap(), 5000);
    // What a client made up does not use them up.
    assert_eq!(open(i64::MAX).await.unwrap().next().await.unwrap(), 0);
}
