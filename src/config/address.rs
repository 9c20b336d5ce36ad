//! Addresses: where to listen, what clients are told, where the filer is.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// A host and port that clients are told to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an IP address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

/// `HOST:PORT`, with brackets around an IPv6 address.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

/// The text is not `HOST:PORT`, or clients could never connect to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a HOST:PORT that clients can connect to")]
pub struct NotAHostPort;

impl FromStr for HostPort {
    type Err = NotAHostPort;

    fn from_str(text: &str) -> Result<Self, NotAHostPort> {
        let (host, port) = text.rsplit_once(':').ok_or(NotAHostPort)?;
        let port = parse_port(port).filter(|port| *port > 0).ok_or(NotAHostPort)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host.parse::<Ipv6Addr>().map(|_| host).map_err(|_| NotAHostPort)?,
            None if is_host_name(host) => host,
            None => return Err(NotAHostPort),
        };
        // As Kafka: advertised listeners cannot use the nonroutable meta-address.
        if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
            return Err(NotAHostPort);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// `IP:PORT`, and `localhost` for 127.0.0.1: a listener must not depend on a name service.
pub(super) fn parse_listen(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], parse_port(port)?))),
        None => text.parse().ok(),
    }
}

/// `http://` or `https://`, a host, maybe a port and a path; no user, query or fragment.
pub(super) fn is_http_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return false;
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_path = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    let with_port = authority.parse::<HostPort>().is_ok();
    let without_port = !authority.contains(':') && is_host_name(authority)
        || authority.ends_with(']') && format!("{authority}:80").parse::<HostPort>().is_ok();
    is_path && (with_port || without_port)
}

fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.len() <= HOST_BYTES_MAX && host.split('.').all(is_label)
}

/// Digits only: `u16::from_str` also takes a plus sign.
fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_addresses_are_what_clients_can_connect_to() {
        let parse = |text: &str| text.parse::<HostPort>().map(|address| address.to_string());
        for good in ["broker:9092", "10.0.0.1:1", "[::1]:9092", "my_host.example.com:65535"] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        for bad in ["", "broker", ":9092", "broker:0", "broker:65536", "broker:+1", "a b:1", "::1:9092", "[::]:1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in ["0.0.0.0:9092", "[broker]:1", "http://broker:1", "broker:", "a..b:1", "broker:1/x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn listeners_are_ip_addresses_or_localhost() {
        assert_eq!(parse_listen("localhost:0"), parse_listen("127.0.0.1:0"));
        assert!(parse_listen("[::]:9092").is_some());
        for bad in ["", ":9092", "localhost", "localhost:x", "localhost:", "broker:9092", "127.0.0.1"] {
            assert_eq!(parse_listen(bad), None, "{bad}");
        }
    }

    #[test]
    fn filer_addresses_are_plain_urls() {
        for good in ["http://localhost:8888", "https://filer", "http://[::1]:8888/", "http://f.example.com/some/path"] {
            assert!(is_http_url(good), "{good}");
        }
        for bad in
            ["", "localhost:8888", "ftp://f", "http://", "http://u:p@f", "http://f?x", "http://f/#a", "http://f:x"]
        {
            assert!(!is_http_url(bad), "{bad}");
        }
    }
}
