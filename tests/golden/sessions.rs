//! Fetch sessions: only what changed is asked for and answered (KIP-227).

use kafka_protocol::messages::{
    FetchRequest,
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
};
use uuid::Uuid;

use crate::{
    support::{
        StrBytes,
        batch::Batch,
        topics::{self, fetch_partition, produce, topic_name},
    },
    talk::Talk,
};

pub fn fetch_sessions(talk: &mut Talk) {
    for version in [7, 12, 13, 18] {
        let (name, id) = talk.topic(&format!("topic-{version}"), 3);
        let topic = Named { name, id, version };
        let news = |talk: &Talk, partition: i32| {
            let mut batch = Batch::of(["news"]);
            batch.base_timestamp = 1_500_000_000_000;
            produce(&mut talk.unrecorded(), &topic.name, partition, &batch);
        };
        news(talk, 0);
        let all = (0..3).map(|partition| fetch_partition(partition, 0)).collect();
        let opened = talk.call("one", version, "a new session", &topic.fetch(0, 0, all));
        let session = opened.session_id;
        talk.call("one", version, "nothing changed", &topic.fetch(session, 1, vec![]));
        talk.call("one", version, "further", &topic.fetch(session, 2, vec![fetch_partition(0, 1)]));
        news(talk, 1);
        talk.call("one", version, "news", &topic.fetch(session, 3, vec![]));
        talk.call("one", version, "the news again", &topic.fetch(session, 4, vec![]));
        talk.call("one", version, "an epoch that was", &topic.fetch(session, 4, vec![]));
        talk.call("one", version, "an epoch to come", &topic.fetch(session, 9, vec![]));
        talk.call("one", version, "goes on", &topic.fetch(session, 5, vec![fetch_partition(1, 1)]));
        let out_of_range = topic.fetch(session, 6, vec![fetch_partition(2, 99)]);
        talk.call("one", version, "out of range", &out_of_range);
        talk.call("one", version, "still out of range", &topic.fetch(session, 7, vec![]));
        talk.call("one", version, "partition that is not there", &topic.fetch(session, 8, vec![fetch_partition(7, 0)]));
        let forgotten = topic.fetch(session, 9, vec![]).with_forgotten_topics_data(vec![topic.forgotten(&[2, 7])]);
        talk.call("one", version, "forgets two", &forgotten);
        news(talk, 2);
        talk.call("one", version, "news of what was forgotten", &topic.fetch(session, 10, vec![]));
        talk.call("two", version, "on another connection", &topic.fetch(session, 11, vec![]));
        talk.call("one", version, "begins anew", &topic.fetch(session, 0, vec![fetch_partition(0, 0)]));
        talk.call("one", version, "the one before", &topic.fetch(session, 12, vec![]));
    }
}

/// The topic of a session is deleted.
pub fn sessions_of_deleted_topics(talk: &mut Talk) {
    for version in [12, 13] {
        let (name, id) = talk.topic(&format!("topic-{version}"), 1);
        let topic = Named { name, id, version };
        let opened = talk.call("one", version, "a new session", &topic.fetch(0, 0, vec![fetch_partition(0, 0)]));
        topics::delete(&mut talk.unrecorded(), &topic.name);
        let session = opened.session_id;
        talk.call("one", version, "after the topic was deleted", &topic.fetch(session, 1, vec![]));
        talk.call("one", version, "again", &topic.fetch(session, 2, vec![]));
        let forgotten = topic.fetch(session, 3, vec![]).with_forgotten_topics_data(vec![topic.forgotten(&[0])]);
        talk.call("one", version, "forgets it", &forgotten);
    }
}

/// A topic as a version of Fetch names it.
struct Named {
    name: StrBytes,
    id: Uuid,
    version: i16,
}

impl Named {
    fn fetch(&self, session: i32, epoch: i32, partitions: Vec<FetchPartition>) -> FetchRequest {
        let topic = FetchTopic::default().with_partitions(partitions);
        let topic = match self.is_by_id() {
            true => topic.with_topic_id(self.id),
            false => topic.with_topic(topic_name(&self.name)),
        };
        let topics = if topic.partitions.is_empty() { vec![] } else { vec![topic] };
        let request = FetchRequest::default()
            .with_max_wait_ms(0)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_session_id(session)
            .with_session_epoch(epoch)
            .with_topics(topics);
        if self.version >= 15 { request } else { request.with_replica_id((-1).into()) }
    }

    fn forgotten(&self, partitions: &[i32]) -> ForgottenTopic {
        let topic = ForgottenTopic::default().with_partitions(partitions.to_vec());
        if self.is_by_id() { topic.with_topic_id(self.id) } else { topic.with_topic(topic_name(&self.name)) }
    }

    fn is_by_id(&self) -> bool {
        self.version >= 13
    }
}
