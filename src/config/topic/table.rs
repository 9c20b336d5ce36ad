//! Kafka 4.1's configs of topics, in alphabetical order.

use crate::config::definition::{
    Check::{Any, AtLeast, Between, GzipLevel, ListOf, OneOf, Ratio, ThrottledReplicas},
    ConfigType::{Boolean, Double, Int, List, Long, String},
    Definition,
};

/// The topic config of that name, internal ones included.
pub fn topic_config(name: &str) -> Option<&'static Definition> {
    TOPIC_CONFIGS.iter().find(|definition| definition.name == name)
}

/// All topic configs; `synonyms` names the broker setting that is the default of one
/// (`org.apache.kafka.server.config.ServerTopicConfigSynonyms`).
pub static TOPIC_CONFIGS: &[Definition] = &[
    Definition::new(
        "cleanup.policy",
        List,
        "delete",
        ListOf(&["compact", "delete"]),
        "What becomes of old segments: delete removes them by time and size, compact keeps the latest record of each \
         key; both may be named.",
    )
    .synonyms(&["log.cleanup.policy"]),
    Definition::new("compression.gzip.level", Int, "-1", GzipLevel, "Level to compress with when the codec is gzip.")
        .synonyms(&["compression.gzip.level"]),
    Definition::new(
        "compression.lz4.level",
        Int,
        "9",
        Between(1, 17),
        "Accepted for compatibility: lz4 has one level here.",
    )
    .synonyms(&["compression.lz4.level"]),
    Definition::new(
        "compression.type",
        String,
        "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "Codec of the stored batches; producer keeps the one that each batch arrived with.",
    )
    .synonyms(&["compression.type"]),
    Definition::new(
        "compression.zstd.level",
        Int,
        "3",
        Between(-131_072, 22),
        "Level to compress with when the codec is zstd.",
    )
    .synonyms(&["compression.zstd.level"]),
    Definition::new(
        "delete.retention.ms",
        Long,
        "86400000",
        AtLeast(0),
        "How long a compacted log keeps the tombstone of a deleted key, so that slow readers still see it.",
    )
    .synonyms(&["log.cleaner.delete.retention.ms"]),
    Definition::new("file.delete.delay.ms", Long, "60000", AtLeast(0), "How long the file of a deleted segment stays.")
        .synonyms(&["log.segment.delete.delay.ms"]),
    Definition::new(
        "flush.messages",
        Long,
        "9223372036854775807",
        AtLeast(1),
        "Records after which Kafka syncs a log; here the durability setting decides.",
    )
    .synonyms(&["log.flush.interval.messages"]),
    Definition::new(
        "flush.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        "Time after which Kafka syncs a log; here the durability setting decides.",
    )
    .synonyms(&["log.flush.interval.ms"]),
    Definition::new(
        "follower.replication.throttled.replicas",
        List,
        "",
        ThrottledReplicas,
        "Replicas whose following is throttled; there is one replica here, so none.",
    ),
    Definition::new(
        "index.interval.bytes",
        Int,
        "4096",
        AtLeast(0),
        "Bytes of log between two entries of the offset index.",
    )
    .synonyms(&["log.index.interval.bytes"]),
    // Takes the place of segment.bytes, without its lower bound (KIP-1161): for tests that need small segments.
    Definition::unset("internal.segment.bytes", Int, "1024", AtLeast(1), "Segment size of tests.").internal(),
    Definition::new(
        "leader.replication.throttled.replicas",
        List,
        "",
        ThrottledReplicas,
        "Replicas whose serving of followers is throttled; there is one replica here, so none.",
    ),
    Definition::new(
        "local.retention.bytes",
        Long,
        "-2",
        AtLeast(-2),
        "Size of what tiered storage keeps locally; there is no tiered storage here.",
    )
    .synonyms(&["log.local.retention.bytes"]),
    Definition::new(
        "local.retention.ms",
        Long,
        "-2",
        AtLeast(-2),
        "Age of what tiered storage keeps locally; there is no tiered storage here.",
    )
    .synonyms(&["log.local.retention.ms"]),
    Definition::new(
        "max.compaction.lag.ms",
        Long,
        "9223372036854775807",
        AtLeast(1),
        "How long a record stays out of compaction at most.",
    )
    .synonyms(&["log.cleaner.max.compaction.lag.ms"]),
    Definition::new(
        "max.message.bytes",
        Int,
        "1048588",
        AtLeast(0),
        "Size of a record batch, compressed as it is sent; larger ones are refused.",
    )
    .synonyms(&["message.max.bytes"]),
    Definition::new(
        "message.timestamp.after.max.ms",
        Long,
        "3600000",
        AtLeast(0),
        "How far a record's CreateTime may lie after the broker's clock; later ones are refused.",
    )
    .synonyms(&["log.message.timestamp.after.max.ms"]),
    Definition::new(
        "message.timestamp.before.max.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        "How far a record's CreateTime may lie before the broker's clock; earlier ones are refused.",
    )
    .synonyms(&["log.message.timestamp.before.max.ms"]),
    Definition::new(
        "message.timestamp.type",
        String,
        "CreateTime",
        OneOf(&["CreateTime", "LogAppendTime"]),
        "Whether records keep their producer's time or get the time of the append.",
    )
    .synonyms(&["log.message.timestamp.type"]),
    Definition::new(
        "min.cleanable.dirty.ratio",
        Double,
        "0.5",
        Ratio,
        "Share of a compacted log that must be dirty before it is compacted again.",
    )
    .synonyms(&["log.cleaner.min.cleanable.ratio"]),
    Definition::new(
        "min.compaction.lag.ms",
        Long,
        "0",
        AtLeast(0),
        "How long a record stays out of compaction at least.",
    )
    .synonyms(&["log.cleaner.min.compaction.lag.ms"]),
    Definition::new(
        "min.insync.replicas",
        Int,
        "1",
        AtLeast(1),
        "Replicas that a write with acks=all needs; there is one, so more than 1 refuses such writes.",
    )
    .synonyms(&["min.insync.replicas"]),
    Definition::new("preallocate", Boolean, "false", Any, "Whether Kafka reserves a segment's space; no effect here.")
        .synonyms(&["log.preallocate"]),
    Definition::new(
        "remote.log.copy.disable",
        Boolean,
        "false",
        Any,
        "Whether tiered storage becomes read-only; there is no tiered storage here.",
    ),
    Definition::new(
        "remote.log.delete.on.disable",
        Boolean,
        "false",
        Any,
        "Whether tiered data goes when tiering is turned off; there is no tiered storage here.",
    ),
    Definition::new(
        "remote.storage.enable",
        Boolean,
        "false",
        Any,
        "Whether old segments move to tiered storage; there is none here, so true is refused.",
    ),
    Definition::new(
        "retention.bytes",
        Long,
        "-1",
        Any,
        "Size of a partition above which its oldest segments go; -1 for no limit.",
    )
    .synonyms(&["log.retention.bytes"]),
    Definition::new("retention.ms", Long, "604800000", AtLeast(-1), "How long records are kept; -1 for no limit.")
        .synonyms(&["log.retention.ms"]),
    Definition::new("segment.bytes", Int, "1073741824", AtLeast(1_048_576), "Size at which a new segment begins.")
        .synonyms(&["log.segment.bytes"]),
    Definition::new(
        "segment.index.bytes",
        Int,
        "10485760",
        AtLeast(4),
        "Size of an index at which a new segment begins.",
    )
    .synonyms(&["log.index.size.max.bytes"]),
    Definition::new(
        "segment.jitter.ms",
        Long,
        "0",
        AtLeast(0),
        "At most so much earlier than segment.ms a segment is rolled, at random, so that not all roll at once.",
    )
    .synonyms(&["log.roll.jitter.ms"]),
    Definition::new(
        "segment.ms",
        Long,
        "604800000",
        AtLeast(1),
        "Age at which a new segment begins even if the old one is not full.",
    )
    .synonyms(&["log.roll.ms"]),
    Definition::new(
        "unclean.leader.election.enable",
        Boolean,
        "false",
        Any,
        "Whether an outdated replica may become leader; there is one replica here, so none is.",
    )
    .synonyms(&["unclean.leader.election.enable"]),
];
