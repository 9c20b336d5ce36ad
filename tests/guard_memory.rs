//! What the guard lets through, kafka-protocol decodes in no more memory than the guard said.
#![expect(unsafe_code, reason = "an allocator that counts")]
#![expect(clippy::panic, clippy::indexing_slicing, reason = "helpers of a test")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bytes::Bytes;
use kafka_protocol::{messages::ApiKey, protocol::Decodable};
use tidegate::wire::guard::{self, GuardLimits};

#[path = "../src/wire/random_requests.rs"]
mod random_requests;

use random_requests::{Random, random_body, served, with_request_type};

#[test]
fn decoding_takes_no_more_memory_than_the_guard_says() {
    let mut random = Random::new(11);
    let mut decoded = 0u32;
    for round in 0..400 {
        for (api_key, version) in served() {
            let mut body = random_body(api_key, version, &mut random).to_vec();
            // The first rounds leave the requests whole.
            for _ in 0..round / 100 {
                mutate(&mut body, &mut random);
            }
            decoded += u32::from(within_cost(api_key, version, body.into()));
        }
    }
    assert!(decoded > 10_000, "only {decoded} requests passed the guard");
}

#[test]
fn many_tagged_fields_take_no_more_memory_than_the_guard_says() {
    for count in [1u32, 2, 11, 12, 100, 5000] {
        for descending in [false, true] {
            // ApiVersions v3 with empty strings, and so many empty tagged fields in ascending or descending order.
            let mut body = vec![1, 1];
            put_varint(&mut body, count);
            for tag in 0..count {
                put_varint(&mut body, if descending { count - tag } else { tag });
                body.push(0);
            }
            assert!(within_cost(ApiKey::ApiVersions, 3, body.into()));
        }
    }
}

/// Whether the guard lets the body through; then it must decode within the cost.
fn within_cost(api_key: ApiKey, version: i16, mut body: Bytes) -> bool {
    let Ok(cost) = guard::check(api_key, version, &body, &GuardLimits::default()) else { return false };
    if cost.malformed_strings > 0 {
        return false;
    }
    let before = ALLOCATED.get();
    let result = with_request_type!(api_key, Request => Request::decode(&mut body, version).map(drop));
    let allocated = ALLOCATED.get() - before;
    assert!(result.is_ok(), "{api_key:?} version {version}: {result:?}");
    let limit = cost.memory_bytes + SHARED_BYTES;
    assert!(allocated <= limit, "{api_key:?} version {version}: {allocated} allocated, {limit} expected");
    true
}

fn mutate(body: &mut [u8], random: &mut Random) {
    if !body.is_empty() {
        let at = random.index(body.len());
        body[at] = random.byte();
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What `Bytes` allocates once when its buffer is first shared.
const SHARED_BYTES: u64 = 64;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator; the counter needs neither a lock nor memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size() as u64);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
