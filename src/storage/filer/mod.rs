//! Everything in a SeaweedFS filer, below one folder of it.
//!
//! ```text
//! <folder>/wal/                    the journal: what is acknowledged is here
//! <folder>/topics/{topic}/{partition}/{file}.{position}.{epoch}.{number}   records that left the journal
//! <folder>/consumer_offsets/ and consumer_groups/   the same as the journal, for people (see [`layout`])
//! <folder>/owners/                 signs of life of the gateway that uses the folder
//! ```

mod breaker;
mod client;
mod error;
mod exclusive;
mod journal;
mod layout;
mod list;
mod names;
mod owner;
mod runtime;
#[cfg(test)]
#[path = "../../../tests/support/seaweed.rs"]
#[allow(dead_code, clippy::disallowed_methods, reason = "shared with the integration tests")]
pub(super) mod seaweed;
mod segments;
mod tls;

pub use self::{
    client::{FilerClient, Object},
    error::FilerError,
    journal::FilerJournal,
    layout::FilerLayout,
    list::ListEntry,
    segments::FilerSegments,
};

use std::sync::Arc;

use self::runtime::FilerRuntime;
use super::StorageError;
use crate::{clock::Clock, config::FilerSettings, metrics::FilerMetrics};

/// What a gateway keeps in a filer.
pub struct FilerBackend {
    pub journal: Arc<FilerJournal>,
    pub segments: Arc<FilerSegments>,
    pub layout: FilerLayout,
    is_exclusion_guarded: bool,
}

impl FilerBackend {
    /// Looks at everything that is measured.
    pub fn observe(&self, metrics: &FilerMetrics) {
        let engine = self.journal.engine();
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics.is_resting.set(i64::from(engine.is_filer_resting()));
        metrics.is_exclusion_guarded.set(i64::from(self.is_exclusion_guarded));
        metrics.layout_lag_ms.set(i64::try_from(self.layout.lag().as_millis()).unwrap_or(i64::MAX));
        metrics.journal_objects.set(gauge(engine.object_count()));
        metrics.waiting_bytes.set(gauge(engine.waiting_bytes()));
        metrics.tail_bytes.set(gauge(self.segments.held_bytes()));
    }

    /// Waits until no other gateway uses the folder, reads what is there, and makes it this gateway's. Can be called from
    /// any runtime.
    pub async fn open(settings: &FilerSettings, clock: Arc<dyn Clock>) -> Result<Self, StorageError> {
        let runtime = Arc::new(FilerRuntime::start()?);
        let client = Arc::new(FilerClient::new(settings, Arc::clone(&clock))?);
        let name = format!("{} (process {}, {})", host_name(), std::process::id(), clock.uuid());
        let journal = FilerJournal::open(settings, Arc::clone(&client), Arc::clone(&runtime), clock, name).await?;
        let engine = journal.engine();
        runtime.handle().spawn(layout::follow(Arc::clone(&client), Arc::clone(engine), settings.layout_interval));
        let is_exclusion_guarded = settings.is_exclusion_guarded;
        let layout = FilerLayout::new(Arc::clone(&client), Arc::clone(engine));
        let segments = FilerSegments::open(settings, client, runtime, &journal)?;
        Ok(Self { journal: Arc::new(journal), segments: Arc::new(segments), layout, is_exclusion_guarded })
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "a gateway".to_owned(),
        name => name.to_owned(),
    }
}
