//! docs/configuration.md and config/tidegate.toml, written from the tables.

use std::fmt::Write as _;

use super::{
    definition::{ConfigType, Definition},
    table::{SECTIONS, Section},
    topic::TOPIC_CONFIGS,
};

/// docs/configuration.md
pub fn markdown() -> String {
    let mut page = String::from(INTRO);
    for section in SECTIONS {
        write_section(&mut page, section);
    }
    page.push_str(TOPICS_INTRO);
    page.push_str("| Config | Type | Default | Allowed | Default comes from | |\n|---|---|---|---|---|---|\n");
    for definition in TOPIC_CONFIGS.iter().filter(|definition| !definition.internal) {
        let synonyms = definition.synonyms.first().map(|name| format!("`{name}`")).unwrap_or_default();
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {synonyms} | {} |",
            definition.name,
            definition.kind.as_str().to_lowercase(),
            default(definition),
            cell(&definition.allowed()),
            cell(definition.doc),
        );
    }
    page
}

/// config/tidegate.toml: every setting, commented out, with its default or an example.
pub fn annotated_toml() -> String {
    let mut file = String::from(TOML_INTRO);
    for section in SECTIONS {
        let _ = write!(file, "\n# == {} ==\n", section.title);
        for definition in section.settings {
            let unset = if definition.default.is_some() { "" } else { " Not set by default." };
            let value = definition.default.or(definition.example).unwrap_or_default();
            let value = toml_value(definition.kind, value);
            let _ = write!(
                file,
                "\n# {}{unset} [{}]\n#{} = {value}\n",
                definition.doc,
                definition.allowed(),
                definition.name
            );
        }
    }
    file
}

fn write_section(page: &mut String, section: &Section) {
    let _ = write!(page, "\n## {}\n\n{}\n\n", section.title, section.intro);
    page.push_str("| Setting | Type | Default | Allowed | Flag | Changeable | |\n|---|---|---|---|---|---|---|\n");
    for definition in section.settings {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            definition.name,
            definition.kind.as_str().to_lowercase(),
            default(definition),
            cell(&definition.allowed()),
            definition.flag.map(|flag| format!("`{flag}`")).unwrap_or_default(),
            if definition.dynamic { "yes" } else { "" },
            cell(definition.doc),
        );
    }
}

fn default(definition: &Definition) -> String {
    match definition.default {
        None => "not set".to_owned(),
        Some("") => "empty".to_owned(),
        Some(value) => format!("`{value}`{}", in_words(definition.name, value)),
    }
}

/// A large number of milliseconds or bytes in a unit that can be read.
fn in_words(name: &str, value: &str) -> String {
    let Ok(number) = value.parse::<u64>() else { return String::new() };
    let units: &[(u64, &str)] = if name.ends_with(".ms") {
        &[(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")]
    } else if name.ends_with(".minutes") {
        &[(1440, "d")]
    } else if name.ends_with(".bytes") {
        &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
    } else {
        &[]
    };
    let fitting = units.iter().find(|(unit, _)| number >= *unit && number.is_multiple_of(*unit));
    fitting.map(|(unit, label)| format!(" ({} {label})", number / unit)).unwrap_or_default()
}

fn toml_value(kind: ConfigType, value: &str) -> String {
    match kind {
        ConfigType::Boolean | ConfigType::Int | ConfigType::Short | ConfigType::Long | ConfigType::Double => {
            value.to_owned()
        }
        ConfigType::List => {
            let items: Vec<String> = value.split(',').map(|item| format!("{item:?}")).collect();
            format!("[{}]", items.join(", "))
        }
        ConfigType::String | ConfigType::Class | ConfigType::Password => format!("{value:?}"),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

const INTRO: &str = "\
# Configuration

<!-- Written from src/config/table.rs and src/config/topic/table.rs; UPDATE_DOCS=1 cargo test --test config writes it
anew. -->

`tidegate serve` needs no setting. Whatever is set is taken from, in this order, the last one winning:

1. the TOML file that `--config FILE` or `TIDEGATE_CONFIG` names; [config/tidegate.toml](../config/tidegate.toml) lists
   every key;
2. the environment: `TIDEGATE_` and the key in upper case, dots and dashes as underscores, so `num.partitions` is
   `TIDEGATE_NUM_PARTITIONS` and `fetch.past-end` is `TIDEGATE_FETCH_PAST_END`;
3. flags.

Keys have Kafka's own names where Kafka has the setting. In the file `num.partitions = 3`, `\"num.partitions\" = 3` and
`partitions = 3` below `[num]` are the same. A key or `TIDEGATE_` variable that means nothing is an error that names the
nearest one, and so is a value that is not allowed: one line on standard error, exit code 2. (Variables with which
Kubernetes describes services, such as `TIDEGATE_SERVICE_HOST`, are passed over.) An empty value unsets a setting that
has no default.

Times and sizes are whole numbers in the unit that the name ends with, as in Kafka. Where a default differs from
Kafka's, either Kafka has no limit and Tidegate has one (`max.connections`, `group.max.size`,
`queued.max.request.bytes`), or it follows the machine (`num.network.threads`), or the default is
that of the configuration Kafka ships (`group.initial.rebalance.delay.ms`).
";

const TOPICS_INTRO: &str = "
## Configs of topics

Set with `kafka-topics --create --config` or `kafka-configs --alter --entity-type topics`, by Kafka's names and bounds.
Where a topic has no config of its own, the broker setting in the fifth column decides.

";

const TOML_INTRO: &str = "\
# Settings of Tidegate: tidegate serve --config tidegate.toml
#
# Every key is here with its default, commented out; docs/configuration.md says more. The environment (TIDEGATE_ and the
# key in upper case, dots and dashes as underscores) comes before this file, and flags before both.
";
