//! Settings: where they come from, what is refused and in which words, and that the documents say the same.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use tidegate::{
    cli::flags::ServeFlags,
    config::{self, ConfigError, Durability, FetchPastEnd, Settings, StorageKind},
};

#[test]
fn nothing_at_all_is_disk_on_the_loopback_address() {
    let settings = load(None, &[], &[]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:9092");
    assert_eq!(settings.admin_listen.to_string(), "127.0.0.1:9644");
    assert_eq!(settings.data_dir, Path::new("./tidegate-data"));
    assert_eq!((settings.storage, settings.durability), (StorageKind::Disk, Durability::Sync));
    assert_eq!((settings.advertise, settings.broker.rack), (None, None));
    assert!(settings.filer.urls.is_empty() && settings.filer.is_exclusion_guarded);
    assert_eq!(settings.log_filter, "info");
    assert_eq!((settings.broker.num_partitions, settings.broker.auto_create_topics), (1, true));
    assert_eq!(settings.net.request_bytes_max, 104_857_600);
    assert_eq!(settings.net.idle, Duration::from_secs(600));
    assert_eq!(settings.groups.initial_rebalance_delay, Duration::ZERO);
    assert_eq!(settings.groups.session_timeout_min, Duration::from_secs(6));
    assert_eq!(settings.groups.session_timeout_max, Duration::from_secs(1800));
    assert_eq!(settings.groups.offsets_retention, Duration::from_secs(7 * 86_400));
    // Memory and disk have every offset in memory themselves.
    assert_eq!(settings.offsets_cache_bytes_max, 0);
    assert_eq!((settings.groups.shards, settings.groups.offset_metadata_bytes_max), (50, 4096));
    assert_eq!((settings.fetch.past_end, settings.fetch.bytes_max), (FetchPastEnd::Error, 57_671_680));
    assert_eq!(settings.log.retention_check, Duration::from_secs(300));
    assert_eq!(settings.topic_defaults.config().max_message_bytes, 1_048_588);
    assert!(settings.net.drain < Duration::from_secs(5), "SIGTERM must end within 5 s");
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let file = "num.partitions = 2\nstorage = \"memory\"\ndata.dir = \"from-file\"\nlisten = \"127.0.0.1:1\"";
    let env = [("TIDEGATE_DATA_DIR", "from-env"), ("TIDEGATE_LISTEN", "127.0.0.1:2"), ("PATH", "x")];
    let settings = load(Some(file), &env, &[("listen", "127.0.0.1:3")]).unwrap();
    assert_eq!(settings.broker.num_partitions, 2);
    assert_eq!(settings.storage, StorageKind::Memory);
    assert_eq!(settings.data_dir, Path::new("from-env"));
    assert_eq!(settings.listen.port(), 3);
}

#[test]
fn an_empty_variable_unsets_what_has_no_default_and_is_refused_elsewhere() {
    let file = "advertise = \"broker:9092\"";
    assert_eq!(load(Some(file), &[("TIDEGATE_ADVERTISE", "")], &[]).unwrap().advertise, None);
    let error = load(None, &[("TIDEGATE_DATA_DIR", "")], &[]).unwrap_err().to_string();
    assert_eq!(error, "TIDEGATE_DATA_DIR: invalid value \"\" for data.dir: expected text that is not empty");
}

#[test]
fn the_file_may_be_named_by_flag_or_variable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.toml");
    fs::write(&path, "fetch.past-end = \"empty\"").unwrap();
    let variable = [("TIDEGATE_CONFIG".to_owned(), path.to_str().unwrap().to_owned())];
    assert_eq!(config::load(None, variable.clone(), &[]).unwrap().fetch.past_end, FetchPastEnd::Empty);
    let flags = ServeFlags { config: Some(path.clone()), storage: Some("memory".to_owned()), ..ServeFlags::default() };
    let settings = flags.settings([]).unwrap();
    assert_eq!((settings.fetch.past_end, settings.storage), (FetchPastEnd::Empty, StorageKind::Memory));
    // The flag wins, so that what the variable names is not even read.
    let missing = [("TIDEGATE_CONFIG".to_owned(), "/nowhere/t.toml".to_owned())];
    assert!(flags.settings(missing.clone()).is_ok());
    let error = config::load(None, missing, &[]).unwrap_err().to_string();
    assert!(error.starts_with("TIDEGATE_CONFIG: cannot read /nowhere/t.toml: "), "{error}");
    fs::write(&path, [b'a', 0xff]).unwrap();
    assert_one_line(&flags.settings([]).unwrap_err());
    fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    let error = flags.settings([]).unwrap_err().to_string();
    assert!(error.ends_with("larger than 1 MiB"), "{error}");
}

#[test]
fn unknown_keys_name_the_nearest_one() {
    let error = |text: &str| load(Some(text), &[], &[]).unwrap_err().to_string();
    assert_eq!(error("\nnum.partition = 3"), "t.toml:2: unknown setting num.partition; did you mean num.partitions?");
    assert_eq!(error("[log]\nretention.hour = 3").rsplit(' ').next(), Some("log.retention.hours?"));
    assert_eq!(error("admin-listen = 3").rsplit(' ').next(), Some("admin.listen?"));
    assert_eq!(error("\"log.dirs\" = \"/x\"").rsplit(' ').next(), Some("data.dir?"));
    assert_eq!(error("listeners = \"PLAINTEXT://:9092\"").rsplit(' ').next(), Some("listen?"));
    assert_eq!(error("log = \"info\"").rsplit(' ').next(), Some("log.filter?"));
    let error = |name: &str| load(None, &[(name, "1")], &[]).unwrap_err().to_string();
    assert_eq!(
        error("TIDEGATE_NUM_PARTITION"),
        "environment: unknown variable TIDEGATE_NUM_PARTITION; did you mean TIDEGATE_NUM_PARTITIONS?"
    );
    assert_eq!(error("TIDEGATE_LOG").rsplit(' ').next(), Some("TIDEGATE_LOG_FILTER?"));
    assert_one_line(&load(None, &[(&format!("TIDEGATE_\n{}", "X".repeat(100_000)), "1")], &[]).unwrap_err());
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_are_passed_over() {
    let env = [
        ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ("TIDEGATE_SERVICE_PORT", "9092"),
        ("TIDEGATE_SERVICE_PORT_KAFKA", "9092"),
        ("TIDEGATE_PORT", "tcp://10.0.0.1:9092"),
        ("TIDEGATE_PORT_9092_TCP", "tcp://10.0.0.1:9092"),
        ("TIDEGATE_PORT_9092_TCP_ADDR", "10.0.0.1"),
        ("TIDEGATE_KAFKA_PORT_9092_TCP_PORT", "9092"),
    ];
    assert!(load(None, &env, &[]).is_ok());
    assert!(load(None, &[("TIDEGATE_PORT", "9092")], &[]).is_err());
}

#[test]
fn a_setting_given_twice_in_the_file_is_refused() {
    let error = load(Some("num.partitions = 1\n\"num.partitions\" = 2"), &[], &[]).unwrap_err().to_string();
    assert!(error.contains("num.partitions is already set at t.toml:"), "{error}");
}

#[test]
fn each_wrong_value_is_one_line_with_its_place_the_value_and_what_is_allowed() {
    let cases = [
        ("num.partitions", "0", "an integer from 1 to 1000000"),
        ("num.partitions", "abc", "an integer from 1 to 1000000"),
        ("num.partitions", "99999999999", "an integer from 1 to 1000000"),
        ("auto.create.topics.enable", "maybe", "true or false"),
        ("listen", "broker:9092", "IP:PORT, such as 127.0.0.1:9092, port 0 for any free one"),
        ("admin.listen", "9644", "IP:PORT, such as 127.0.0.1:9092, port 0 for any free one"),
        ("advertise", "0.0.0.0:9092", "HOST:PORT that clients can connect to, such as broker.example.com:9092"),
        ("advertise", "broker:0", "HOST:PORT that clients can connect to, such as broker.example.com:9092"),
        ("storage", "Disk", "one of memory, disk, filer"),
        ("durability", "fsync", "one of sync, os"),
        ("fetch.past-end", "", "one of error, empty"),
        ("filer.url", "localhost:8888", "http or https addresses, such as http://127.0.0.1:8888"),
        ("log.filter", "tidegate=loud", "a log filter, such as info or tidegate=debug,warn"),
        ("log.retention.ms", "-2", "an integer of at least 1, or -1 for no limit"),
        ("log.retention.ms", "0", "an integer of at least 1, or -1 for no limit"),
        ("log.cleanup.policy", "delete,foo", "a list of compact, delete"),
        ("log.cleaner.min.cleanable.ratio", "1.5", "a number from 0 to 1"),
        ("log.segment.bytes", "1000", "an integer of at least 1048576"),
        ("compression.gzip.level", "0", "an integer from 1 to 9, or -1 for gzip's default"),
        ("offsets.topic.num.partitions", "1001", "an integer from 1 to 1000"),
        ("connections.max.idle.ms", "9223372036854775807", "an integer from 1 to 3153600000000"),
        ("node.id", "-1", "an integer of at least 0"),
    ];
    for (name, value, allowed) in cases {
        let variable = config::setting(name).unwrap().env_name();
        let error = load(None, &[(&variable, value)], &[]).unwrap_err();
        assert_eq!(error.to_string(), format!("{variable}: invalid value \"{value}\" for {name}: expected {allowed}"));
        let error = load(Some(&format!("\n\n{name:?} = {value:?}")), &[], &[]).unwrap_err();
        assert_eq!(error.to_string(), format!("t.toml:3: invalid value \"{value}\" for {name}: expected {allowed}"));
    }
    let error = load(None, &[], &[("data.dir", "")]).unwrap_err().to_string();
    assert!(error.starts_with("--data-dir: "), "{error}");
    assert_one_line(&load(None, &[("TIDEGATE_STORAGE", &"a\nb".repeat(100_000))], &[]).unwrap_err());
    assert_one_line(&load(Some("storage = \"a\\nb\""), &[], &[]).unwrap_err());
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let error = |pairs: &[(&str, &str)]| {
        let error = load(None, pairs, &[]).unwrap_err();
        assert_one_line(&error);
        error.to_string()
    };
    assert_eq!(
        error(&[("TIDEGATE_GROUP_MIN_SESSION_TIMEOUT_MS", "1800001")]),
        "TIDEGATE_GROUP_MIN_SESSION_TIMEOUT_MS: group.min.session.timeout.ms is 1800001, \
         group.max.session.timeout.ms is 1800000; group.min.session.timeout.ms must not exceed \
         group.max.session.timeout.ms"
    );
    assert!(
        error(&[("TIDEGATE_QUEUED_MAX_REQUEST_BYTES", "1024")]).starts_with("TIDEGATE_QUEUED_MAX_REQUEST_BYTES: "),
        "the one that was set is to blame"
    );
    assert!(error(&[("TIDEGATE_NUM_PARTITIONS", "100001")]).ends_with("must not exceed max.partitions"));
    assert!(
        error(&[
            ("TIDEGATE_LOG_CLEANER_MAX_COMPACTION_LAG_MS", "1"),
            ("TIDEGATE_LOG_CLEANER_MIN_COMPACTION_LAG_MS", "2")
        ])
        .contains("log.cleaner")
    );
    assert!(error(&[("TIDEGATE_ADMIN_LISTEN", "127.0.0.1:9092")]).contains("other than that of listen"));
    assert!(error(&[("TIDEGATE_LISTEN", "0.0.0.0:9092")]).contains("advertise must name"));
    let any = [("TIDEGATE_LISTEN", "0.0.0.0:0"), ("TIDEGATE_ADVERTISE", "h:1"), ("TIDEGATE_ADMIN_LISTEN", "0.0.0.0:0")];
    assert!(load(None, &any, &[]).is_ok());
}

#[test]
fn the_filer_backend_needs_the_address_of_a_filer() {
    let flags = ServeFlags { storage: Some("filer".to_owned()), ..ServeFlags::default() };
    let error = flags.settings([]).unwrap_err();
    assert_eq!(error.to_string(), "--storage: storage filer needs filer.url, the filer's address");
    let secure = ServeFlags { filer_url: Some("https://filer".to_owned()), ..flags.clone() };
    assert_eq!(secure.settings([]).unwrap().filer.grpc_urls(), ["https://filer:10443"]);
    let flags = ServeFlags { filer_url: Some("nonsense".to_owned()), ..flags };
    assert!(flags.settings([]).unwrap_err().to_string().starts_with("--filer-url: invalid value \"nonsense\""));
}

#[test]
fn every_setting_takes_its_default_and_has_names_of_its_own() {
    let mut variables = BTreeSet::new();
    for definition in config::settings() {
        if let Some(raw) = definition.default.or(definition.example) {
            assert!(definition.parse(raw).is_ok(), "{}", definition.name);
        }
        assert!(variables.insert(definition.env_name()), "{}", definition.name);
        assert!(definition.doc.ends_with('.'), "{}", definition.name);
        for synonym in definition.synonyms {
            assert!(config::setting(synonym).is_some(), "{synonym}");
        }
        // TOML's dotted keys could not say both `a` and `a.b`.
        let prefix = format!("{}.", definition.name);
        assert!(config::settings().all(|other| !other.name.starts_with(&prefix)), "{}", definition.name);
    }
}

const WITHOUT_DEFAULT: [&str; 3] = ["advertise", "broker.rack", "num.network.threads"];

#[test]
fn the_annotated_file_uncommented_is_the_defaults() {
    let text: String = config::docs::annotated_toml()
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty()))
        .filter(|line| WITHOUT_DEFAULT.iter().all(|name| !line.starts_with(name)))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(text.lines().count() + WITHOUT_DEFAULT.len(), config::settings().count());
    let settings = load(Some(&text), &[], &[]).unwrap();
    let defaults = load(None, &[], &[]).unwrap();
    assert_eq!(settings.topic_defaults.config(), defaults.topic_defaults.config());
    assert_eq!(settings.filer.urls, ["http://127.0.0.1:8888"]);
    let shown = |settings: &Settings| {
        let Settings { listen, admin_listen, broker, net, groups, log, fetch, .. } = settings;
        format!("{listen} {admin_listen} {broker:?} {net:?} {groups:?} {log:?} {fetch:?}")
    };
    assert_eq!(shown(&settings), shown(&defaults));
}

#[test]
fn the_samples_are_valid() {
    for sample in ["tidegate.toml", "memory.toml", "disk.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(sample);
        let settings = config::load(Some(&path), [], &[]).unwrap();
        assert_eq!(settings.storage == StorageKind::Memory, sample == "memory.toml");
    }
}

#[test]
fn docs_configuration_md_is_up_to_date() {
    assert_up_to_date("docs/configuration.md", &config::docs::markdown());
}

#[test]
fn config_tidegate_toml_is_up_to_date() {
    assert_up_to_date("config/tidegate.toml", &config::docs::annotated_toml());
}

/// Compares a generated file with what it should be; with UPDATE_DOCS=1 writes it first.
fn assert_up_to_date(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var("UPDATE_DOCS").is_ok_and(|value| value == "1") {
        let written = fs::write(&path, expected);
        assert!(written.is_ok(), "{file} cannot be written: {written:?}");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{file} is out of date: run UPDATE_DOCS=1 cargo test --test config");
}

fn load(file: Option<&str>, env: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Settings, ConfigError> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags: Vec<_> = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    config::parse(file.map(|text| ("t.toml", text)), env, &flags)
}

fn assert_one_line(error: &ConfigError) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains(char::is_control) && text.chars().count() < 800, "{text}");
}
