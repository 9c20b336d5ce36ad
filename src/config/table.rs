//! Every setting of the process, in the order and the sections of docs/configuration.md.

use super::{
    definition::{
        Check::{
            Any, AtLeast, Between, GzipLevel, HostPort, ListOf, Listen, LogFilter, NonEmpty, OneOf, Positive, Ratio,
            UnlimitedOrPositive,
        },
        ConfigType::{Boolean, Double, Int, List, Long, String},
        Definition,
    },
    filer::FILER,
    network::NETWORK,
};

/// A heading and the settings below it.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    pub title: &'static str,
    pub intro: &'static str,
    pub settings: &'static [Definition],
}

/// The tables, in order.
pub static SECTIONS: &[Section] = &[
    Section {
        title: "Process",
        intro: "Where Tidegate listens and where it keeps what it is told.",
        settings: PROCESS,
    },
    Section {
        title: "Broker",
        intro: "What clients see of the one broker, and what topics begin as.",
        settings: BROKER,
    },
    Section { title: "Network", intro: "Limits of connections and requests.", settings: NETWORK },
    Section { title: "Consumer groups", intro: "Sessions, rebalances and committed offsets.", settings: GROUPS },
    Section { title: "Fetch", intro: "What one fetch may bring.", settings: FETCH },
    Section { title: "Logs", intro: "Upkeep of partition logs.", settings: LOGS },
    Section {
        title: "Filer",
        intro: "The backend that keeps everything in a SeaweedFS filer (`storage = \"filer\"`).",
        settings: FILER,
    },
    Section {
        title: "Defaults of topics",
        intro: "What a topic uses where it has no config of its own. Those marked as changeable follow \
                `kafka-configs --alter --entity-type brokers` at once.",
        settings: TOPIC_DEFAULTS,
    },
];

/// All settings of the process, section by section.
pub fn settings() -> impl Iterator<Item = &'static Definition> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

/// The setting of that name.
pub fn setting(name: &str) -> Option<&'static Definition> {
    settings().find(|definition| definition.name == name)
}

static PROCESS: &[Definition] = &[
    Definition::new("listen", String, "127.0.0.1:9092", Listen, "Address for Kafka clients.").flag("--listen"),
    Definition::unset(
        "advertise",
        String,
        "broker.example.com:9092",
        HostPort,
        "Address that clients are told to connect to; by default the one of the listener.",
    )
    .flag("--advertise"),
    Definition::new("admin.listen", String, "127.0.0.1:9644", Listen, "Address of health checks and metrics (HTTP).")
        .flag("--admin-listen"),
    Definition::new(
        "storage",
        String,
        "disk",
        OneOf(&["memory", "disk", "filer"]),
        "Backend for records, offsets and groups; memory forgets everything at exit.",
    )
    .flag("--storage"),
    Definition::new(
        "data.dir",
        String,
        "./tidegate-data",
        NonEmpty,
        "Directory of the disk backend; one process each.",
    )
    .flag("--data-dir"),
    Definition::new(
        "memory.max.bytes",
        Long,
        "1073741824",
        AtLeast(1 << 20),
        "Records that the memory backend keeps; above it produce is refused with KAFKA_STORAGE_ERROR.",
    ),
    Definition::new(
        "durability",
        String,
        "sync",
        OneOf(&["sync", "os"]),
        "When acks=all and commits are answered: sync after fdatasync, os after the write as Kafka does.",
    )
    .flag("--durability"),
    Definition::new("log.filter", String, "info", LogFilter, "What is logged, in the syntax of RUST_LOG.")
        .flag("--log"),
    Definition::new(
        "shutdown.timeout.ms",
        Int,
        "4000",
        Between(0, 600_000),
        "How long SIGTERM waits for requests in flight.",
    ),
];

static BROKER: &[Definition] = &[
    Definition::new("node.id", Int, "1", AtLeast(0), "Id of this broker."),
    Definition::unset("broker.rack", String, "rack-1", NonEmpty, "Rack that Metadata reports."),
    Definition::new(
        "auto.create.topics.enable",
        Boolean,
        "true",
        Any,
        "Create a topic when a client that allows it asks for one that does not exist.",
    ),
    Definition::new(
        "num.partitions",
        Int,
        "1",
        Between(1, 1_000_000),
        "Partitions of a topic whose creator names no number.",
    ),
    Definition::new("delete.topic.enable", Boolean, "true", Any, "Whether topics may be deleted."),
    Definition::new(
        "max.partitions",
        Int,
        "100000",
        Between(1, 10_000_000),
        "Partitions of all topics together; more are refused.",
    ),
];

static GROUPS: &[Definition] = &[
    Definition::new("group.min.session.timeout.ms", Int, "6000", AtLeast(1), "Shortest session timeout of a member."),
    Definition::new("group.max.session.timeout.ms", Int, "1800000", AtLeast(1), "Longest session timeout of a member."),
    Definition::new(
        "group.initial.rebalance.delay.ms",
        Int,
        "0",
        AtLeast(0),
        "How long a new group waits for more members before its first rebalance.",
    ),
    Definition::new("group.max.size", Int, "10000", AtLeast(1), "Members of one group; further ones are refused."),
    Definition::new(
        "group.consumer.session.timeout.ms",
        Int,
        "45000",
        AtLeast(1),
        "How long a member of the consumer protocol may be silent.",
    ),
    Definition::new(
        "group.consumer.min.session.timeout.ms",
        Int,
        "45000",
        AtLeast(1),
        "Shortest that groups may have.",
    ),
    Definition::new("group.consumer.max.session.timeout.ms", Int, "60000", AtLeast(1), "Longest that groups may have."),
    Definition::new(
        "group.consumer.heartbeat.interval.ms",
        Int,
        "5000",
        AtLeast(1),
        "How often members of the consumer protocol are told to send heartbeats.",
    ),
    Definition::new(
        "group.consumer.min.heartbeat.interval.ms",
        Int,
        "5000",
        AtLeast(1),
        "Shortest that groups may have.",
    ),
    Definition::new(
        "group.consumer.max.heartbeat.interval.ms",
        Int,
        "15000",
        AtLeast(1),
        "Longest that groups may have.",
    ),
    Definition::new(
        "group.consumer.max.size",
        Int,
        "10000",
        AtLeast(1),
        "Members of one group of the consumer protocol; further ones are refused.",
    ),
    Definition::new(
        "group.consumer.assignors",
        List,
        "uniform,range",
        ListOf(&["uniform", "range"]),
        "Assignors that members of the consumer protocol may choose from; the first is the default.",
    ),
    Definition::new(
        "group.consumer.migration.policy",
        String,
        "bidirectional",
        OneOf(&["bidirectional", "upgrade", "downgrade", "disabled"]),
        "Whether groups with members may change from the classic to the consumer protocol (upgrade) and back (downgrade).",
    ),
    Definition::new(
        "offsets.topic.num.partitions",
        Int,
        "50",
        Between(1, 1000),
        "Coordinator shards that groups are spread over. Not to be changed once groups are stored.",
    ),
    Definition::new(
        "offset.metadata.max.bytes",
        Int,
        "4096",
        Between(0, 1 << 20),
        "Longest metadata string of a committed offset.",
    ),
    Definition::new(
        "offsets.retention.minutes",
        Int,
        "10080",
        AtLeast(1),
        "How long the offsets of a group without members are kept.",
    ),
    Definition::new(
        "offsets.retention.check.interval.ms",
        Long,
        "600000",
        Between(1, MS_MAX),
        "How often expired offsets are looked for.",
    ),
    Definition::unset(
        "offsets.cache.max.bytes",
        Long,
        "67108864",
        Between(0, 1 << 50),
        "Memory for committed offsets in front of the backend; 0 reads each from it. By default 64 MiB before a filer and \
         0 before memory and disk, which have all offsets in memory themselves.",
    ),
    Definition::new(
        "metrics.group.lag.max.series",
        Int,
        "1000",
        Between(0, 1_000_000),
        "Series of tidegate_group_lag, one for each topic of a group; groups are shown by name until there are so many, \
         0 shows none.",
    ),
];

static FETCH: &[Definition] = &[
    Definition::new(
        "fetch.max.bytes",
        Int,
        "57671680",
        AtLeast(1024),
        "Size of a fetch's answer, whatever it asks for.",
    ),
    Definition::new(
        "fetch.past-end",
        String,
        "error",
        OneOf(&["error", "empty"]),
        "Answer to a fetch from beyond the log end: error is OFFSET_OUT_OF_RANGE as in Kafka, empty is no records.",
    ),
    Definition::new(
        "max.incremental.fetch.session.cache.slots",
        Int,
        "1000",
        Between(0, 1_000_000),
        "Fetch sessions (KIP-227) that are remembered.",
    ),
];

static LOGS: &[Definition] = &[
    Definition::new(
        "log.retention.check.interval.ms",
        Long,
        "300000",
        Between(1, MS_MAX),
        "How often segments past their retention are looked for.",
    ),
    Definition::new(
        "producer.id.expiration.ms",
        Int,
        "86400000",
        AtLeast(1),
        "How long the sequence numbers of an idempotent producer that is silent are remembered.",
    ),
    Definition::new(
        "log.cleaner.enable",
        Boolean,
        "true",
        Any,
        "Whether topics with cleanup.policy compact are compacted.",
    ),
    Definition::new(
        "log.cleaner.backoff.ms",
        Long,
        "15000",
        Between(0, MS_MAX),
        "How long compaction waits before it looks again when there was nothing to compact.",
    ),
    Definition::new(
        "log.cleaner.dedupe.buffer.size",
        Long,
        "134217728",
        Between(1 << 20, 1 << 40),
        "Memory that compaction takes at most for the keys of one partition; 24 bytes a key, and no more than it needs.",
    ),
    Definition::new(
        "log.cleaner.io.max.bytes.per.second",
        Double,
        "1.7976931348623157E308",
        Positive,
        "Bytes that compaction reads and writes at most in a second; below that it rests three times as long as it works.",
    ),
];

static TOPIC_DEFAULTS: &[Definition] = &[
    Definition::new(
        "log.cleanup.policy",
        List,
        "delete",
        ListOf(&["compact", "delete"]),
        "What becomes of old segments: delete by time and size, compact to the latest record of each key.",
    )
    .dynamic(),
    Definition::unset(
        "log.retention.ms",
        Long,
        "604800000",
        UnlimitedOrPositive,
        "How long records are kept; comes before log.retention.minutes and log.retention.hours.",
    )
    .synonyms(&["log.retention.minutes", "log.retention.hours"])
    .dynamic(),
    Definition::unset("log.retention.minutes", Int, "10080", UnlimitedOrPositive, "As log.retention.ms, in minutes.")
        .synonyms(&["log.retention.hours"]),
    Definition::new("log.retention.hours", Int, "168", UnlimitedOrPositive, "As log.retention.ms, in hours."),
    Definition::new(
        "log.retention.bytes",
        Long,
        "-1",
        AtLeast(-1),
        "Size of a partition above which its oldest segments go; -1 for no limit.",
    )
    .dynamic(),
    Definition::new("log.segment.bytes", Int, "1073741824", AtLeast(1_048_576), "Size at which a new segment begins.")
        .dynamic(),
    Definition::unset(
        "log.roll.ms",
        Long,
        "604800000",
        AtLeast(1),
        "Age at which a new segment begins; comes before log.roll.hours.",
    )
    .synonyms(&["log.roll.hours"])
    .dynamic(),
    Definition::new("log.roll.hours", Int, "168", AtLeast(1), "As log.roll.ms, in hours."),
    Definition::unset(
        "log.roll.jitter.ms",
        Long,
        "0",
        AtLeast(0),
        "At most so much earlier a segment is rolled, at random; comes before log.roll.jitter.hours.",
    )
    .synonyms(&["log.roll.jitter.hours"])
    .dynamic(),
    Definition::new("log.roll.jitter.hours", Int, "0", AtLeast(0), "As log.roll.jitter.ms, in hours."),
    Definition::new(
        "log.segment.delete.delay.ms",
        Long,
        "60000",
        Between(0, MS_MAX),
        "How long the file of a deleted segment stays.",
    )
    .dynamic(),
    Definition::new("log.index.interval.bytes", Int, "4096", AtLeast(0), "Bytes of log between two index entries.")
        .dynamic(),
    Definition::new(
        "log.index.size.max.bytes",
        Int,
        "10485760",
        AtLeast(4),
        "Size of an index at which a segment rolls.",
    )
    .dynamic(),
    Definition::new(
        "message.max.bytes",
        Int,
        "1048588",
        AtLeast(0),
        "Size of a record batch, as it is sent; larger ones are refused.",
    )
    .dynamic(),
    Definition::new(
        "log.message.timestamp.type",
        String,
        "CreateTime",
        OneOf(&["CreateTime", "LogAppendTime"]),
        "Whether records keep their producer's time or get the time of the append.",
    )
    .dynamic(),
    Definition::new(
        "log.message.timestamp.before.max.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        "How far a record's CreateTime may lie in the past.",
    )
    .dynamic(),
    Definition::new(
        "log.message.timestamp.after.max.ms",
        Long,
        "3600000",
        AtLeast(0),
        "How far a record's CreateTime may lie in the future.",
    )
    .dynamic(),
    Definition::new(
        "compression.type",
        String,
        "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "Codec of stored batches; producer keeps what was sent.",
    )
    .dynamic(),
    Definition::new("compression.gzip.level", Int, "-1", GzipLevel, "Level when compression.type is gzip.").dynamic(),
    Definition::new(
        "compression.lz4.level",
        Int,
        "9",
        Between(1, 17),
        "Accepted for compatibility: lz4 has one level here.",
    )
    .dynamic(),
    Definition::new("compression.zstd.level", Int, "3", Between(-131_072, 22), "Level when compression.type is zstd.")
        .dynamic(),
    Definition::new(
        "log.cleaner.min.cleanable.ratio",
        Double,
        "0.5",
        Ratio,
        "Share of a compacted log that must be dirty before it is compacted again.",
    )
    .dynamic(),
    Definition::new(
        "log.cleaner.min.compaction.lag.ms",
        Long,
        "0",
        AtLeast(0),
        "How long a record stays out of compaction at least.",
    )
    .dynamic(),
    Definition::new(
        "log.cleaner.max.compaction.lag.ms",
        Long,
        "9223372036854775807",
        AtLeast(1),
        "How long a record stays out of compaction at most.",
    )
    .dynamic(),
    Definition::new(
        "log.cleaner.delete.retention.ms",
        Long,
        "86400000",
        AtLeast(0),
        "How long a compacted log keeps the tombstone of a deleted key.",
    )
    .dynamic(),
    Definition::new(
        "min.insync.replicas",
        Int,
        "1",
        AtLeast(1),
        "Replicas that acks=all needs; there is one, so more than 1 refuses such writes.",
    )
    .dynamic(),
    Definition::new(
        "log.flush.interval.messages",
        Long,
        "9223372036854775807",
        AtLeast(1),
        "Accepted for compatibility: durability decides when data is synced.",
    )
    .dynamic(),
    Definition::unset(
        "log.flush.interval.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        "Accepted for compatibility: durability decides when data is synced.",
    )
    .synonyms(&["log.flush.scheduler.interval.ms"])
    .dynamic(),
    Definition::new(
        "log.flush.scheduler.interval.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        "Accepted for compatibility: durability decides when data is synced.",
    ),
    Definition::new("log.preallocate", Boolean, "false", Any, "Accepted for compatibility; has no effect.").dynamic(),
    Definition::new(
        "unclean.leader.election.enable",
        Boolean,
        "false",
        Any,
        "Accepted for compatibility: with one replica there is no election.",
    )
    .dynamic(),
    Definition::new(
        "log.local.retention.ms",
        Long,
        "-2",
        AtLeast(-2),
        "Accepted for compatibility: there is no tiered storage.",
    )
    .dynamic(),
    Definition::new(
        "log.local.retention.bytes",
        Long,
        "-2",
        AtLeast(-2),
        "Accepted for compatibility: there is no tiered storage.",
    )
    .dynamic(),
];

/// A hundred years: far from where adding it to a time would overflow.
pub(super) const MS_MAX: i64 = 100 * 365 * 24 * 3_600_000;
