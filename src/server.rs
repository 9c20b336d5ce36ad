//! The composition root: the only place that names concrete backends; start order and drain order.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info, warn};

use crate::{
    admin::Admin,
    api::Gateway,
    broker::{Broker, BrokerParts, LogCleaner, Logs},
    catalog::{Catalog, ProducerIds},
    clock::{Clock, SystemClock},
    config::{Durability, GroupConfig, HostPort, Settings, StorageKind},
    coordinator::Coordinator,
    log::LogContext,
    metrics::{FilerMetrics, Metrics},
    net::{Listener, Stop, Threads},
    storage::{
        CachedStorage, CoordinatorStorage, Journal, JournaledStorage, SegmentStore, StorageError,
        disk::{DataDirLock, DiskJournal, DiskSegments, JournalOptions, journal},
        filer::FilerBackend,
        memory::{MemoryJournal, MemorySegments, MemoryStorage},
    },
};

/// Where the gateway listens, once it does.
pub struct Addresses {
    pub kafka: SocketAddr,
    pub admin: SocketAddr,
}

/// Serves until SIGTERM or SIGINT, then drains. `announce` is called when clients are served.
pub async fn run(mut settings: Settings, announce: impl FnOnce(&Addresses)) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let metrics = Arc::new(Metrics::new()?);
    let mut stop_signals = StopSignals::new()?;
    survive_file_size_limit()?;
    let (stop, stopped) = Stop::new();

    // Clients that connect while the log is recovered wait in the backlog.
    let listener = Listener::bind(settings.listen, settings.net.clone())
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    let admin_listener = TcpListener::bind(settings.admin_listen)
        .await
        .with_context(|| format!("cannot listen on {} (admin)", settings.admin_listen))?;
    let addresses = Addresses { kafka: listener.local_addr()?, admin: admin_listener.local_addr()? };
    let admin = Admin::new(Arc::clone(&metrics), backend_name(settings.storage));
    let admin_server = tokio::spawn(admin.clone().serve(admin_listener, stopped.clone()));

    let advertised = advertised(&settings, addresses.kafka);
    let data_dir = settings.data_dir.to_string_lossy().into_owned();
    if settings.storage == StorageKind::Filer {
        // What is not on the filer is lost with this process: there is no page cache that survives it.
        settings.durability = Durability::Sync;
    }
    settings.broker_configs.set_derived(settings.broker.node_id, addresses.kafka, &advertised, &data_dir);
    let settings = Arc::new(settings);

    // On a thread that may block for as long as the recovery takes, so that a signal is heard meanwhile.
    let opening = Opening { settings: Arc::clone(&settings), clock, metrics: Arc::clone(&metrics), advertised };
    let runtime = Handle::current();
    let opened = tokio::task::spawn_blocking(move || runtime.block_on(opening.run()));
    let (storage, broker) = tokio::select! {
        biased;
        // What a recovery does can be done again, as after a kill: there is nothing to finish.
        () = stop_signals.wait() => {
            info!("stopped before the start was complete");
            return Ok(());
        }
        opened = opened => opened.context("the start was cut short")??,
    };
    let gateway = Arc::new(Gateway::new(Arc::clone(&broker), metrics));
    let checked = Arc::clone(&broker);
    tokio::task::spawn_blocking(move || checked.check_logs());
    let retention = tokio::spawn(enforce_retention(Arc::clone(&broker)));
    let progress = tokio::spawn(note_progress(Arc::clone(&broker)));
    let cleaner = LogCleaner::start(Arc::clone(&broker)).context("cannot start the log cleaner")?;
    // They outlive the listener: what a connection has begun may go on behind it.
    let threads =
        settings.net.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |all| all.get() / 2));
    let threads = Arc::new(Threads::start(threads).context("cannot start the threads of the network")?);
    let served = tokio::spawn(listener.run(gateway, Arc::clone(&threads), stopped));
    admin.set_ready(Arc::clone(&broker));
    info!(kafka = %addresses.kafka, admin = %addresses.admin, storage = backend_name(settings.storage), "serving");
    announce(&addresses);
    storage.journal.started();

    let lost = tokio::select! {
        () = stop_signals.wait() => None,
        reason = storage.lost() => Some(reason),
    };
    if let Some(reason) = &lost {
        error!(%reason, "the storage is no longer ours");
    }
    info!("stopping");
    // No new connections or requests; what waits for something to happen is answered; then everything is flushed.
    stop.give();
    broker.begin_shutdown();
    if let Err(error) = served.await {
        error!(%error, "the listener failed");
    }
    retention.abort();
    progress.abort();
    if let Some(cleaner) = cleaner {
        cleaner.stop().await;
    }
    broker.close().await;
    storage.journal.close().await.context("cannot close the journal")?;
    drop(threads);
    admin_server.abort();
    if let Some(reason) = lost {
        return Err(reason).context("the storage is no longer ours");
    }
    info!("stopped");
    Ok(())
}

/// What a start has to open, which may take long.
struct Opening {
    settings: Arc<Settings>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    advertised: HostPort,
}

impl Opening {
    async fn run(self) -> anyhow::Result<(Storage, Arc<Broker>)> {
        let Self { settings, clock, metrics, advertised } = self;
        let storage = Storage::open(&settings, &clock).await?;
        if let Some(filer) = &storage.filer {
            tokio::spawn(observe_filer(Arc::clone(filer), metrics.filer()?));
        }
        let broker = open_broker(&settings, &clock, &metrics, &storage, advertised).await?;
        Ok((storage, Arc::new(broker)))
    }
}

/// The backend that the settings name.
struct Storage {
    journal: Arc<dyn Journal>,
    segments: Arc<dyn SegmentStore>,
    state: Arc<dyn CoordinatorStorage>,
    /// The filer's, where that is the backend.
    filer: Option<Arc<FilerBackend>>,
    /// Held as long as the data directory is in use.
    _lock: Option<DataDirLock>,
}

impl Storage {
    async fn open(settings: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let storage = match settings.storage {
            StorageKind::Memory => Self {
                journal: Arc::new(MemoryJournal::new()),
                segments: Arc::new(MemorySegments::new(settings.log.memory_bytes_max)),
                state: Arc::new(MemoryStorage::new()),
                filer: None,
                _lock: None,
            },
            StorageKind::Disk => Self::open_disk(settings, clock).await?,
            StorageKind::Filer => Self::open_filer(settings, clock).await?,
        };
        Ok(storage.cached(settings))
    }

    /// With the cache of offsets in front, if the settings want one.
    fn cached(self, settings: &Settings) -> Self {
        let bytes_max = settings.offsets_cache_bytes_max;
        if bytes_max == 0 {
            return self;
        }
        Self { state: Arc::new(CachedStorage::new(self.state, settings.groups.shards, bytes_max)), ..self }
    }

    async fn open_disk(settings: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let data_dir = &settings.data_dir;
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("cannot create the data directory {}", data_dir.display()))?;
        let lock = DataDirLock::acquire(data_dir)?;
        refuse_to_forget(data_dir)?;
        let options = JournalOptions { waits_for_start: true, ..JournalOptions::new(settings.durability) };
        let journal = DiskJournal::open(data_dir, options, Arc::clone(clock))
            .with_context(|| format!("cannot open the journal in {}", data_dir.display()))?;
        let journal = Arc::new(journal);
        let state = JournaledStorage::open(Arc::clone(&journal) as _, settings.groups.shards).await?;
        Ok(Self {
            segments: Arc::new(DiskSegments::open(data_dir, settings.durability, OPEN_FILES_MAX)?),
            state: Arc::new(state),
            journal,
            filer: None,
            _lock: Some(lock),
        })
    }

    async fn open_filer(settings: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let urls = settings.filer.urls.join(", ");
        let backend = FilerBackend::open(&settings.filer, Arc::clone(clock))
            .await
            .with_context(|| format!("cannot use the filer at {urls}"))?;
        if !settings.filer.is_exclusion_guarded {
            warn!("filer.exclusive is trust-me: nothing keeps a second gateway from the same folder of the filer");
        }
        let state = JournaledStorage::open(Arc::clone(&backend.journal) as _, settings.groups.shards).await?;
        Ok(Self {
            segments: Arc::clone(&backend.segments) as _,
            state: Arc::new(state),
            journal: Arc::clone(&backend.journal) as _,
            filer: Some(Arc::new(backend)),
            _lock: None,
        })
    }

    /// Resolves when somebody else has taken the storage over.
    async fn lost(&self) -> StorageError {
        match &self.filer {
            Some(backend) => backend.journal.lost().await,
            None => std::future::pending().await,
        }
    }
}

/// Records without a journal belong to no topic, and a start removes such. That must not be what the loss of a
/// directory ends in.
fn refuse_to_forget(data_dir: &Path) -> anyhow::Result<()> {
    let topics = data_dir.join("topics");
    if journal::is_begun(data_dir)? || !topics.is_dir() {
        return Ok(());
    }
    let partitions = DiskSegments::read_only(data_dir).partitions()?.len();
    anyhow::ensure!(
        partitions == 0,
        "there is no journal in {}, and without it the records of {partitions} partitions in {} belong to no topic; put it \
         back, or move the records away",
        data_dir.join("journal").display(),
        topics.display()
    );
    Ok(())
}

async fn open_broker(
    settings: &Arc<Settings>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    storage: &Storage,
    advertised: HostPort,
) -> anyhow::Result<Broker> {
    let catalog =
        Catalog::open(Arc::clone(&storage.journal), Arc::clone(clock), settings.broker.partitions_max).await?;
    let context = LogContext::new(Arc::clone(clock), settings.durability, settings.log.producer_id_expiration);
    let defaults = Arc::new(settings.broker_configs.topic_defaults(&catalog.dynamic_configs()));
    let logs =
        Logs::open(Arc::clone(&storage.segments), context, defaults, &catalog).context("cannot open the partitions")?;
    let producer_ids = ProducerIds::open(Arc::clone(&storage.journal), logs.highest_producer_id()).await?;
    let state = Arc::clone(&storage.state);
    let configs = catalog.configured_groups().into_iter().map(|(group, configs)| (group, GroupConfig::of(&configs)));
    let coordinator =
        Coordinator::open(state, &settings.groups, configs.collect(), Arc::clone(clock), &metrics.groups).await?;
    Ok(Broker::new(BrokerParts {
        settings: Arc::clone(settings),
        clock: Arc::clone(clock),
        catalog,
        logs,
        coordinator,
        producer_ids,
        metrics: Arc::clone(metrics),
        advertised,
        state: Arc::clone(&storage.state),
    }))
}

/// What clients are told to connect to: the setting, else the address that was bound.
fn advertised(settings: &Settings, listening: SocketAddr) -> HostPort {
    match &settings.advertise {
        Some(advertise) if advertise.port == 0 => HostPort { port: listening.port(), ..advertise.clone() },
        Some(advertise) => advertise.clone(),
        None => HostPort { host: listening.ip().to_string(), port: listening.port() },
    }
}

/// Rounds of retention, the first of them not at once: clients come first after a start, as in Kafka
/// (`log.initial.task.delay.ms`).
async fn enforce_retention(broker: Arc<Broker>) {
    let period = broker.settings().log.retention_check.max(Duration::from_millis(100));
    let mut rounds = tokio::time::interval_at(tokio::time::Instant::now() + period.min(FIRST_RETENTION_AFTER), period);
    loop {
        rounds.tick().await;
        let broker = Arc::clone(&broker);
        // A failed round was logged; the next one tries again.
        let _ = tokio::task::spawn_blocking(move || broker.enforce_retention()).await;
    }
}

/// Keeps short what a start after a kill has to read.
async fn note_progress(broker: Arc<Broker>) {
    let mut rounds = tokio::time::interval(PROGRESS_PERIOD);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let broker = Arc::clone(&broker);
        let _ = tokio::task::spawn_blocking(move || broker.note_progress()).await;
    }
}

async fn observe_filer(backend: Arc<FilerBackend>, metrics: FilerMetrics) {
    let mut rounds = tokio::time::interval(FILER_METRICS_PERIOD);
    loop {
        rounds.tick().await;
        backend.observe(&metrics);
    }
}

fn backend_name(storage: StorageKind) -> &'static str {
    match storage {
        StorageKind::Memory => "memory",
        StorageKind::Disk => "disk",
        StorageKind::Filer => "filer",
    }
}

/// A write beyond the limit of file sizes (`ulimit -f`) is an error, as one to a full disk, and not the end: by
/// default the signal that comes with it kills the process. A handler, once there, stays.
fn survive_file_size_limit() -> std::io::Result<()> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Segments that are held open; a quarter of the usual limit of descriptors, the rest is for connections.
const OPEN_FILES_MAX: usize = 4096;
const FILER_METRICS_PERIOD: Duration = Duration::from_millis(500);
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);
const FIRST_RETENTION_AFTER: Duration = Duration::from_secs(30);
