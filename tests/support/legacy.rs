//! What kafka-protocol no longer speaks: OffsetCommit 0 and 1, OffsetFetch 0.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Client, offsets::Committed};

/// OffsetCommit 0; version 1 with the generation and the member id. Answers the error code of each partition.
pub fn offset_commit(
    client: &mut Client,
    group: &str,
    member: Option<(i32, &str)>,
    topic: &str,
    partitions: &[(i32, i64, Option<&str>)],
) -> Vec<(i32, i16)> {
    let mut body = BytesMut::new();
    put_string(&mut body, Some(group));
    if let Some((generation, member_id)) = member {
        body.put_i32(generation);
        put_string(&mut body, Some(member_id));
    }
    body.put_i32(1);
    put_string(&mut body, Some(topic));
    body.put_i32(partitions.len().try_into().unwrap());
    for (partition, offset, metadata) in partitions {
        body.put_i32(*partition);
        body.put_i64(*offset);
        if member.is_some() {
            body.put_i64(-1); // commit timestamp: now
        }
        put_string(&mut body, *metadata);
    }
    let mut response = client.call_raw(8, member.is_some().into(), 1, &body);
    let codes = read_topic(&mut response, topic, |bytes| (bytes.get_i32(), bytes.get_i16()));
    assert!(response.is_empty());
    codes
}

/// OffsetFetch 0 of one topic; no partitions: of all topics.
pub fn offset_fetch_v0(client: &mut Client, group: &str, topic: &str, partitions: &[i32]) -> Vec<Committed> {
    let mut body = BytesMut::new();
    put_string(&mut body, Some(group));
    body.put_i32((!partitions.is_empty()).into());
    if !partitions.is_empty() {
        put_string(&mut body, Some(topic));
        body.put_i32(partitions.len().try_into().unwrap());
        partitions.iter().for_each(|partition| body.put_i32(*partition));
    }
    // The response of version 1 is the same, with the header of both.
    let mut response = client.call_raw(9, 0, 1, &body);
    if response == [0, 0, 0, 0][..] {
        return Vec::new();
    }
    let committed = read_topic(&mut response, topic, |bytes| Committed {
        partition: bytes.get_i32(),
        offset: bytes.get_i64(),
        leader_epoch: -1,
        metadata: get_string(bytes),
        error_code: bytes.get_i16(),
    });
    assert!(response.is_empty());
    committed
}

/// An array of exactly one topic, with an array of partitions.
fn read_topic<T>(bytes: &mut Bytes, topic: &str, mut read: impl FnMut(&mut Bytes) -> T) -> Vec<T> {
    assert_eq!(bytes.get_i32(), 1, "topics");
    assert_eq!(get_string(bytes).as_deref(), Some(topic));
    (0..bytes.get_i32()).map(|_| read(bytes)).collect()
}

pub fn put_string(bytes: &mut BytesMut, text: Option<&str>) {
    match text {
        None => bytes.put_i16(-1),
        Some(text) => {
            bytes.put_i16(text.len().try_into().unwrap());
            bytes.put_slice(text.as_bytes());
        }
    }
}

fn get_string(bytes: &mut Bytes) -> Option<String> {
    let length = usize::try_from(bytes.get_i16()).ok()?;
    Some(String::from_utf8(bytes.split_to(length).to_vec()).unwrap())
}
