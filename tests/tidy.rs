//! Keeps the house in order: who imports whom (docs/architecture.md), and how long a file may grow.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A module, and what it may import of the crate.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &[]),
    ("metrics", &["model"]),
    ("config", &["model"]),
    ("wire", &["model"]),
    ("storage", &["model", "clock", "metrics", "config"]),
    ("log", &["model", "clock", "metrics", "config", "storage"]),
    ("catalog", &["model", "clock", "metrics", "config", "storage"]),
    ("coordinator/machine", &["model"]),
    ("coordinator", &["model", "clock", "metrics", "config", "storage"]),
    ("broker", &["log", "catalog", "coordinator", "storage", "model", "clock", "metrics", "config"]),
    ("api", &["wire", "broker", "log", "catalog", "coordinator", "storage", "model", "metrics", "config"]),
    ("net", &["api", "wire", "model", "clock", "metrics", "config"]),
    ("admin", &["broker", "metrics", "config", "net"]),
];

#[test]
fn modules_import_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some((module, allowed)) = rule_for(&file) else { continue };
        for imported in imports(&read(&file)) {
            let own = module.split('/').next().unwrap_or(module);
            let inside = imported == own && !module.contains('/');
            if !inside && !allowed.contains(&imported.as_str()) {
                wrong.push(format!("{} imports crate::{imported}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the layers:\n{}", wrong.join("\n"));
}

#[test]
fn the_machine_is_pure() {
    for file in sources().iter().filter(|file| file.to_string_lossy().contains("/coordinator/machine/")) {
        let text = read(file);
        for word in ["tokio", "async ", "crate::clock", "std::time::Instant", "SystemTime"] {
            assert!(!text.contains(word), "{} mentions {word}", file.display());
        }
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    for file in sources().iter().filter(|file| !is_for_tests_only(file)) {
        let lines = read(file).lines().count();
        assert!(lines <= 600, "{} has {lines} lines", file.display());
    }
}

#[test]
fn concrete_backends_are_named_only_in_the_composition_root() {
    for file in sources() {
        let name = file.to_string_lossy();
        // The check of a data directory is about the disk backend and no other.
        let is_free = name.contains("/storage/") || name.ends_with("src/server.rs") || name.ends_with("cli/doctor.rs");
        if is_free {
            continue;
        }
        let text = production_part(&read(&file)).to_owned();
        for word in ["storage::disk", "storage::memory", "storage::filer"] {
            assert!(!text.contains(word), "{name} names {word}");
        }
    }
}

/// Whether the module above declares this one, or the folder it is in, for tests only.
fn is_for_tests_only(file: &Path) -> bool {
    let declared_for_tests = |parent: &Path, name: &str| {
        let candidates = [parent.join("mod.rs"), parent.with_extension("rs"), parent.join("lib.rs")];
        candidates.iter().filter_map(|candidate| fs::read_to_string(candidate).ok()).any(|text| {
            text.split("#[cfg(test)]").skip(1).any(|after| {
                let line = after.trim_start().lines().next().unwrap_or_default();
                line.trim_start_matches("pub(crate) ").starts_with(&format!("mod {name};"))
            })
        })
    };
    let mut place = file.with_extension("");
    while place != root().join("src") {
        let (Some(parent), Some(name)) = (place.parent(), place.file_name().and_then(|name| name.to_str())) else {
            return false;
        };
        if declared_for_tests(parent, name) {
            return true;
        }
        place = parent.to_path_buf();
    }
    false
}

fn rule_for(file: &Path) -> Option<(&'static str, &'static [&'static str])> {
    let inside = file.strip_prefix(root().join("src")).ok()?.to_string_lossy().into_owned();
    if is_for_tests_only(file) {
        return None;
    }
    MAY_IMPORT
        .iter()
        .filter(|(module, _)| inside.starts_with(&format!("{module}/")) || inside == format!("{module}.rs"))
        .max_by_key(|(module, _)| module.len())
        .copied()
}

/// The first path part behind every `crate::` outside tests, also within `use crate::{…}`.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in production_part(text).split("crate::").skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            found.extend(top_level_names(group));
        } else {
            found.push(identifier(part));
        }
    }
    found.retain(|name| name.chars().next().is_some_and(char::is_lowercase));
    found
}

fn top_level_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = true;
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            _ if start && character.is_alphabetic() => {
                names.push(identifier(&group[index..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

fn production_part(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
