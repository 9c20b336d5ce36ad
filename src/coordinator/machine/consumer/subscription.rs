//! Which topics the members of a group subscribe to, by name or by regular expression.
//!
//! Kafka resolves expressions in the background and at most every ten seconds, so that the first answer to a member has no
//! partitions; here they are matched when the group's epoch is raised, against the topics of that moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use regex::{Regex, RegexBuilder};

use crate::model::{ConsumerMember, TopicName, TopicShape, Topics};

/// The expression, to be matched against whole names. The syntax is that of the `regex` crate, which differs from RE2/J's in
/// nothing that topic names can show.
pub(super) fn compile(regex: &str) -> Result<Regex, regex::Error> {
    let whole = format!("^(?:{regex})$");
    // The expression must be one by itself, so that it does not close the parenthesis that is put around it.
    build(regex)?;
    build(&whole)
}

/// The topics of `topics` that the members subscribe to, and that exist.
pub(super) fn subscribed(
    members: &BTreeMap<Arc<str>, Arc<ConsumerMember>>,
    topics: &dyn Topics,
) -> BTreeMap<TopicName, TopicShape> {
    let mut names: BTreeSet<TopicName> = BTreeSet::new();
    for member in members.values() {
        names.extend(member.topics.iter().cloned());
    }
    for regex in expressions(members) {
        names.extend(topics.names().filter(|name| regex.is_match(name)).cloned());
    }
    names.into_iter().filter_map(|name| topics.shape(&name).map(|shape| (name, shape))).collect()
}

/// The topics among `known` that the members still subscribe to.
pub(super) fn still_subscribed(
    members: &BTreeMap<Arc<str>, Arc<ConsumerMember>>,
    known: &BTreeMap<TopicName, TopicShape>,
) -> BTreeMap<TopicName, TopicShape> {
    let expressions = expressions(members);
    let is_subscribed = |name: &TopicName| {
        members.values().any(|member| member.topics.contains(name))
            || expressions.iter().any(|regex| regex.is_match(name))
    };
    known.iter().filter(|(name, _)| is_subscribed(name)).map(|(name, shape)| (Arc::clone(name), *shape)).collect()
}

/// The distinct expressions of the members. Each was found valid when its member joined.
fn expressions(members: &BTreeMap<Arc<str>, Arc<ConsumerMember>>) -> Vec<Regex> {
    let distinct: BTreeSet<&str> = members.values().map(|member| member.regex.as_str()).collect();
    distinct.into_iter().filter(|regex| !regex.is_empty()).filter_map(|regex| compile(regex).ok()).collect()
}

fn build(regex: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(regex).size_limit(COMPILED_BYTES_MAX).build()
}

/// What a compiled expression may take: a hundred thousand times the memory of a usual one would otherwise be a request away.
const COMPILED_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_whole_names() {
        let regex = compile("a|bc").unwrap();
        assert!(regex.is_match("a") && regex.is_match("bc"));
        assert!(!regex.is_match("ab") && !regex.is_match("abc") && !regex.is_match("xa"));
    }

    #[test]
    fn what_is_no_expression_by_itself_is_refused() {
        for invalid in ["[", "a)|(b", "(", "*", "a{1000}{1000}{1000}"] {
            assert!(compile(invalid).is_err(), "{invalid}");
        }
    }
}
