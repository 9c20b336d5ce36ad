//! The filer backend's settings.

use std::{path::PathBuf, time::Duration};

use super::{
    definition::{
        Check::{Any, AtLeast, Between, HttpUrls, NonEmpty, OneOf},
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
    /// `filer.grpc-url`, split; empty when it is not set.
    given_grpc_urls: Vec<String>,
    /// `filer.path`
    pub path: String,
    /// `filer.collection`
    pub collection: Option<String>,
    /// `filer.replication`
    pub replication: Option<String>,
    /// `filer.token`
    pub token: Option<String>,
    /// `filer.tls.ca`
    pub tls_ca: Option<PathBuf>,
    /// `filer.tls.certificate` and `filer.tls.key`; both or none.
    pub tls_identity: Option<(PathBuf, PathBuf)>,
    /// `filer.tls.check-host`
    pub tls_checks_host: bool,
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
        let file = |name: &str| values.optional(name, |text| Some(PathBuf::from(text)));
        let urls = |name: &str| {
            let split = |urls: String| urls.split(',').map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
            text(name).map(|urls| urls.map_or_else(Vec::new, split))
        };
        Ok(Self {
            urls: urls("filer.url")?,
            given_grpc_urls: urls("filer.grpc-url")?,
            path: values.parsed("filer.path", |text| Some(text.to_owned()))?,
            collection: text("filer.collection")?,
            replication: text("filer.replication")?,
            token: text("filer.token")?,
            tls_ca: file("filer.tls.ca")?,
            tls_identity: file("filer.tls.certificate")?.zip(file("filer.tls.key")?),
            tls_checks_host: values.boolean("filer.tls.check-host")?,
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

    /// `filer.grpc-url`, else for each filer its port and 10000 more, as SeaweedFS has it.
    pub fn grpc_urls(&self) -> Vec<String> {
        match self.given_grpc_urls.is_empty() {
            true => self.urls.iter().map(|url| grpc_url_of(url)).collect(),
            false => self.given_grpc_urls.clone(),
        }
    }

    /// Whether any address of the filer is one of https.
    pub fn is_secure(&self) -> bool {
        self.urls.iter().chain(&self.given_grpc_urls).any(|url| is_https(url))
    }

    /// What does not go together with the rest: the setting, and why.
    pub(super) fn conflict(&self, is_given: impl Fn(&str) -> bool) -> Option<(&'static str, String)> {
        if self.urls.is_empty() {
            return Some(("storage", "storage filer needs filer.url, the filer's address".to_owned()));
        }
        let halves = ["filer.tls.certificate", "filer.tls.key"];
        if let [true, false] | [false, true] = halves.map(&is_given) {
            let given = if is_given(halves[0]) { halves[0] } else { halves[1] };
            return Some((given, format!("{} and {} go together, and only {given} is set", halves[0], halves[1])));
        }
        let idle = ["filer.tls.ca", "filer.tls.certificate", "filer.tls.check-host"];
        let idle = idle.into_iter().find(|name| !self.is_secure() && is_given(name))?;
        Some((idle, format!("{idle} means nothing without https in filer.url or filer.grpc-url")))
    }
}

/// Whether a URL is one of https.
pub fn is_https(url: &str) -> bool {
    url.starts_with("https://")
}

fn grpc_url_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split('/').next().unwrap_or_default();
    let default = if is_https(url) { HTTPS_PORT } else { HTTP_PORT };
    let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) => (host, port.parse().unwrap_or(default)),
        None => (authority, default),
    };
    format!("{scheme}://{host}:{}", port.saturating_add(GRPC_PORT_ABOVE))
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
        HttpUrls,
        "gRPC address of that filer, or of each, in the same order; by default its port and 10000 more.",
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
    Definition::unset(
        "filer.tls.ca",
        Text,
        "/etc/tidegate/ca.pem",
        NonEmpty,
        "File with the certificates (PEM) of who may sign a filer's certificate; by default whom the system trusts.",
    ),
    Definition::unset(
        "filer.tls.certificate",
        Text,
        "/etc/tidegate/client.pem",
        NonEmpty,
        "File with the certificate (PEM) that the gateway shows to a filer that asks for one, as SeaweedFS's gRPC does.",
    ),
    Definition::unset(
        "filer.tls.key",
        Text,
        "/etc/tidegate/client.key",
        NonEmpty,
        "File with the key (PEM) of that certificate.",
    ),
    Definition::new(
        "filer.tls.check-host",
        Boolean,
        "true",
        Any,
        "Whether a filer's certificate must name the host it is reached at. SeaweedFS's own gRPC clients do not ask for that, so \
         that its components can share one; then whoever holds a certificate of filer.tls.ca can pose as the filer.",
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
const HTTPS_PORT: u16 = 443;
const GRPC_PORT_ABOVE: u16 = 10_000;

#[cfg(test)]
mod tests {
    use crate::config;

    fn parsed(given: &[(&'static str, &str)]) -> Result<super::FilerSettings, String> {
        let mut flags = vec![("storage", "filer".to_owned())];
        flags.extend(given.iter().map(|(name, value)| (*name, (*value).to_owned())));
        config::parse(None, [], &flags).map(|settings| settings.filer).map_err(|error| error.to_string())
    }

    #[test]
    fn the_grpc_address_is_ten_thousand_ports_above() {
        let cases = [
            ("http://127.0.0.1:8888", "http://127.0.0.1:18888"),
            ("http://filer", "http://filer:10080"),
            ("https://filer", "https://filer:10443"),
            ("http://[::1]:8888/x", "http://[::1]:18888"),
            ("http://[::1]", "http://[::1]:10080"),
            ("http://a:1, https://b:2", "http://a:10001,https://b:10002"),
        ];
        for (url, grpc) in cases {
            assert_eq!(parsed(&[("filer.url", url)]).unwrap().grpc_urls().join(","), grpc);
        }
        let given = [("filer.url", "http://a:1"), ("filer.grpc-url", "http://b:2/")];
        assert_eq!(parsed(&given).unwrap().grpc_urls(), ["http://b:2"]);
    }

    #[test]
    fn settings_of_https_that_would_do_nothing_or_half_are_refused() {
        let (plain, secure) = (("filer.url", "http://a:1"), ("filer.url", "https://a:1"));
        let halves = [("filer.tls.certificate", "c.pem"), ("filer.tls.key", "k.pem")];
        for half in halves {
            let error = parsed(&[secure, half]).unwrap_err();
            assert!(error.contains("go together") && error.contains(half.0), "{error}");
        }
        let settings = parsed(&[secure, halves[0], halves[1]]).unwrap();
        assert_eq!(settings.tls_identity, Some(("c.pem".into(), "k.pem".into())));
        for idle in [("filer.tls.ca", "ca.pem"), ("filer.tls.check-host", "false")] {
            let error = parsed(&[plain, idle]).unwrap_err();
            assert!(error.contains("without https") && error.contains(idle.0), "{error}");
            // HTTP in the clear and gRPC with certificates: how SeaweedFS is secured most often.
            parsed(&[plain, ("filer.grpc-url", "https://a:10001"), idle]).unwrap();
        }
    }
}
