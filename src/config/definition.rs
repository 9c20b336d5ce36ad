//! One setting as the tables state it: name, type, default, what it allows, what it means.

use std::{borrow::Cow, fmt};

use tracing_subscriber::EnvFilter;

use super::address::{HostPort, is_http_url, parse_listen};

/// A row of a table of settings. Parsing, the environment, docs/configuration.md and DescribeConfigs all come from it.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Kafka's own name where Kafka has the setting.
    pub name: &'static str,
    pub kind: ConfigType,
    /// As it would be written; none when the setting is not set.
    pub default: Option<&'static str>,
    pub check: Check,
    /// Own words; what DescribeConfigs answers as documentation.
    pub doc: &'static str,
    /// A plausible value of a setting without default.
    pub example: Option<&'static str>,
    /// Settings that stand in for this one while it is not set, first wins; for a topic config the one broker setting
    /// that is its default.
    pub synonyms: &'static [&'static str],
    /// The command line's spelling.
    pub flag: Option<&'static str>,
    /// Whether it can change at run time (`kafka-configs --alter`).
    pub dynamic: bool,
    /// Accepted, but neither described nor documented, as Kafka's internal settings.
    pub internal: bool,
}

impl Definition {
    pub const fn new(
        name: &'static str,
        kind: ConfigType,
        default: &'static str,
        check: Check,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default: Some(default),
            check,
            doc,
            example: None,
            synonyms: &[],
            flag: None,
            dynamic: false,
            internal: false,
        }
    }

    /// Not set unless someone sets it.
    pub const fn unset(
        name: &'static str,
        kind: ConfigType,
        example: &'static str,
        check: Check,
        doc: &'static str,
    ) -> Self {
        let mut definition = Self::new(name, kind, "", check, doc);
        definition.default = None;
        definition.example = Some(example);
        definition
    }

    pub const fn synonyms(mut self, synonyms: &'static [&'static str]) -> Self {
        self.synonyms = synonyms;
        self
    }

    pub const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    pub const fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self
    }

    pub const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// The value that `raw` means. The error is Kafka's reason, such as `Value must be at least 0`.
    pub fn parse(&self, raw: &str) -> Result<Value, Invalid> {
        let value = self.kind.parse(raw)?;
        match self.check.violation(self.name, &value) {
            None => Ok(value),
            Some(invalid) => Err(invalid),
        }
    }

    /// The default as a value; none when there is none.
    pub fn default_value(&self) -> Option<Value> {
        self.default.and_then(|raw| self.kind.parse(raw).ok())
    }

    /// `TIDEGATE_` and the name in upper case, dots and dashes as underscores.
    pub fn env_name(&self) -> String {
        format!("{ENV_PREFIX}{}", self.name.to_ascii_uppercase().replace(['.', '-'], "_"))
    }

    /// What may be written, in words: the end of an error message and a column of the docs.
    pub fn allowed(&self) -> String {
        self.check.allowed(self.kind)
    }
}

/// Types of Kafka's `ConfigDef`, numbered as on the wire (`DescribeConfigsResponse.ConfigType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

impl ConfigType {
    pub fn wire(self) -> i8 {
        self as i8
    }

    /// Kafka's name of the type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    /// As `ConfigDef.parseType`: surrounding blanks do not count, lists are split at commas.
    fn parse(self, raw: &str) -> Result<Value, Invalid> {
        let text = raw.trim_matches(|c: char| c <= ' ');
        let not_a_number = || Invalid::of(raw, format!("Not a number of type {}", self.as_str()));
        match self {
            Self::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Self::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Self::Boolean => Err(Invalid::of(raw, "Expected value to be either true or false")),
            Self::Int => text.parse::<i32>().map(|n| Value::Integer(n.into())).map_err(|_| not_a_number()),
            Self::Short => text.parse::<i16>().map(|n| Value::Integer(n.into())).map_err(|_| not_a_number()),
            Self::Long => text.parse::<i64>().map(Value::Integer).map_err(|_| not_a_number()),
            // Java takes NaN, which no bound would catch afterwards.
            Self::Double => match text.parse::<f64>() {
                Ok(number) if !number.is_nan() => Ok(Value::Double(number)),
                _ => Err(not_a_number()),
            },
            Self::List if text.is_empty() => Ok(Value::List(Vec::new())),
            Self::List => Ok(Value::List(text.split(',').map(|item| item.trim().to_owned()).collect())),
            Self::String | Self::Class | Self::Password => Ok(Value::Text(text.to_owned())),
        }
    }
}

/// A parsed setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Boolean(bool),
    Integer(i64),
    Double(f64),
    Text(String),
    List(Vec<String>),
}

/// As `ConfigDef.convertToString`: what DescribeConfigs answers.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Double(value) => f.write_str(&java_double(*value)),
            Self::Text(value) => f.write_str(value),
            Self::List(items) => f.write_str(&items.join(",")),
        }
    }
}

/// Why a value is refused: the value as Kafka names it, and Kafka's reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub value: String,
    pub reason: Cow<'static, str>,
}

impl Invalid {
    fn of(value: impl ToString, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { value: value.to_string(), reason: reason.into() }
    }
}

/// What a value must satisfy beyond its type. Bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// -1 for no limit, otherwise at least 1.
    UnlimitedOrPositive,
    /// 0.0 to 1.0.
    Ratio,
    /// Above 0.0.
    Positive,
    /// 1 to 9, or -1 for gzip's own default.
    GzipLevel,
    OneOf(&'static [&'static str]),
    ListOf(&'static [&'static str]),
    /// `*` or `partition:broker,…` (`ThrottledReplicaListValidator`).
    ThrottledReplicas,
    NonEmpty,
    /// `IP:PORT`, port 0 for any free one.
    Listen,
    /// `HOST:PORT` that clients can connect to.
    HostPort,
    /// One or several, separated by commas.
    HttpUrls,
    LogFilter,
}

impl Check {
    fn violation(self, name: &str, value: &Value) -> Option<Invalid> {
        match (self, value) {
            (Self::AtLeast(min), Value::Integer(number)) => below(*number, min),
            (Self::Between(min, max), Value::Integer(number)) => below(*number, min).or_else(|| above(*number, max)),
            (Self::UnlimitedOrPositive, Value::Integer(number)) => (*number != -1 && *number < 1)
                .then(|| Invalid::of(number, "Value must be -1 (unlimited) or at least 1")),
            (Self::GzipLevel, Value::Integer(number)) => (*number != -1 && !(1..=9).contains(number))
                .then(|| Invalid::of(number, "Value must be between 1 and 9 or equal to -1")),
            (Self::Ratio, Value::Double(number)) if *number < 0.0 => {
                Some(Invalid::of(value, "Value must be at least 0"))
            }
            (Self::Ratio, Value::Double(number)) if *number > 1.0 => {
                Some(Invalid::of(value, "Value must be no more than 1"))
            }
            (Self::Positive, Value::Double(number)) => {
                (*number <= 0.0).then(|| Invalid::of(value, "Value must be above 0"))
            }
            (Self::OneOf(allowed), Value::Text(text)) => not_one_of(text, allowed),
            (Self::ListOf(allowed), Value::List(items)) => items.iter().find_map(|item| not_one_of(item, allowed)),
            (Self::ThrottledReplicas, Value::List(items)) => (!are_throttled_replicas(items)).then(|| {
                let reason =
                    format!("{name} must be the literal '*' or a list of replicas in the following format: {REPLICAS}");
                Invalid::of(format_args!("[{}]", items.join(", ")), reason)
            }),
            (Self::NonEmpty, Value::Text(text)) => {
                text.is_empty().then(|| Invalid::of(text, "Value must be non-empty"))
            }
            (Self::Listen, Value::Text(text)) => unless(parse_listen(text).is_some(), text),
            (Self::HostPort, Value::Text(text)) => unless(text.parse::<HostPort>().is_ok(), text),
            (Self::HttpUrls, Value::Text(text)) => unless(text.split(',').all(|url| is_http_url(url.trim())), text),
            (Self::LogFilter, Value::Text(text)) => unless(EnvFilter::builder().parse(text).is_ok(), text),
            _ => None,
        }
    }

    fn allowed(self, kind: ConfigType) -> String {
        let number = if kind == ConfigType::Double { "a number" } else { "an integer" };
        match self {
            Self::AtLeast(min) => format!("{number} of at least {min}"),
            Self::Between(min, max) => format!("{number} from {min} to {max}"),
            Self::UnlimitedOrPositive => format!("{number} of at least 1, or -1 for no limit"),
            Self::Ratio => format!("{number} from 0 to 1"),
            Self::Positive => format!("{number} above 0"),
            Self::GzipLevel => format!("{number} from 1 to 9, or -1 for gzip's default"),
            Self::OneOf(values) => format!("one of {}", values.join(", ")),
            Self::ListOf(values) => format!("a list of {}", values.join(", ")),
            Self::ThrottledReplicas => format!("* or {REPLICAS}"),
            Self::NonEmpty => "text that is not empty".to_owned(),
            Self::Listen => "IP:PORT, such as 127.0.0.1:9092, port 0 for any free one".to_owned(),
            Self::HostPort => "HOST:PORT that clients can connect to, such as broker.example.com:9092".to_owned(),
            Self::HttpUrls => "http or https addresses, such as http://127.0.0.1:8888".to_owned(),
            Self::LogFilter => "a log filter, such as info or tidegate=debug,warn".to_owned(),
            Self::Any => match kind {
                ConfigType::Boolean => "true or false".to_owned(),
                ConfigType::Int | ConfigType::Long | ConfigType::Short | ConfigType::Double => number.to_owned(),
                ConfigType::List => "a list, separated by commas".to_owned(),
                ConfigType::String | ConfigType::Class | ConfigType::Password => "text".to_owned(),
            },
        }
    }
}

fn below(number: i64, min: i64) -> Option<Invalid> {
    (number < min).then(|| Invalid::of(number, format!("Value must be at least {min}")))
}

fn above(number: i64, max: i64) -> Option<Invalid> {
    (number > max).then(|| Invalid::of(number, format!("Value must be no more than {max}")))
}

fn not_one_of(text: &str, allowed: &[&str]) -> Option<Invalid> {
    (!allowed.contains(&text)).then(|| Invalid::of(text, format!("String must be one of: {}", allowed.join(", "))))
}

fn unless(valid: bool, text: &str) -> Option<Invalid> {
    (!valid).then(|| Invalid::of(text, "Value is malformed"))
}

fn are_throttled_replicas(items: &[String]) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let replica = |item: &String| match item.split_once(':') {
        Some((partition, broker)) => digits(partition) && digits(broker),
        None => item.is_empty(),
    };
    matches!(items, [only] if only == "*") || items.iter().all(replica)
}

/// `Double.toString`: at least one digit after the point, an exponent outside 1e-3 to 1e7.
fn java_double(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:E}");
    match scientific.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => scientific,
    }
}

/// Begins the name of every environment variable that sets something.
pub const ENV_PREFIX: &str = "TIDEGATE_";
const REPLICAS: &str = "[partitionId]:[brokerId],[partitionId]:[brokerId],...";
