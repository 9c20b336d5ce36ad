//! Replies against what Kafka 4.1 replied, which is in replies/.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    known::{Difference, KNOWN},
    support::Gateway,
    talk::Talk,
};

/// Runs a scenario and compares. `TEST_BOOTSTRAP=HOST:PORT` runs it on the Kafka there, and `UPDATE=1` with that keeps
/// the replies.
pub fn check(name: &str, scenario: fn(&mut Talk)) {
    let is_kafka = std::env::var_os("TEST_BOOTSTRAP").is_some();
    let gateway = if is_kafka { Gateway::start() } else { Gateway::options().config(AS_KAFKA_SHIPS).start() };
    let mut talk = Talk::new(gateway.address);
    scenario(&mut talk);
    let found = talk.into_text();
    let path = path_of(name);
    if is_kafka && std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &found).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let expected = if is_kafka { golden } else { with_known_differences(name, &golden, &found) };
    let differences = differences(&expected, &found);
    assert!(differences.is_empty(), "{name}: expected (-), as {} says, and found (+)\n{differences}", path.display());
}

/// Kafka's replies with those of Tidegate in the places where they are meant to differ.
fn with_known_differences(name: &str, golden: &str, found: &str) -> String {
    let (mut steps, found) = (steps(golden), steps(found));
    for difference in KNOWN.iter().filter(|difference| difference.scenario == name) {
        let Difference { step, kafka, tidegate, .. } = difference;
        let mut count = 0;
        let before_colon = format!("{step}: ");
        for (index, (title, text)) in steps.iter_mut().enumerate() {
            if !title.ends_with(step) && !title.contains(&before_colon) {
                continue;
            }
            count += 1;
            if kafka.is_empty() {
                let own = found.get(index).map_or("", |step| &step.1);
                assert!(own.contains(tidegate), "{tidegate:?} is not in\n{title}\n{own}");
                assert_ne!(text, own, "{title} does not differ any more");
                own.clone_into(text);
            } else {
                assert!(text.contains(kafka), "{kafka:?} is not in\n{title}\n{text}");
                *text = text.replace(kafka, tidegate);
            }
        }
        assert!(count > 0, "{name} has no step {step:?}");
    }
    steps.into_iter().fold(String::new(), |mut whole, (title, text)| {
        let _ = write!(whole, "== {title}\n{text}");
        whole
    })
}

/// Title and text of each.
fn steps(text: &str) -> Vec<(String, String)> {
    let steps = text.split("== ").skip(1).filter_map(|step| step.split_once('\n'));
    steps.map(|(title, text)| (title.to_owned(), text.to_owned())).collect()
}

/// The steps that are not the same, line by line; empty when all are.
fn differences(expected: &str, found: &str) -> String {
    let (expected, found) = (steps(expected), steps(found));
    let mut report = String::new();
    for index in 0..expected.len().max(found.len()) {
        let (left, right) = (expected.get(index), found.get(index));
        if left == right {
            continue;
        }
        let title = left.or(right).map_or("", |step| &step.0);
        let _ = writeln!(report, "== {title}");
        write_changed_lines(&lines(left), &lines(right), &mut report);
    }
    report
}

fn lines(step: Option<&(String, String)>) -> Vec<&str> {
    step.map_or_else(Vec::new, |(title, text)| std::iter::once(title.as_str()).chain(text.lines()).collect())
}

/// All lines between the first and the last that differ.
fn write_changed_lines(expected: &[&str], found: &[&str], report: &mut String) {
    let same = |(left, right): &(&&str, &&str)| left == right;
    let start = expected.iter().zip(found).take_while(same).count();
    let shorter = expected.len().min(found.len()) - start;
    let end = expected.iter().rev().zip(found.iter().rev()).take(shorter).take_while(same).count();
    for (sign, lines) in [('-', expected), ('+', found)] {
        for line in &lines[start..lines.len() - end] {
            let _ = writeln!(report, "{sign} {line}");
        }
    }
}

/// What is known to differ is told to users, too.
#[test]
fn known_differences_are_documented() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let page = words(&fs::read_to_string(root().join("docs/protocol.md")).unwrap());
    for Difference { scenario, step, reason, .. } in KNOWN {
        assert!(path_of(scenario).exists(), "there is no scenario {scenario}");
        assert!(page.contains(&words(reason)), "docs/protocol.md does not say {reason:?} ({scenario}: {step})");
    }
}

fn path_of(name: &str) -> PathBuf {
    root().join("tests/golden/replies").join(name).with_extension("txt")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where Kafka's config/server.properties is not what Kafka has without it.
const AS_KAFKA_SHIPS: &str = "group.initial.rebalance.delay.ms = 0\n";
