//! The filer backend's settings.

use std::time::Duration;

use super::{
    definition::{
        Check::{Any, AtLeast, Between, HttpUrl, HttpUrls, NonEmpty, OneOf},
        ConfigType::{Boolean, Int, Long, Password, String as Text},
        Definition,
    },
    error::ConfigError,
    resolve::Values,
};

/// How the filer backend reaches its filer, and how much it keeps in memory.
#[derive(Clone, Debug)]
pub struct FilerSettings {
    /// `filer.url`, split; empty when it is not set.
    pub urls: Vec<String>,
    /// `filer.grpc-url`
    pub grpc_url: Option<String>,
    /// `filer.path`
    pub path: String,
    /// `filer.collection`
    pub collection: Option<String>,
    /// `filer.replication`
    pub replication: Option<String>,
    /// `filer.token`
    pub token: Option<String>,
    /// `filer.exclusive` is `guarded`.
    pub is_exclusion_guarded: bool,
    /// `filer.fsync`
    pub fsync: bool,
    /// `filer.linger.ms`
    pub linger: Duration,
    /// `filer.timeout.ms`
    pub timeout: Duration,
    /// `filer.lease.ms`
    pub lease: Duration,
    /// `filer.layout.interval.ms`
    pub layout_interval: Duration,
    /// `filer.tail.bytes`
    pub tail_bytes_max: u64,
    /// `filer.cache.bytes`
    pub cache_bytes_max: u64,
}

impl FilerSettings {
    pub(super) fn new(values: &Values<'_>) -> Result<Self, ConfigError> {
        let text = |name: &str| values.optional(name, |text| Some(text.to_owned()));
        Ok(Self {
            urls: text("filer.url")?.iter().flat_map(|urls| urls.split(',')).map(|url| url.trim().to_owned()).collect(),
            grpc_url: text("filer.grpc-url")?,
            path: values.parsed("filer.path", |text| Some(text.to_owned()))?,
            collection: text("filer.collection")?,
            replication: text("filer.replication")?,
            token: text("filer.token")?,
            is_exclusion_guarded: values.parsed("filer.exclusive", |text| Some(text == "guarded"))?,
            fsync: values.boolean("filer.fsync")?,
            linger: values.millis("filer.linger.ms")?,
            timeout: values.millis("filer.timeout.ms")?,
            lease: values.millis("filer.lease.ms")?,
            layout_interval: values.millis("filer.layout.interval.ms")?,
            tail_bytes_max: values.number("filer.tail.bytes")?,
            cache_bytes_max: values.number("filer.cache.bytes")?,
        })
    }

    /// `filer.grpc-url`, else the first filer's port and 10000 more, as SeaweedFS has it.
    pub fn grpc_url(&self) -> String {
        if let Some(url) = &self.grpc_url {
            return url.trim_end_matches('/').to_owned();
        }
        let first = self.urls.first().map_or("", String::as_str);
        let (scheme, rest) = first.split_once("://").unwrap_or(("http", first));
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().unwrap_or(HTTP_PORT)),
            None => (authority, HTTP_PORT),
        };
        format!("{scheme}://{host}:{}", port.saturating_add(GRPC_PORT_ABOVE))
    }
}

pub(super) static FILER: &[Definition] = &[
    Definition::unset(
        "filer.url",
        Text,
        "http://127.0.0.1:8888",
        HttpUrls,
        "SeaweedFS filer of the filer backend; several that share one store are separated by commas and tried in turn.",
    )
    .flag("--filer-url"),
    Definition::unset(
        "filer.grpc-url",
        Text,
        "http://127.0.0.1:18888",
        HttpUrl,
        "gRPC address of that filer; by default its port and 10000 more.",
    ),
    Definition::new("filer.path", Text, "/kafka", NonEmpty, "Folder on the filer; one gateway each."),
    Definition::unset("filer.collection", Text, "kafka", NonEmpty, "Collection of the volumes that objects go to."),
    Definition::unset("filer.replication", Text, "001", NonEmpty, "Replication of objects, as SeaweedFS writes it."),
    Definition::unset(
        "filer.token",
        Password,
        "eyJhbGciOiJIUzI1NiJ9.e30.x",
        NonEmpty,
        "Token (JWT) for a secured filer.",
    ),
    Definition::new(
        "filer.exclusive",
        Text,
        "guarded",
        OneOf(&["guarded", "trust-me"]),
        "Who sees to it that only one gateway uses the folder: guarded, the filer through its gRPC address; trust-me, \
         whoever starts gateways.",
    ),
    Definition::new(
        "filer.fsync",
        Boolean,
        "false",
        Any,
        "Whether volume servers sync what is written over HTTP before they answer; without it, a power cut of theirs may \
         take the last seconds.",
    ),
    Definition::new(
        "filer.linger.ms",
        Int,
        "5",
        Between(0, 1000),
        "How long changes wait for more to share one object with, while another object is under way.",
    ),
    Definition::new(
        "filer.timeout.ms",
        Int,
        "5000",
        Between(100, 600_000),
        "How long the filer may be silent; what waits for it longer is answered with an error and stored later.",
    ),
    Definition::new(
        "filer.lease.ms",
        Int,
        "3000",
        Between(500, 600_000),
        "A gateway that was silent on the filer for so long may be replaced by another.",
    ),
    Definition::new(
        "filer.layout.interval.ms",
        Int,
        "200",
        Between(10, 600_000),
        "How often offsets and groups are written as readable files.",
    ),
    Definition::new(
        "filer.tail.bytes",
        Long,
        "134217728",
        AtLeast(1 << 20),
        "Records kept in memory until they are objects of their partition; more are refused.",
    ),
    Definition::new(
        "filer.cache.bytes",
        Long,
        "67108864",
        AtLeast(1 << 20),
        "Cache of records that were read from the filer.",
    ),
];

const HTTP_PORT: u16 = 80;
const GRPC_PORT_ABOVE: u16 = 10_000;

#[cfg(test)]
mod tests {
    use crate::config;

    #[test]
    fn the_grpc_address_is_ten_thousand_ports_above() {
        let cases = [
            ("http://127.0.0.1:8888", "http://127.0.0.1:18888"),
            ("http://filer", "http://filer:10080"),
            ("http://[::1]:8888/x", "http://[::1]:18888"),
            ("http://[::1]", "http://[::1]:10080"),
            ("http://a:1,http://b:2", "http://a:10001"),
        ];
        for (url, grpc) in cases {
            let settings = config::parse(None, [], &[("filer.url", url.to_owned())]).unwrap();
            assert_eq!(settings.filer.grpc_url(), grpc);
        }
        let given = [("filer.url", "http://a:1".to_owned()), ("filer.grpc-url", "http://b:2/".to_owned())];
        assert_eq!(config::parse(None, [], &given).unwrap().filer.grpc_url(), "http://b:2");
    }
}
