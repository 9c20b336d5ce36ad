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

/// The distinct expressions of a group's members, compiled to match whole names. The syntax is that of the `regex` crate, which
/// differs from RE2/J's in nothing that topic names can show.
pub(super) struct Expressions<'a>(BTreeMap<&'a str, Regex>);

impl<'a> Expressions<'a> {
    /// Each was found valid when its member named it.
    pub fn of(members: &'a BTreeMap<Arc<str>, Arc<ConsumerMember>>) -> Self {
        let distinct: BTreeSet<&str> = members.values().map(|member| member.regex.as_str()).collect();
        let named = distinct.into_iter().filter(|regex| !regex.is_empty());
        Self(named.filter_map(|regex| Some((regex, build(&whole(regex)).ok()?))).collect())
    }

    /// Whether a member subscribes to a topic of this name.
    pub fn subscribes(&self, member: &ConsumerMember, name: &TopicName) -> bool {
        member.topics.contains(name) || self.0.get(member.regex.as_str()).is_some_and(|regex| regex.is_match(name))
    }

    /// The topics of `topics` that `members` subscribe to, and that exist.
    pub fn subscribed(
        &self,
        members: &BTreeMap<Arc<str>, Arc<ConsumerMember>>,
        topics: &dyn Topics,
    ) -> BTreeMap<TopicName, TopicShape> {
        let mut names: BTreeSet<TopicName> =
            members.values().flat_map(|member| member.topics.iter().cloned()).collect();
        for regex in self.0.values() {
            names.extend(topics.names().filter(|name| regex.is_match(name)).cloned());
        }
        names.into_iter().filter_map(|name| topics.shape(&name).map(|shape| (name, shape))).collect()
    }

    /// The topics among `known` that `members` still subscribe to.
    pub fn still_subscribed(
        &self,
        members: &BTreeMap<Arc<str>, Arc<ConsumerMember>>,
        known: &BTreeMap<TopicName, TopicShape>,
    ) -> BTreeMap<TopicName, TopicShape> {
        let is_subscribed = |name: &TopicName| {
            members.values().any(|member| member.topics.contains(name))
                || self.0.values().any(|regex| regex.is_match(name))
        };
        known.iter().filter(|(name, _)| is_subscribed(name)).map(|(name, shape)| (Arc::clone(name), *shape)).collect()
    }
}

/// Whether an expression is one.
pub(super) fn validate(regex: &str) -> Result<(), regex::Error> {
    // By itself, so that it does not close the parenthesis that is put around it.
    build(regex)?;
    build(&whole(regex)).map(drop)
}

fn whole(regex: &str) -> String {
    format!("^(?:{regex})$")
}

fn build(regex: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(regex).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
}

/// What a compiled expression may take: a hundred thousand times the memory of a usual one would otherwise be a request away.
const COMPILED_BYTES_MAX: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_whole_names() {
        let member = Arc::new(ConsumerMember { regex: "a|bc".to_owned(), ..ConsumerMember::default() });
        let members = BTreeMap::from([(Arc::from("m"), Arc::clone(&member))]);
        let expressions = Expressions::of(&members);
        let subscribes = |name: &str| expressions.subscribes(&member, &TopicName::from(name));
        assert!(subscribes("a") && subscribes("bc"));
        assert!(!subscribes("ab") && !subscribes("abc") && !subscribes("xa"));
    }

    #[test]
    fn what_is_no_expression_by_itself_is_refused() {
        for invalid in ["[", "a)|(b", "(", "*", "a{1000}{1000}{1000}"] {
            assert!(validate(invalid).is_err(), "{invalid}");
        }
        for valid in ["orders-.*", "[a-z]+\\.\\d{1,4}", "(?i)events|\\w+"] {
            assert!(validate(valid).is_ok(), "{valid}");
        }
    }
}
