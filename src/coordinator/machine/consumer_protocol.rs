//! What consumers of the classic protocol tell each other in bytes that are opaque to the coordinator
//! (`org.apache.kafka.clients.consumer.internals.ConsumerProtocol`); read and written where a group changes its protocol.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes};

/// `ConsumerProtocolSubscription` v0–3: each version is the beginning of the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub version: i16,
    pub topics: Vec<String>,
    pub owned: Vec<(String, Vec<i32>)>,
    pub rack_id: Option<String>,
}

impl Subscription {
    /// None when the bytes are something else. What a version from the future has more is passed over.
    pub fn parse(metadata: &[u8]) -> Option<Self> {
        let mut reader = Reader(metadata);
        let (version, topics) = reader.topics()?;
        let mut parsed = Self { version: version.min(VERSION_MAX), topics, ..Self::default() };
        reader.nullable_bytes()?;
        if version >= 1 {
            parsed.owned = reader.partitions()?;
        }
        if version >= 2 {
            reader.i32()?;
        }
        if version >= 3 {
            parsed.rack_id = reader.nullable_string()?;
        }
        Some(parsed)
    }

    /// The topics alone, which any version begins with.
    pub fn parse_topics(metadata: &[u8]) -> Option<Vec<String>> {
        Reader(metadata).topics().map(|(_, topics)| topics)
    }
}

/// `ConsumerProtocolAssignment`, whose versions are all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assignment {
    pub partitions: Vec<(String, Vec<i32>)>,
    /// The assignor tells its members more than partitions.
    pub has_user_data: bool,
}

impl Assignment {
    /// None when the bytes are something else. No bytes at all are no partitions.
    pub fn parse(assignment: &[u8]) -> Option<Self> {
        if assignment.is_empty() {
            return Some(Self::default());
        }
        let mut reader = Reader(assignment);
        reader.version()?;
        Some(Self { partitions: reader.partitions()?, has_user_data: reader.nullable_bytes()? > 0 })
    }
}

/// A `ConsumerProtocolAssignment` without user data.
pub(super) fn encode_assignment<'a>(
    version: i16,
    partitions: impl Iterator<Item = (&'a str, &'a BTreeSet<i32>)>,
) -> Bytes {
    let topics: Vec<_> = partitions.collect();
    let mut bytes = Vec::new();
    bytes.put_i16(version);
    bytes.put_i32(count(topics.len()));
    for (name, partitions) in topics {
        // A topic's name has at most 249 bytes.
        bytes.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        bytes.put_slice(name.as_bytes());
        bytes.put_i32(count(partitions.len()));
        partitions.iter().for_each(|partition| bytes.put_i32(*partition));
    }
    bytes.put_i32(NULL);
    bytes.into()
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// Reads without trusting a length: nothing is allocated for what is not there.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn version(&mut self) -> Option<i16> {
        self.i16().filter(|version| *version >= 0)
    }

    fn topics(&mut self) -> Option<(i16, Vec<String>)> {
        let version = self.version()?;
        let topics = self.array(Self::string)?;
        Some((version, topics))
    }

    fn partitions(&mut self) -> Option<Vec<(String, Vec<i32>)>> {
        self.array(|reader| Some((reader.string()?, reader.array(Self::i32)?)))
    }

    fn array<T>(&mut self, element: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = u32::try_from(self.i32()?).ok()?;
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Some(elements)
    }

    fn string(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()?).ok()?;
        self.text(length)
    }

    fn nullable_string(&mut self) -> Option<Option<String>> {
        match self.i16()? {
            -1 => Some(None),
            length => self.text(usize::try_from(length).ok()?).map(Some),
        }
    }

    /// How many there are.
    fn nullable_bytes(&mut self) -> Option<usize> {
        match self.i32()? {
            NULL => Some(0),
            length => self.take(usize::try_from(length).ok()?).map(<[u8]>::len),
        }
    }

    fn text(&mut self, length: usize) -> Option<String> {
        std::str::from_utf8(self.take(length)?).ok().map(str::to_owned)
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*bytes))
    }

    fn i32(&mut self) -> Option<i32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*bytes))
    }
}

/// The newest version of either that is known.
const VERSION_MAX: i16 = 3;
const NULL: i32 = -1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn topics_of_a_subscription_of_any_version_are_read() {
        let topics = |metadata| Subscription::parse_topics(metadata);
        assert_eq!(topics(b"\0\0\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff"), Some(vec!["a".into(), "bc".into()]));
        assert_eq!(topics(b"\0\x03\0\0\0\x01\0\x01a\0\0\0\0\0\0\0\0\0\0\0\x01"), Some(vec!["a".into()]));
        assert_eq!(topics(b"\0\0\0\0\0\0"), Some(vec![]));
    }

    #[test]
    fn a_whole_subscription_is_read() {
        let bytes =
            b"\0\x03\0\0\0\x01\0\x01a\0\0\0\x02xy\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05\0\0\0\x07\0\x01r";
        let expected = Subscription {
            version: 3,
            topics: vec!["a".to_owned()],
            owned: vec![("a".to_owned(), vec![0, 5])],
            rack_id: Some("r".to_owned()),
        };
        assert_eq!(Subscription::parse(bytes), Some(expected));
    }

    #[test]
    fn bytes_that_are_no_subscription_are_refused() {
        let lies: [&[u8]; 8] = [
            b"",
            b"\0",
            b"\0\0\0\0\0",
            b"\xff\xff\0\0\0\0",
            b"\0\0\x7f\xff\xff\xff",
            b"\0\0\xff\xff\xff\xff",
            b"\0\0\0\0\0\x01\x7f\xffa",
            b"\0\0\0\0\0\x01\0\x01\xff",
        ];
        for lie in lies {
            assert_eq!(Subscription::parse_topics(lie), None, "{lie:?}");
            assert_eq!(Subscription::parse(lie), None, "{lie:?}");
        }
    }

    proptest! {
        #[test]
        fn an_assignment_reads_back(
            topics in proptest::collection::vec(("[a-z]{1,9}", proptest::collection::btree_set(0..99_i32, 1..9)), 0..5),
        ) {
            let bytes = encode_assignment(1, topics.iter().map(|(name, partitions)| (name.as_str(), partitions)));
            let expected: Vec<(String, Vec<i32>)> =
                topics.into_iter().map(|(name, partitions)| (name, partitions.into_iter().collect())).collect();
            prop_assert_eq!(Assignment::parse(&bytes), Some(Assignment { partitions: expected, has_user_data: false }));
        }

        #[test]
        fn no_bytes_make_parsing_panic(bytes: Vec<u8>) {
            let _ = (Subscription::parse(&bytes), Assignment::parse(&bytes));
        }
    }
}
