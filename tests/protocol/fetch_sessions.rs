//! Incremental fetch sessions (KIP-227): only what changed is asked for and answered.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{
    FetchRequest, FetchResponse,
    fetch_request::{FetchTopic, ForgottenTopic},
};
use uuid::Uuid;

use crate::support::{
    Client, Gateway,
    batch::records_of,
    topics::{self, fetch_partition, produce_values, texts, topic_name},
    unique,
};

#[test]
fn a_session_tells_only_what_changed() {
    let gateway = Gateway::start();
    let mut session = Session::open(&gateway, 12);
    let mut producer = gateway.connect();

    // Nothing new: waits as long as it may, and answers nothing at all.
    let start = Instant::now();
    let response = session.next(vec![], vec![], 300);
    assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
    assert_eq!((response.error_code, response.session_id, response.responses.len()), (0, session.id, 0));

    // Only the partition with news comes.
    produce_values(&mut producer, &session.topic, 1, ["news"]);
    let response = session.next(vec![], vec![], 2000);
    assert_eq!(changed(&response), [(1, vec!["news".to_owned()])]);

    // It goes on coming until the client says that it is further.
    assert_eq!(changed(&session.next(vec![], vec![], 2000)), [(1, vec!["news".to_owned()])]);
    let further = session.topic(vec![fetch_partition(1, 1)]);
    assert_eq!(changed(&session.next(vec![further], vec![], 100)), []);

    // Another partition moves by what the client asks, without any news.
    let back = session.topic(vec![fetch_partition(0, 0)]);
    assert_eq!(changed(&session.next(vec![back], vec![], 2000)), [(0, vec!["first".to_owned()])]);
}

#[test]
fn a_session_wakes_by_news() {
    let gateway = Gateway::start();
    let mut session = Session::open(&gateway, 13);
    let mut producer = gateway.connect();
    let id = session.send(vec![], vec![], 10_000);
    session.client.assert_silent(Duration::from_millis(50));
    produce_values(&mut producer, &session.topic, 2, ["news"]);
    let start = Instant::now();
    let response = session.receive(id);
    assert!(start.elapsed() < Duration::from_millis(500));
    assert_eq!(changed(&response), [(2, vec!["news".to_owned()])]);
}

#[test]
fn a_forgotten_topic_is_silent() {
    let gateway = Gateway::start();
    for version in [12, 18] {
        let mut session = Session::open(&gateway, version);
        let mut producer = gateway.connect();
        let forgotten = ForgottenTopic::default()
            .with_topic(topic_name(if version < 13 { &session.topic } else { "" }))
            .with_topic_id(if version < 13 { Uuid::nil() } else { session.topic_id })
            .with_partitions(vec![1, 2]);
        assert_eq!(changed(&session.next(vec![], vec![forgotten], 50)), []);
        for partition in 0..3 {
            produce_values(&mut producer, &session.topic, partition, ["news"]);
        }
        assert_eq!(changed(&session.next(vec![], vec![], 500)), [(0, vec!["news".to_owned()])]);
        // And may come back.
        let again = session.topic(vec![fetch_partition(2, 0)]);
        let mut found = changed(&session.next(vec![again], vec![], 500));
        found.sort();
        assert_eq!(found, [(0, vec!["news".to_owned()]), (2, vec!["news".to_owned()])]);
    }
}

#[test]
fn a_session_answers_errors_of_its_partitions() {
    let gateway = Gateway::start();
    let mut session = Session::open(&gateway, 12);
    let beyond = session.topic(vec![fetch_partition(1, 77)]);
    let response = session.next(vec![beyond], vec![], 2000);
    assert_eq!(response.responses[0].partitions.len(), 1);
    assert_eq!(response.responses[0].partitions[0].error_code, 1, "OFFSET_OUT_OF_RANGE");
    // An error is news each time.
    assert_eq!(session.next(vec![], vec![], 2000).responses[0].partitions[0].error_code, 1);
}

#[test]
fn a_wrong_epoch_and_an_unknown_session_are_refused() {
    let gateway = Gateway::start();
    for version in [7, 12, 17] {
        let mut session = Session::open(&gateway, version);
        session.next(vec![], vec![], 10);
        for wrong in [session.epoch + 1, session.epoch - 1, i32::MAX] {
            let request = session.request(vec![], vec![], 2000).with_session_epoch(wrong);
            let response = session.client.call(version, &request);
            assert_eq!((response.error_code, response.responses.len()), (71, 0), "INVALID_FETCH_SESSION_EPOCH");
        }
        // The session itself goes on.
        assert_eq!(session.next(vec![], vec![], 10).error_code, 0);
        let request = session.request(vec![], vec![], 2000).with_session_id(session.id.wrapping_add(1));
        let response = session.client.call(version, &request);
        assert_eq!((response.error_code, response.session_id), (70, 0), "FETCH_SESSION_ID_NOT_FOUND");
    }
}

#[test]
fn a_closed_session_is_gone() {
    let gateway = Gateway::start();
    let mut session = Session::open(&gateway, 12);
    let topic = session.topic(vec![fetch_partition(0, 0)]);
    // The last epoch closes the session and is answered like a fetch without one.
    let close = session.request(vec![topic], vec![], 10).with_session_epoch(-1);
    let response = session.client.call(12, &close);
    assert_eq!((response.error_code, response.session_id), (0, 0));
    assert_eq!(changed(&response), [(0, vec!["first".to_owned()])]);
    assert_eq!(session.next(vec![], vec![], 10).error_code, 70);
}

#[test]
fn a_new_session_replaces_the_old_one() {
    let gateway = Gateway::start();
    let mut session = Session::open(&gateway, 12);
    let old = session.id;
    let topic = session.topic(vec![fetch_partition(0, 0)]);
    let response = session.client.call(12, &session.request(vec![topic], vec![], 10).with_session_epoch(0));
    assert_eq!(response.error_code, 0);
    assert!(response.session_id != 0 && response.session_id != old, "{old} {response:?}");
    assert_eq!(changed(&response), [(0, vec!["first".to_owned()])]);
    assert_eq!(session.next(vec![], vec![], 10).error_code, 70, "the old one is closed");
}

/// A session over three partitions, of which the first had a record before.
struct Session {
    client: Client,
    version: i16,
    topic: String,
    topic_id: Uuid,
    id: i32,
    epoch: i32,
}

impl Session {
    fn open(gateway: &Gateway, version: i16) -> Self {
        let mut client = gateway.connect();
        let topic = unique("topic");
        let topic_id = topics::create(&mut client, &topic, 3);
        produce_values(&mut client, &topic, 0, ["first"]);
        let mut session = Self { client, version, topic, topic_id, id: 0, epoch: 0 };
        let partitions = session.topic(vec![fetch_partition(0, 1), fetch_partition(1, 0), fetch_partition(2, 0)]);
        let request = session.request(vec![partitions], vec![], 0);
        let response = session.client.call(version, &request);
        assert_eq!(response.error_code, 0, "{response:?}");
        assert_ne!(response.session_id, 0, "a full fetch opens a session");
        // The first answer has every partition, also those without records.
        assert_eq!(response.responses[0].partitions.len(), 3, "{response:?}");
        session.id = response.session_id;
        session.epoch = 1;
        session
    }

    fn topic(&self, partitions: Vec<kafka_protocol::messages::fetch_request::FetchPartition>) -> FetchTopic {
        let by_name = self.version < 13;
        FetchTopic::default()
            .with_topic(topic_name(if by_name { &self.topic } else { "" }))
            .with_topic_id(if by_name { Uuid::nil() } else { self.topic_id })
            .with_partitions(partitions)
    }

    fn request(&self, topics: Vec<FetchTopic>, forgotten: Vec<ForgottenTopic>, max_wait_ms: i32) -> FetchRequest {
        FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(max_wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_session_id(self.id)
            .with_session_epoch(self.epoch)
            .with_topics(topics)
            .with_forgotten_topics_data(forgotten)
    }

    /// An incremental fetch in the next epoch.
    fn next(&mut self, topics: Vec<FetchTopic>, forgotten: Vec<ForgottenTopic>, max_wait_ms: i32) -> FetchResponse {
        let id = self.send(topics, forgotten, max_wait_ms);
        self.receive(id)
    }

    fn send(&mut self, topics: Vec<FetchTopic>, forgotten: Vec<ForgottenTopic>, max_wait_ms: i32) -> i32 {
        let request = self.request(topics, forgotten, max_wait_ms);
        self.epoch += 1;
        self.client.send(self.version, &request)
    }

    fn receive(&mut self, correlation_id: i32) -> FetchResponse {
        self.client.receive::<FetchRequest>(self.version, correlation_id)
    }
}

/// The partitions of the response with their records.
fn changed(response: &FetchResponse) -> Vec<(i32, Vec<String>)> {
    assert_eq!(response.error_code, 0, "{response:?}");
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|partition| {
            let records = records_of(partition.records.as_ref());
            (partition.partition_index, texts(&records).into_iter().map(str::to_owned).collect())
        })
        .collect()
}
