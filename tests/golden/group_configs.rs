//! Configs of groups (KIP-848): how they are set, shown and listed, and what members make of them.

use std::{thread::sleep, time::Duration};

use kafka_protocol::messages::{
    AlterConfigsRequest, DeleteGroupsRequest, DescribeConfigsRequest, GroupId, IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
    alter_configs_request::{AlterConfigsResource, AlterableConfig as WholeConfig},
    describe_configs_request::DescribeConfigsResource,
    incremental_alter_configs_request::{AlterConfigsResource as Resource, AlterableConfig},
};

use crate::{
    consumer_requests::{heartbeat, joining, topic_of},
    requests::versions,
    support::str_bytes,
    talk::Talk,
};

pub fn described(talk: &mut Talk) {
    let group = talk.name("group");
    for version in versions::<DescribeConfigsRequest>() {
        describe(talk, version, "one without configs", &group);
        describe(talk, version, "one without a name", "");
    }
    alter(talk, 1, "set", &group, &[(SESSION, 0, Some("50000"))]);
    settle();
    for version in versions::<DescribeConfigsRequest>() {
        describe(talk, version, "one with a config", &group);
        let plain = DescribeConfigsRequest::default().with_resources(vec![resource(&group, &[SESSION])]);
        talk.call_sorted("one", version, "without synonyms", &plain);
        let unknown = DescribeConfigsRequest::default().with_resources(vec![resource(&group, &["no.such.setting"])]);
        talk.call_sorted("one", version, "an unknown setting", &unknown);
    }
    alter(talk, 1, "delete", &group, &[(SESSION, 1, None)]);
}

pub fn altered(talk: &mut Talk) {
    let group = talk.name("group");
    let mut one = |step: &str, configs: &[(&str, i8, Option<&str>)]| alter(talk, 1, step, &group, configs);
    one("set", &[(SESSION, 0, Some("50000"))]);
    one("set both", &[(SESSION, 0, Some("60000")), (INTERVAL, 0, Some("15000"))]);
    one("too short a session", &[(SESSION, 0, Some("44999"))]);
    one("too long a session", &[(SESSION, 0, Some("60001"))]);
    one("too short an interval", &[(INTERVAL, 0, Some("4999"))]);
    one("too long an interval", &[(INTERVAL, 0, Some("15001"))]);
    one("nothing", &[(INTERVAL, 0, Some("0"))]);
    one("less than nothing", &[(SESSION, 0, Some("-1"))]);
    one("a number that is none", &[(SESSION, 0, Some("soon"))]);
    one("a number with blanks", &[(SESSION, 0, Some(" 50000 "))]);
    one("an empty value", &[(SESSION, 0, Some(""))]);
    one("no value", &[(SESSION, 0, None)]);
    one("an unknown setting", &[("no.such.setting", 0, Some("1"))]);
    one("an unknown setting and a wrong one", &[(SESSION, 0, Some("1")), ("no.such.setting", 0, Some("1"))]);
    one("two that are wrong", &[(SESSION, 0, Some("1")), (INTERVAL, 0, Some("1"))]);
    one("delete an unknown setting", &[("no.such.setting", 1, None)]);
    one("append", &[(SESSION, 2, Some("1"))]);
    one("subtract", &[(SESSION, 3, Some("1"))]);
    one("a setting twice", &[(SESSION, 0, Some("50000")), (SESSION, 1, None)]);
    one("no settings", &[]);
    one("delete", &[(SESSION, 1, None)]);
    one("delete what is not set", &[(SESSION, 1, None)]);
    alter(talk, 1, "no name", "", &[(SESSION, 0, Some("50000"))]);
    settle();
    describe(talk, 4, "in the end", &group);
    let request = |validate_only| request(&group, &[(INTERVAL, 1, None)]).with_validate_only(validate_only);
    talk.call_sorted("one", 1, "only checked", &request(true));
    talk.call_sorted("one", 1, "delete the last", &request(false));
    settle();
    describe(talk, 4, "without any", &group);
}

pub fn replaced(talk: &mut Talk) {
    let group = talk.name("group");
    let mut one = |step: &str, name: &str, configs: &[(&str, Option<&str>)]| {
        let configs = configs
            .iter()
            .map(|(name, value)| WholeConfig::default().with_name(str_bytes(*name)).with_value(value.map(str_bytes)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(GROUP)
            .with_resource_name(str_bytes(name))
            .with_configs(configs.collect());
        talk.call_sorted("one", 2, step, &AlterConfigsRequest::default().with_resources(vec![resource]));
        settle();
        describe(talk, 4, step, &group);
    };
    one("both", &group, &[(SESSION, Some("50000")), (INTERVAL, Some("6000"))]);
    one("one", &group, &[(INTERVAL, Some("7000"))]);
    one("a wrong one", &group, &[(INTERVAL, Some("1"))]);
    one("no value", &group, &[(INTERVAL, None)]);
    one("none", &group, &[]);
    one("no name", "", &[(INTERVAL, Some("7000"))]);
}

pub fn listed(talk: &mut Talk) {
    let (group, other) = (talk.name("group"), talk.name("other"));
    let list = |talk: &mut Talk, step: &str| {
        settle();
        let own = [group.clone(), other.clone()];
        talk.send("one", 1, step, &ListConfigResourcesRequest::default().with_resource_types(vec![GROUP]));
        talk.receive_with::<ListConfigResourcesRequest>("one", true, |reply| {
            reply.config_resources.retain(|resource| own.contains(&resource.resource_name));
        });
    };
    list(talk, "none");
    alter(talk, 0, "set", &group, &[(SESSION, 0, Some("50000"))]);
    alter(talk, 0, "set to the default", &other, &[(SESSION, 0, Some("45000"))]);
    list(talk, "two");
    alter(talk, 0, "delete", &group, &[(SESSION, 1, None)]);
    list(talk, "after one has none any more");
    alter(talk, 0, "delete", &other, &[(SESSION, 1, None)]);
}

pub fn told_to_members(talk: &mut Talk) {
    let group = talk.group("group");
    let (topic, _) = topic_of(talk, "topic", 1);
    alter(talk, 1, "set before the group is there", &group, &[(INTERVAL, 0, Some("6000"))]);
    settle();
    let joined = talk.call("one", 1, "join", &joining(&group, "member", &[&topic]));
    alter(talk, 1, "set another", &group, &[(INTERVAL, 0, Some("7000"))]);
    settle();
    talk.call("one", 1, "heartbeat", &heartbeat(&group, "member", joined.member_epoch));
    alter(talk, 1, "delete", &group, &[(INTERVAL, 1, None)]);
    settle();
    talk.call("one", 1, "heartbeat without configs", &heartbeat(&group, "member", joined.member_epoch));
    alter(talk, 1, "set once more", &group, &[(INTERVAL, 0, Some("8000"))]);
    settle();
    talk.call("one", 1, "leave", &heartbeat(&group, "member", -1));
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(group.clone())]);
    talk.call("one", 2, "delete the group", &delete);
    settle();
    describe(talk, 4, "a group that was deleted", &group);
    talk.call("one", 1, "join a new one", &joining(&group, "member", &[&topic]));
    alter(talk, 1, "delete", &group, &[(INTERVAL, 1, None)]);
    talk.call("one", 1, "leave the new one", &heartbeat(&group, "member", -1));
}

fn describe(talk: &mut Talk, version: i16, step: &str, group: &str) {
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource(group, &[SESSION, INTERVAL])])
        .with_include_synonyms(true);
    talk.call_sorted("one", version, step, &request);
}

fn resource(group: &str, keys: &[&str]) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(GROUP)
        .with_resource_name(str_bytes(group))
        .with_configuration_keys(Some(keys.iter().map(|key| str_bytes(*key)).collect()))
}

fn alter(talk: &mut Talk, version: i16, step: &str, group: &str, configs: &[(&str, i8, Option<&str>)]) {
    talk.call_sorted("one", version, step, &request(group, configs));
}

fn request(group: &str, configs: &[(&str, i8, Option<&str>)]) -> IncrementalAlterConfigsRequest {
    let configs = configs.iter().map(|(name, operation, value)| {
        AlterableConfig::default()
            .with_name(str_bytes(*name))
            .with_config_operation(*operation)
            .with_value(value.map(str_bytes))
    });
    let resource = Resource::default()
        .with_resource_type(GROUP)
        .with_resource_name(str_bytes(group))
        .with_configs(configs.collect());
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

/// Kafka's controller answers before its broker has heard of a change.
fn settle() {
    if std::env::var_os("TEST_BOOTSTRAP").is_some() {
        sleep(Duration::from_millis(500));
    }
}

const GROUP: i8 = 32;
const SESSION: &str = "consumer.session.timeout.ms";
const INTERVAL: &str = "consumer.heartbeat.interval.ms";
