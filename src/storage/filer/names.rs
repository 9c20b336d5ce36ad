//! Any name as one safe part of a path, and back.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// `name` as one part of a filer path: letters, digits, `-`, `_` and inner dots stay, every other byte is `%XX`, nothing
/// at all is `%`. What would be longer than a file name may be is `%h` and its SHA-256: such a name does not come back, and
/// whoever stores something under it keeps the name beside.
pub fn encode(name: &str) -> String {
    if name.is_empty() {
        return EMPTY.to_owned();
    }
    let mut part = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        // A dot in front could make `.` or `..`, or a hidden file.
        let is_safe = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && index > 0);
        match is_safe {
            true => part.push(char::from(byte)),
            false => push_hex(&mut part, "%", byte),
        }
        if part.len() > PART_BYTES_MAX {
            return hashed(name);
        }
    }
    part
}

/// The name that [`encode`] made `part` of; none when it made it of none, or of one that was too long.
pub fn decode(part: &str) -> Option<String> {
    if part == EMPTY {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    let name = String::from_utf8(bytes).ok()?;
    // Somebody else's file may look like one of ours in another spelling.
    (encode(&name) == part).then_some(name)
}

/// A part as it stands in a URL, where the filer decodes what `%` begins.
pub(super) fn in_url(part: &str) -> String {
    part.replace('%', "%25")
}

fn hashed(name: &str) -> String {
    let mut part = String::from("%h");
    for byte in Sha256::digest(name.as_bytes()) {
        push_hex(&mut part, "", byte);
    }
    part
}

fn push_hex(text: &mut String, prefix: &str, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{prefix}{byte:02X}");
}

const EMPTY: &str = "%";
/// File systems below a filer take 255.
const PART_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_paths_give_a_meaning_to_are_parts_like_others() {
        let cases = [
            ("orders", "orders"),
            ("", "%"),
            (".", "%2E"),
            ("..", "%2E."),
            ("a/b", "a%2Fb"),
            ("100%", "100%25"),
            ("a b\0", "a%20b%00"),
            ("über", "%C3%BCber"),
            ("v1.2-x_y", "v1.2-x_y"),
        ];
        for (name, part) in cases {
            assert_eq!(encode(name), part);
            assert_eq!(decode(part).as_deref(), Some(name));
        }
        for other in ["a%", "%2", "%zz", "%2e", "a/b", "%41", ".hidden", "%FF", "%+1"] {
            assert_eq!(decode(other), None, "{other}");
        }
    }

    #[test]
    fn long_names_are_hashed_and_do_not_come_back() {
        let (one, other) = ("x".repeat(32_768), format!("{}y", "x".repeat(32_767)));
        assert_eq!(encode(&one).len(), 66);
        assert_ne!(encode(&one), encode(&other));
        assert_eq!(decode(&encode(&one)), None);
        // A topic's longest name is a part of itself, or a hash.
        assert_eq!(encode(&"t".repeat(200)), "t".repeat(200));
        assert_eq!(encode(&"t".repeat(249)).len(), 66);
    }

    proptest! {
        #[test]
        fn every_name_is_one_safe_part_and_comes_back(name in "\\PC{0,60}|[\\x00-\\x7f]{0,60}|[./%]{0,10}") {
            let part = encode(&name);
            prop_assert!(!part.is_empty() && part.len() <= PART_BYTES_MAX);
            prop_assert!(part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.%".contains(&byte)));
            prop_assert!(!part.starts_with('.'));
            if !part.starts_with("%h") {
                prop_assert_eq!(decode(&part), Some(name));
            }
        }

        #[test]
        fn different_names_are_different_parts(one in ".{0,300}", other in ".{0,300}") {
            prop_assert_eq!(encode(&one) == encode(&other), one == other);
        }

        #[test]
        fn decoding_anything_does_not_panic(part in ".{0,80}") {
            if let Some(name) = decode(&part) {
                prop_assert_eq!(encode(&name), part);
            }
        }
    }
}
