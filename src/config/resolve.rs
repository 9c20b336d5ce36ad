//! From validated single settings to [`Settings`], with what must hold between them.

use std::{path::PathBuf, time::Duration};

use super::{
    address::parse_listen,
    broker::BrokerConfigs,
    definition::Value,
    describe::DynamicConfigs,
    error::ConfigError,
    filer::FilerSettings,
    load::Layers,
    settings::{
        BrokerSettings, CleanerSettings, ConsumerGroupSettings, Durability, FetchPastEnd, FetchSettings, GroupSettings,
        LogSettings, NetSettings, Settings, StorageKind,
    },
};

/// Everything that was given, over the defaults.
pub(super) fn settings(layers: &Layers) -> Result<Settings, ConfigError> {
    let values = Values { layers };
    let broker_configs = BrokerConfigs::new(layers.raw());
    let storage = values.parsed("storage", |text| match text {
        "memory" => Some(StorageKind::Memory),
        "disk" => Some(StorageKind::Disk),
        "filer" => Some(StorageKind::Filer),
        _ => None,
    })?;
    let settings = Settings {
        listen: values.parsed("listen", parse_listen)?,
        advertise: values.optional("advertise", |text| text.parse().ok())?,
        admin_listen: values.parsed("admin.listen", parse_listen)?,
        data_dir: values.parsed("data.dir", |text| Some(PathBuf::from(text)))?,
        storage,
        filer: FilerSettings::new(&values)?,
        durability: values.parsed("durability", |text| match text {
            "sync" => Some(Durability::Sync),
            "os" => Some(Durability::Os),
            _ => None,
        })?,
        offsets_cache_bytes_max: match values.optional_number("offsets.cache.max.bytes")? {
            Some(bytes) => bytes,
            // The others have every offset in memory: a cache would be a second copy (docs/decisions/0008).
            None if storage == StorageKind::Filer => FILER_OFFSETS_CACHE_BYTES,
            None => 0,
        },
        group_lag_series_max: values.number("metrics.group.lag.max.series")?,
        log_filter: values.parsed("log.filter", |text| Some(text.to_owned()))?,
        broker: broker(&values)?,
        net: net(&values)?,
        groups: groups(&values)?,
        log: LogSettings {
            retention_check: values.millis("log.retention.check.interval.ms")?,
            delete_delay: values.millis("log.segment.delete.delay.ms")?,
            producer_id_expiration: values.millis("producer.id.expiration.ms")?,
            memory_bytes_max: values.number("memory.max.bytes")?,
            cleaner: CleanerSettings {
                is_enabled: values.boolean("log.cleaner.enable")?,
                backoff: values.millis("log.cleaner.backoff.ms")?,
                dedupe_buffer_bytes: values.number("log.cleaner.dedupe.buffer.size")?,
                io_bytes_per_second: values.fraction("log.cleaner.io.max.bytes.per.second")?,
            },
        },
        fetch: FetchSettings {
            past_end: values.parsed("fetch.past-end", |text| match text {
                "error" => Some(FetchPastEnd::Error),
                "empty" => Some(FetchPastEnd::Empty),
                _ => None,
            })?,
            bytes_max: values.number("fetch.max.bytes")?,
            sessions_max: values.number("max.incremental.fetch.session.cache.slots")?,
        },
        topic_defaults: broker_configs.topic_defaults(&DynamicConfigs::default()),
        broker_configs,
    };
    refuse_conflicts(&values, &settings)?;
    Ok(settings)
}

fn broker(values: &Values<'_>) -> Result<BrokerSettings, ConfigError> {
    Ok(BrokerSettings {
        node_id: values.number("node.id")?,
        rack: values.optional("broker.rack", |text| Some(text.to_owned()))?,
        auto_create_topics: values.boolean("auto.create.topics.enable")?,
        num_partitions: values.number("num.partitions")?,
        delete_topic_enable: values.boolean("delete.topic.enable")?,
        partitions_max: values.number("max.partitions")?,
    })
}

fn net(values: &Values<'_>) -> Result<NetSettings, ConfigError> {
    Ok(NetSettings {
        threads: values.optional_number("num.network.threads")?,
        send_buffer_bytes: u32::try_from(values.number::<i64>("socket.send.buffer.bytes")?).ok(),
        receive_buffer_bytes: u32::try_from(values.number::<i64>("socket.receive.buffer.bytes")?).ok(),
        request_bytes_max: values.number("socket.request.max.bytes")?,
        in_flight_bytes_max: values.number("queued.max.request.bytes")?,
        in_flight_requests_max: values.number("max.in.flight.requests.per.connection")?,
        connections_max: values.number("max.connections")?,
        idle: values.millis("connections.max.idle.ms")?,
        read_timeout: values.millis("request.read.timeout.ms")?,
        drain: values.millis("shutdown.timeout.ms")?,
    })
}

fn groups(values: &Values<'_>) -> Result<GroupSettings, ConfigError> {
    let retention_minutes: u64 = values.number("offsets.retention.minutes")?;
    Ok(GroupSettings {
        session_timeout_min: values.millis("group.min.session.timeout.ms")?,
        session_timeout_max: values.millis("group.max.session.timeout.ms")?,
        initial_rebalance_delay: values.millis("group.initial.rebalance.delay.ms")?,
        size_max: values.number("group.max.size")?,
        shards: values.number("offsets.topic.num.partitions")?,
        offset_metadata_bytes_max: values.number("offset.metadata.max.bytes")?,
        offsets_retention: Duration::from_secs(retention_minutes.saturating_mul(60)),
        offsets_retention_check: values.millis("offsets.retention.check.interval.ms")?,
        consumer: consumer_groups(values)?,
    })
}

fn consumer_groups(values: &Values<'_>) -> Result<ConsumerGroupSettings, ConfigError> {
    let policy = values.parsed("group.consumer.migration.policy", |policy| Some(policy.to_owned()))?;
    Ok(ConsumerGroupSettings {
        session_timeout: values.millis("group.consumer.session.timeout.ms")?,
        session_timeout_bounds: values.millis("group.consumer.min.session.timeout.ms")?
            ..=values.millis("group.consumer.max.session.timeout.ms")?,
        heartbeat_interval: values.millis("group.consumer.heartbeat.interval.ms")?,
        heartbeat_interval_bounds: values.millis("group.consumer.min.heartbeat.interval.ms")?
            ..=values.millis("group.consumer.max.heartbeat.interval.ms")?,
        size_max: values.number("group.consumer.max.size")?,
        assignors: values.list("group.consumer.assignors")?,
        upgrades: matches!(policy.as_str(), "bidirectional" | "upgrade"),
        downgrades: matches!(policy.as_str(), "bidirectional" | "downgrade"),
    })
}

fn refuse_conflicts(values: &Values<'_>, settings: &Settings) -> Result<(), ConfigError> {
    for (lower, upper) in ORDERED {
        if values.number::<i64>(lower)? > values.number::<i64>(upper)? {
            return Err(values.conflict(lower, upper, &format!("must not exceed {upper}")));
        }
    }
    let (listen, admin) = (settings.listen, settings.admin_listen);
    let overlap = listen.ip() == admin.ip() || listen.ip().is_unspecified() || admin.ip().is_unspecified();
    if overlap && listen.port() == admin.port() && listen.port() != 0 {
        return Err(values.conflict("admin.listen", "listen", "needs an address other than that of listen"));
    }
    if listen.ip().is_unspecified() && settings.advertise.is_none() {
        let reason = format!(
            "listen {listen} is every address of this machine, so advertise must name the one that clients connect to"
        );
        return Err(ConfigError::conflict(values.origin("listen"), &reason));
    }
    if settings.storage == StorageKind::Filer
        && let Some((name, reason)) = settings.filer.conflict(|name| values.layers.origin(name).is_some())
    {
        return Err(ConfigError::conflict(values.origin(name), &reason));
    }
    Ok(())
}

/// Typed access by name. An error here means that a table row and its use disagree, which tests would show.
pub(super) struct Values<'a> {
    layers: &'a Layers,
}

impl<'a> Values<'a> {
    pub(super) fn number<T: TryFrom<i64>>(&self, name: &str) -> Result<T, ConfigError> {
        match self.layers.value(name) {
            Some(Value::Integer(number)) => T::try_from(number).map_err(|_| self.misfit(name)),
            _ => Err(self.misfit(name)),
        }
    }

    fn optional_number<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        self.layers.value(name).map(|_| self.number(name)).transpose()
    }

    pub(super) fn millis(&self, name: &str) -> Result<Duration, ConfigError> {
        self.number(name).map(Duration::from_millis)
    }

    fn fraction(&self, name: &str) -> Result<f64, ConfigError> {
        match self.layers.value(name) {
            Some(Value::Double(number)) => Ok(number),
            _ => Err(self.misfit(name)),
        }
    }

    fn list(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        match self.layers.value(name) {
            Some(Value::List(items)) => Ok(items),
            _ => Err(self.misfit(name)),
        }
    }

    pub(super) fn boolean(&self, name: &str) -> Result<bool, ConfigError> {
        match self.layers.value(name) {
            Some(Value::Boolean(value)) => Ok(value),
            _ => Err(self.misfit(name)),
        }
    }

    pub(super) fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, ConfigError> {
        self.optional(name, parse)?.ok_or_else(|| self.misfit(name))
    }

    pub(super) fn optional<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ConfigError> {
        match self.layers.value(name) {
            None => Ok(None),
            Some(Value::Text(text)) => parse(&text).map(Some).ok_or_else(|| self.misfit(name)),
            Some(_) => Err(self.misfit(name)),
        }
    }

    fn origin(&self, name: &str) -> &'a str {
        self.layers.origin(name).unwrap_or("default")
    }

    /// Blames the first of the two that somebody set; the other may be a default.
    fn conflict(&self, name: &str, other: &str, reason: &str) -> ConfigError {
        let shown = |name: &str| {
            let value = self.layers.value(name).map(|value| value.to_string()).unwrap_or_default();
            format!("{name} is {value}")
        };
        let origin = self.layers.origin(name).unwrap_or_else(|| self.origin(other));
        ConfigError::conflict(origin, &format!("{}, {}; {name} {reason}", shown(name), shown(other)))
    }

    fn misfit(&self, name: &str) -> ConfigError {
        ConfigError::conflict(self.origin(name), &format!("{name} has a value that does not fit"))
    }
}

const FILER_OFFSETS_CACHE_BYTES: u64 = 64 << 20;

/// Pairs of which the first must not be larger.
const ORDERED: &[(&str, &str)] = &[
    ("group.min.session.timeout.ms", "group.max.session.timeout.ms"),
    ("group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    ("group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    // A member that heartbeats as it is told would be thrown out.
    ("group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms"),
    // A request that never fits into the budget would wait for ever.
    ("socket.request.max.bytes", "queued.max.request.bytes"),
    ("num.partitions", "max.partitions"),
    ("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
];
