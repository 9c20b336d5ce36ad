//! The settings file: TOML, flattened into dotted names that remember their line.

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::error::ConfigError;

/// One key of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileEntry {
    /// Dotted, however the tables were nested.
    pub name: String,
    pub value: String,
    /// `file:line`
    pub origin: String,
}

/// All keys of `text`, in the order of their names. `path` is for messages.
pub(super) fn entries(path: &str, text: &str) -> Result<Vec<FileEntry>, ConfigError> {
    let flattener = Flattener { path, text };
    let table = DeTable::parse(text).map_err(|error| {
        ConfigError::file(&flattener.origin(error.span().unwrap_or_default().start), error.message())
    })?;
    let mut entries = Vec::new();
    flattener.table("", table.get_ref(), &mut entries)?;
    Ok(entries)
}

struct Flattener<'a> {
    path: &'a str,
    text: &'a str,
}

impl Flattener<'_> {
    /// Recursion is bounded by the parser's own limit on nesting.
    fn table(&self, prefix: &str, table: &DeTable<'_>, entries: &mut Vec<FileEntry>) -> Result<(), ConfigError> {
        for (key, value) in table {
            let name =
                if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            match value.get_ref() {
                DeValue::Table(nested) => self.table(&name, nested, entries)?,
                scalar => {
                    let origin = self.origin_of(key);
                    let value = text_of(scalar).ok_or_else(|| {
                        let reason = format!("{name} is {}, but no setting is of that type", scalar.type_str());
                        ConfigError::file(&origin, &reason)
                    })?;
                    entries.push(FileEntry { name, value, origin });
                }
            }
        }
        Ok(())
    }

    fn origin_of(&self, key: &Spanned<DeString<'_>>) -> String {
        self.origin(key.span().start)
    }

    fn origin(&self, offset: usize) -> String {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{}:{line}", self.path)
    }
}

/// A value as it would be written in a properties file; none when it could not be.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => match number.radix() {
            10 => Some(number.as_str().to_owned()),
            radix => Some(i64::from_str_radix(number.as_str(), radix).ok()?.to_string()),
        },
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| match item.get_ref() {
                DeValue::Array(_) | DeValue::Table(_) => None,
                // A comma would make two items of one.
                scalar => text_of(scalar).filter(|text| !text.contains(',')),
            });
            Some(items.collect::<Option<Vec<String>>>()?.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_tables_and_quoted_keys_are_the_same_names() {
        let text = "\"auto.create.topics.enable\" = true\nnum.partitions = 3\n\n[log]\nretention.ms = 0x10\n\
                    cleanup = { policy = [\"compact\", \"delete\"] }\n";
        let found = entries("t.toml", text).unwrap();
        let found: Vec<_> = found.iter().map(|e| (e.name.as_str(), e.value.as_str(), e.origin.as_str())).collect();
        assert_eq!(
            found,
            [
                ("auto.create.topics.enable", "true", "t.toml:1"),
                ("log.cleanup.policy", "compact,delete", "t.toml:6"),
                ("log.retention.ms", "16", "t.toml:5"),
                ("num.partitions", "3", "t.toml:2"),
            ]
        );
    }

    #[test]
    fn what_is_not_toml_is_one_line_with_its_place() {
        let error = entries("t.toml", "listen = \"x\"\nstorage = \n").unwrap_err().to_string();
        assert!(error.starts_with("t.toml:2: "), "{error}");
        assert_eq!(error.lines().count(), 1);
        let error = entries("t.toml", "a = 2020-01-01\n").unwrap_err().to_string();
        assert_eq!(error, "t.toml:1: a is datetime, but no setting is of that type");
        assert!(entries("t.toml", "a = 1\na = 2\n").is_err());
        assert!(entries("t.toml", &"[".repeat(100_000)).is_err());
        assert!(entries("t.toml", &format!("a = {}", "[".repeat(100_000))).is_err());
        let deep = format!("{}x = 1", "a.".repeat(100_000));
        assert!(entries("t.toml", &deep).is_err());
    }
}
