//! Bytes that no client sends.

use bytes::{BufMut, BytesMut};
use kafka_protocol::{
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest,
        LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, api_versions_response::ApiVersion,
    },
    protocol::Request,
};

use crate::{
    requests::heartbeat,
    support::{
        frames::{frame, framed, raw_frame},
        str_bytes,
    },
    talk::Talk,
};

pub fn headers(talk: &mut Talk) {
    for (key, version) in [
        (-1, 0),
        (99, 0),
        (i16::MAX, 0),
        (3, -1),
        (3, 14),
        (3, i16::MAX),
        (0, 2),
        (0, 14),
        (8, 1),
        (9, 0),
        (11, 10),
        (12, 5),
        (68, 9),
    ] {
        talk.bytes(&format!("API {key} version {version}"), &raw_frame(key, version, 1, 1, &[0; 16]));
    }
    let mut without_client_id = BytesMut::new();
    without_client_id.put_slice(&[0, 3, 0, 0, 0, 0, 0, 1]);
    talk.bytes("a header cut in its client id", &framed(&without_client_id));
    talk.bytes("a header of 7 bytes", &framed(&[0, 3, 0, 0, 0, 0, 0]));
    talk.bytes("an empty frame", &framed(&[]));
    talk.bytes(
        "client id of length -2",
        &framed(&[0, 12, 0, 0, 0, 0, 0, 1, 0xff, 0xfe, 0, 1, b'g', 0, 0, 0, 1, 0, 1, b'm']),
    );
    talk.bytes("client id longer than the frame", &framed(&[0, 3, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 0, 0, 0, 0]));
    talk.bytes(
        "client id that is no UTF-8",
        &framed(&[0, 12, 0, 0, 0, 0, 0, 1, 0, 2, 0xc3, 0x28, 0, 1, b'g', 0, 0, 0, 1, 0, 1, b'm']),
    );
    talk.bytes("no client id", &framed(&[0, 12, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 1, b'g', 0, 0, 0, 1, 0, 1, b'm']));
    talk.bytes(
        "tags in the header",
        &framed(&[0, 12, 0, 4, 0, 0, 0, 1, 0xff, 0xff, 1, 9, 2, 7, 7, 2, b'g', 0, 0, 0, 1, 2, b'm', 0, 0]),
    );
    talk.bytes(
        "a tag twice in the header",
        &framed(&[0, 12, 0, 4, 0, 0, 0, 1, 0xff, 0xff, 2, 9, 1, 7, 9, 1, 7, 2, b'g', 0, 0, 0, 1, 2, b'm', 0, 0]),
    );
    talk.bytes("a negative length", &[0xff, 0xff, 0xff, 0xff]);
    talk.bytes("a length above all limits", &[0x7f, 0xff, 0xff, 0xff]);
    talk.bytes("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

pub fn bodies(talk: &mut Talk) {
    let good = frame(4, 1, &heartbeat("group", "member", 1));
    talk.bytes("as it should be", &good);
    talk.bytes("with three more bytes", &framed(&[&good[4..], &[0, 0, 0]].concat()));
    talk.bytes("without its last byte", &framed(&good[4..good.len() - 1]));
    talk.bytes("without its body", &framed(&good[4..23.min(good.len())]));
    let body = |step: &str, bytes: &[u8], talk: &mut Talk| talk.call_body::<HeartbeatRequest>(4, step, bytes);
    body("null group id", &[0, 0, 0, 0, 1, 2, b'm', 0, 0], talk);
    body("null member id", &[2, b'g', 0, 0, 0, 1, 0, 0, 0], talk);
    body("group id that is no UTF-8", &[3, 0xc3, 0x28, 0, 0, 0, 1, 2, b'm', 0, 0], talk);
    body("group id longer than the frame", &[0x7f, b'g', 0, 0, 0, 1, 2, b'm', 0, 0], talk);
    body("length of five bytes", &[0xff, 0xff, 0xff, 0xff, 0x0f, b'g', 0, 0, 0, 1, 2, b'm', 0, 0], talk);
    body("length that does not end", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], talk);
    body("an unknown tag", &[2, b'g', 0, 0, 0, 1, 2, b'm', 0, 1, 5, 2, 1, 1], talk);
    body("an unknown tag twice", &[2, b'g', 0, 0, 0, 1, 2, b'm', 0, 2, 5, 1, 1, 5, 1, 1], talk);
    body("tags in the wrong order", &[2, b'g', 0, 0, 0, 1, 2, b'm', 0, 2, 6, 1, 1, 5, 1, 1], talk);
    let old = |step: &str, bytes: &[u8], talk: &mut Talk| talk.call_body::<HeartbeatRequest>(0, step, bytes);
    old("null group id", &[0xff, 0xff, 0, 0, 0, 1, 0, 1, b'm'], talk);
    old("group id of length -2", &[0xff, 0xfe, 0, 0, 0, 1, 0, 1, b'm'], talk);
    old("group id that is no UTF-8", &[0, 2, 0xc3, 0x28, 0, 0, 0, 1, 0, 1, b'm'], talk);
    old("an empty body", &[], talk);
}

/// Arrays that are null, negative, or longer than what follows.
pub fn arrays(talk: &mut Talk) {
    fn each<R: Request>(talk: &mut Talk, version: i16, before: &[u8], after: &[u8])
    where
        R::Response: std::fmt::Debug + Default,
    {
        for count in [-1, -2, i32::MIN, 1_000, i32::MAX] {
            let body = [before, &count.to_be_bytes()[..], after].concat();
            talk.call_body::<R>(version, &format!("an array of {count}"), &body);
        }
    }
    each::<JoinGroupRequest>(
        talk,
        0,
        &[0, 1, b'g', 0, 0, 0x27, 0x10, 0, 0, 0, 8, b'c', b'o', b'n', b's', b'u', b'm', b'e', b'r'],
        &[],
    );
    each::<OffsetCommitRequest>(
        talk,
        2,
        &[0, 1, b'g', 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[],
    );
    each::<OffsetFetchRequest>(talk, 1, &[0, 9, b'a', b'r', b'r', b'a', b'y', b'-', b'o', b'f', b'f'], &[]);
    each::<DescribeGroupsRequest>(talk, 0, &[], &[]);
    each::<LeaveGroupRequest>(talk, 3, &[0, 1, b'g'], &[]);
}

pub fn api_versions(talk: &mut Talk) {
    let named = |name: &str, version: &str| {
        ApiVersionsRequest::default()
            .with_client_software_name(str_bytes(name))
            .with_client_software_version(str_bytes(version))
    };
    for version in 0..=4 {
        talk.send("one", version, "good", &named("tests", "1"));
        talk.receive_with::<ApiVersionsRequest>("one", true, only_ours);
    }
    for (name, version) in [
        ("", ""),
        ("", "1"),
        ("tests", ""),
        ("te sts", "1"),
        ("-tests", "1"),
        ("tests", "1_"),
        ("ä", "1"),
        ("tests", "a.b-c"),
    ] {
        talk.send("one", 3, &format!("client {name:?} of version {version:?}"), &named(name, version));
        talk.receive_with::<ApiVersionsRequest>("one", true, |reply| {
            only_ours(reply);
            reply.api_keys.clear();
        });
    }
    // Any other version is answered as version 0.
    for version in [5_i16, 99, i16::MAX, -1] {
        talk.send_frame::<ApiVersionsRequest>("one", 0, &format!("version {version}"), |id| {
            raw_frame(18, version, id, 2, &[2, b'a', 2, b'1', 0])
        });
        talk.receive_with::<ApiVersionsRequest>("one", true, |reply| reply.api_keys.retain(|api| api.api_key == 18));
    }
}

/// What both have, without what else Kafka has.
fn only_ours(reply: &mut ApiVersionsResponse) {
    let ours = |api: &ApiVersion| tidegate::api::APIS.iter().any(|own| own.key as i16 == api.api_key);
    reply.api_keys.retain(ours);
    reply.supported_features.clear();
    reply.finalized_features.clear();
    reply.finalized_features_epoch = 0;
}
