//! Fetch sessions (KIP-227): a client names its partitions once, and then only what changed.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use indexmap::IndexMap;
use parking_lot::Mutex;

use crate::clock::Clock;

use super::{FetchPartition, FetchedPartition, TopicRef};

/// What a Fetch request says of its session.
pub struct SessionRequest {
    pub session_id: i32,
    pub session_epoch: i32,
    /// Partitions of a full fetch, or the changed ones of an incremental fetch.
    pub partitions: Vec<FetchPartition>,
    pub forgotten: Vec<(TopicRef, i32)>,
    /// Whether topics are named by id (Fetch v13 on); does not change within a session.
    pub by_id: bool,
    /// A fetch of more partitions than this has no session.
    pub partitions_max: usize,
}

/// Why a session cannot go on; the client then begins a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("The fetch session ID was not found.")]
    NotFound,
    #[error("The fetch session epoch is invalid.")]
    InvalidEpoch,
    #[error("The fetch session encountered inconsistent topic ID usage")]
    TopicIdMismatch,
}

/// The fetch that a request stands for once its session was consulted.
pub struct SessionFetch {
    /// What the response carries; 0 for a fetch without a session.
    pub session_id: i32,
    pub partitions: Vec<FetchPartition>,
    session: Option<Arc<Mutex<Session>>>,
    incremental: bool,
}

/// The sessions of all clients (`max.incremental.fetch.session.cache.slots`).
pub struct Sessions {
    slots_max: usize,
    clock: Arc<dyn Clock>,
    sessions: Mutex<HashMap<i32, Arc<Mutex<Session>>>>,
    /// Partitions of all sessions together.
    cached: Arc<AtomicUsize>,
}

impl Sessions {
    pub fn new(slots_max: usize, clock: Arc<dyn Clock>) -> Self {
        Self { slots_max, clock, sessions: Mutex::default(), cached: Arc::default() }
    }

    /// Opens, continues or closes a session as `FetchManager.newContext` does.
    pub fn begin(&self, mut request: SessionRequest) -> Result<SessionFetch, SessionError> {
        match request.session_epoch {
            INITIAL_EPOCH | FINAL_EPOCH => {
                if request.session_id != NO_SESSION {
                    self.sessions.lock().remove(&request.session_id);
                }
                request.partitions = without_duplicates(request.partitions);
                if request.session_epoch == FINAL_EPOCH || request.partitions.is_empty() {
                    return Ok(SessionFetch::without_session(request.partitions));
                }
                Ok(self.open(request))
            }
            epoch => self.advance(epoch, request),
        }
    }

    fn open(&self, request: SessionRequest) -> SessionFetch {
        let wanted = request.partitions.len();
        if wanted > request.partitions_max.min(CACHED_MAX) {
            return SessionFetch::without_session(request.partitions);
        }
        let now = self.clock.monotonic();
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.slots_max && !evict(&mut sessions, now) {
            return SessionFetch::without_session(request.partitions);
        }
        let mut share = Share { cached: Arc::clone(&self.cached), taken: 0 };
        while !share.resize(wanted) {
            if !evict(&mut sessions, now) {
                return SessionFetch::without_session(request.partitions);
            }
        }
        let mut session_id = NO_SESSION;
        while session_id == NO_SESSION || sessions.contains_key(&session_id) {
            session_id = i32::try_from(self.clock.random_below(i32::MAX.unsigned_abs())).unwrap_or(1);
        }
        let session = Arc::new(Mutex::new(Session {
            epoch: 1,
            by_id: request.by_id,
            last_used: now,
            partitions: request
                .partitions
                .iter()
                .map(|partition| (key_of(partition), Cached::new(partition)))
                .collect(),
            first: 0,
            share,
        }));
        sessions.insert(session_id, Arc::clone(&session));
        SessionFetch { session_id, partitions: request.partitions, session: Some(session), incremental: false }
    }

    fn advance(&self, epoch: i32, request: SessionRequest) -> Result<SessionFetch, SessionError> {
        let found = self.sessions.lock().get(&request.session_id).cloned();
        let shared = found.ok_or(SessionError::NotFound)?;
        let mut session = shared.lock();
        if session.epoch != epoch {
            return Err(SessionError::InvalidEpoch);
        }
        if session.by_id != request.by_id {
            return Err(SessionError::TopicIdMismatch);
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.last_used = self.clock.monotonic();
        for partition in &request.partitions {
            session
                .partitions
                .entry(key_of(partition))
                .and_modify(|cached| cached.request = partition.clone())
                .or_insert_with(|| Cached::new(partition));
        }
        session.forget(request.forgotten);
        let partitions = session.in_turn();
        let fits = partitions.len() <= request.partitions_max && session.share.resize(partitions.len());
        // Never lock the map while a session is locked: eviction locks in the other order.
        drop(session);
        if partitions.is_empty() || !fits {
            self.sessions.lock().remove(&request.session_id);
            return Ok(SessionFetch::without_session(partitions));
        }
        Ok(SessionFetch { session_id: request.session_id, partitions, session: Some(shared), incremental: true })
    }
}

impl SessionFetch {
    fn without_session(partitions: Vec<FetchPartition>) -> Self {
        Self { session_id: NO_SESSION, partitions, session: None, incremental: false }
    }

    /// What of `fetched` the response carries: everything, or, within a session, what changed since the last one.
    pub fn respond(
        self,
        mut fetched: Vec<(FetchPartition, FetchedPartition)>,
    ) -> Vec<(FetchPartition, FetchedPartition)> {
        if let Some(session) = self.session {
            let mut session = session.lock();
            fetched.retain(|(partition, fetched)| session.remember(partition, fetched) || !self.incremental);
        }
        fetched
    }
}

/// One client's partitions and what it was last told of each.
struct Session {
    epoch: i32,
    by_id: bool,
    last_used: Duration,
    partitions: IndexMap<(TopicRef, i32), Cached>,
    /// Where the next fetch begins: behind the last partition that had records, so that none starves.
    first: usize,
    share: Share,
}

/// What a session takes of the partitions that all sessions may have together, until it is dropped.
struct Share {
    cached: Arc<AtomicUsize>,
    taken: usize,
}

impl Share {
    /// Takes or gives back until the share is `wanted`; whether there was room.
    fn resize(&mut self, wanted: usize) -> bool {
        let others = |cached: usize| cached.saturating_sub(self.taken).saturating_add(wanted);
        let change = |cached: usize| Some(others(cached)).filter(|&total| wanted <= self.taken || total <= CACHED_MAX);
        let fits = self.cached.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok();
        if fits {
            self.taken = wanted;
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.cached.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

struct Cached {
    request: FetchPartition,
    high_watermark: i64,
    log_start_offset: i64,
}

impl Session {
    fn forget(&mut self, forgotten: Vec<(TopicRef, i32)>) {
        // Each removal moves what lies behind it.
        if forgotten.len() <= REMOVED_ONE_BY_ONE_MAX {
            for key in &forgotten {
                self.partitions.shift_remove(key);
            }
        } else {
            let gone: HashSet<_> = forgotten.into_iter().collect();
            self.partitions.retain(|key, _| !gone.contains(key));
        }
    }

    fn in_turn(&self) -> Vec<FetchPartition> {
        let from_first = self.partitions.values().skip(self.first);
        from_first.chain(self.partitions.values().take(self.first)).map(|cached| cached.request.clone()).collect()
    }

    /// Notes what a partition is told; whether that is news to the client (`CachedPartition.maybeUpdateResponseData`).
    fn remember(&mut self, partition: &FetchPartition, fetched: &FetchedPartition) -> bool {
        let Some((index, _, cached)) = self.partitions.get_full_mut(&key_of(partition)) else { return true };
        let failed = fetched.error.is_some();
        let news = failed
            || !fetched.records.is_empty()
            || cached.high_watermark != fetched.high_watermark
            || cached.log_start_offset != fetched.log_start_offset;
        // After an error the next answer is news in any case.
        cached.high_watermark = if failed { -1 } else { fetched.high_watermark };
        cached.log_start_offset = fetched.log_start_offset;
        if !fetched.records.is_empty() {
            self.first = (index + 1) % self.partitions.len().max(1);
        }
        news
    }
}

impl Cached {
    fn new(request: &FetchPartition) -> Self {
        Self { request: request.clone(), high_watermark: -1, log_start_offset: -1 }
    }
}

fn key_of(partition: &FetchPartition) -> (TopicRef, i32) {
    (partition.topic.clone(), partition.partition)
}

/// Each partition once, where it came first and as it was asked for last: Kafka's `LinkedHashMap`.
fn without_duplicates(partitions: Vec<FetchPartition>) -> Vec<FetchPartition> {
    let distinct: IndexMap<_, _> = partitions.into_iter().map(|partition| (key_of(&partition), partition)).collect();
    distinct.into_values().collect()
}

/// Makes room by dropping the session that was idle longest, if it was idle long enough.
fn evict(sessions: &mut HashMap<i32, Arc<Mutex<Session>>>, now: Duration) -> bool {
    let oldest = sessions.iter().map(|(&id, session)| (session.lock().last_used, id)).min();
    match oldest {
        Some((last_used, id)) if now.saturating_sub(last_used) >= EVICTABLE_AFTER => sessions.remove(&id).is_some(),
        _ => false,
    }
}

const NO_SESSION: i32 = 0;
const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;
/// `min.incremental.fetch.session.eviction.ms`
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);
/// Partitions of all sessions together, some 200 bytes each.
const CACHED_MAX: usize = 1 << 20;
const REMOVED_ONE_BY_ONE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::clock::MockClock;

    use super::*;

    fn partition(index: i32) -> FetchPartition {
        FetchPartition {
            topic: TopicRef::Name("t".into()),
            partition: index,
            fetch_offset: 0,
            leader_epoch: -1,
            bytes_max: 1024,
        }
    }

    fn request(session_id: i32, session_epoch: i32, partitions: Vec<FetchPartition>) -> SessionRequest {
        SessionRequest {
            session_id,
            session_epoch,
            partitions,
            forgotten: Vec::new(),
            by_id: false,
            partitions_max: 100,
        }
    }

    fn answer(high_watermark: i64, records: &'static [u8]) -> FetchedPartition {
        FetchedPartition {
            error: None,
            high_watermark,
            last_stable_offset: high_watermark,
            log_start_offset: 0,
            records: Bytes::from_static(records).into(),
        }
    }

    fn sessions(slots_max: usize) -> (Sessions, MockClock) {
        let clock = MockClock::at(0);
        (Sessions::new(slots_max, Arc::new(clock.clone())), clock)
    }

    fn respond(fetch: SessionFetch, answers: Vec<FetchedPartition>) -> Vec<i32> {
        let paired = fetch.partitions.clone().into_iter().zip(answers).collect();
        fetch.respond(paired).into_iter().map(|(partition, _)| partition.partition).collect()
    }

    #[test]
    fn an_incremental_fetch_answers_only_what_changed() {
        let (sessions, _) = sessions(10);
        let full = sessions.begin(request(0, 0, vec![partition(0), partition(1)])).unwrap();
        let id = full.session_id;
        assert_ne!(id, 0);
        assert_eq!(respond(full, vec![answer(5, b""), answer(7, b"")]), [0, 1]);

        let next = sessions.begin(request(id, 1, vec![])).unwrap();
        assert_eq!(next.partitions.len(), 2);
        assert_eq!(respond(next, vec![answer(5, b""), answer(8, b"")]), [1]);

        let last = sessions.begin(request(id, 2, vec![])).unwrap();
        assert_eq!(respond(last, vec![answer(5, b"x"), answer(8, b"")]), [0]);
    }

    #[test]
    fn a_wrong_epoch_and_an_unknown_session_are_refused() {
        let (sessions, _) = sessions(10);
        let id = sessions.begin(request(0, 0, vec![partition(0)])).unwrap().session_id;
        assert_eq!(sessions.begin(request(id, 2, vec![])).err(), Some(SessionError::InvalidEpoch));
        assert_eq!(sessions.begin(request(id.wrapping_add(1), 1, vec![])).err(), Some(SessionError::NotFound));
    }

    #[test]
    fn a_session_does_not_change_how_it_names_topics() {
        let (sessions, _) = sessions(10);
        let id = sessions.begin(request(0, 0, vec![partition(0)])).unwrap().session_id;
        let by_id = SessionRequest { by_id: true, ..request(id, 1, vec![]) };
        assert_eq!(sessions.begin(by_id).err(), Some(SessionError::TopicIdMismatch));
    }

    #[test]
    fn forgetting_every_partition_ends_the_session() {
        let (sessions, _) = sessions(10);
        let id = sessions.begin(request(0, 0, vec![partition(0)])).unwrap().session_id;
        let forget = SessionRequest { forgotten: vec![(TopicRef::Name("t".into()), 0)], ..request(id, 1, vec![]) };
        assert_eq!(sessions.begin(forget).unwrap().session_id, 0);
        assert_eq!(sessions.begin(request(id, 2, vec![])).err(), Some(SessionError::NotFound));
    }

    #[test]
    fn many_partitions_are_forgotten_as_few_are() {
        let (sessions, _) = sessions(10);
        let id = sessions.begin(request(0, 0, (0..50).map(partition).collect())).unwrap().session_id;
        let forgotten = (0..48).map(|index| (TopicRef::Name("t".into()), index)).collect();
        let next = sessions.begin(SessionRequest { forgotten, ..request(id, 1, vec![]) }).unwrap();
        assert_eq!(next.partitions.iter().map(|partition| partition.partition).collect::<Vec<_>>(), [48, 49]);
        assert_eq!(sessions.cached.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_partition_named_twice_is_fetched_once() {
        let (sessions, _) = sessions(10);
        let again = FetchPartition { fetch_offset: 7, ..partition(0) };
        for epoch in [INITIAL_EPOCH, FINAL_EPOCH] {
            let partitions = vec![partition(0), partition(1), again.clone()];
            let fetch = sessions.begin(request(0, epoch, partitions)).unwrap();
            let asked = fetch.partitions.iter().map(|partition| (partition.partition, partition.fetch_offset));
            assert_eq!(asked.collect::<Vec<_>>(), [(0, 7), (1, 0)]);
        }
    }

    #[test]
    fn too_many_partitions_have_no_session() {
        let (sessions, _) = sessions(10);
        let full = sessions.begin(request(0, 0, (0..101).map(partition).collect())).unwrap();
        assert_eq!((full.session_id, full.partitions.len()), (0, 101));

        let id = sessions.begin(request(0, 0, (0..100).map(partition).collect())).unwrap().session_id;
        assert_ne!(id, 0);
        let grown = sessions.begin(request(id, 1, vec![partition(100)])).unwrap();
        assert_eq!((grown.session_id, grown.partitions.len()), (0, 101));
        assert_eq!(sessions.begin(request(id, 2, vec![])).err(), Some(SessionError::NotFound));
        drop(grown);
        assert_eq!(sessions.cached.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_full_cache_gives_no_session_until_one_was_idle() {
        let (sessions, clock) = sessions(1);
        let first = sessions.begin(request(0, 0, vec![partition(0)])).unwrap().session_id;
        assert_eq!(sessions.begin(request(0, 0, vec![partition(0)])).unwrap().session_id, 0);
        clock.advance(EVICTABLE_AFTER);
        assert_ne!(sessions.begin(request(0, 0, vec![partition(0)])).unwrap().session_id, 0);
        assert_eq!(sessions.begin(request(first, 1, vec![])).err(), Some(SessionError::NotFound));
    }

    #[test]
    fn the_partition_after_the_last_answered_one_comes_first() {
        let (sessions, _) = sessions(10);
        let full = sessions.begin(request(0, 0, vec![partition(0), partition(1), partition(2)])).unwrap();
        let id = full.session_id;
        respond(full, vec![answer(5, b"x"), answer(5, b""), answer(5, b"")]);
        let next = sessions.begin(request(id, 1, vec![])).unwrap();
        assert_eq!(next.partitions.iter().map(|partition| partition.partition).collect::<Vec<_>>(), [1, 2, 0]);
    }
}
