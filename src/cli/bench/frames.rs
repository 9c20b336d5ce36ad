//! Request frames, encoded once and patched for each time they are sent.

use anyhow::Context;
use kafka_protocol::{
    messages::RequestHeader,
    protocol::{Encodable, Request, StrBytes},
};

/// A request with its length in front.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: Vec<u8>,
}

impl Frame {
    pub fn encode<R: Request>(version: i16, request: &R) -> anyhow::Result<Self> {
        let mut bytes = Vec::with_capacity(BYTES_MIN);
        bytes.resize(4, 0);
        RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)))
            .encode(&mut bytes, R::header_version(version))?;
        request.encode(&mut bytes, version).with_context(|| format!("API {} version {version}", R::KEY))?;
        let length = i32::try_from(bytes.len() - 4).context("the request is too large for a frame")?;
        let mut frame = Self { bytes };
        frame.patch(0, length.to_be_bytes());
        Ok(frame)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn set_correlation_id(&mut self, id: i32) {
        self.patch(CORRELATION_ID_AT, id.to_be_bytes());
    }

    /// Where a marker was encoded, for [`set_i64`](Self::set_i64). It must be there exactly once.
    pub fn place_of(&self, marker: i64) -> anyhow::Result<Place> {
        let marker = marker.to_be_bytes();
        let mut places = self.bytes.windows(marker.len()).enumerate().filter(|(_, window)| *window == marker);
        match (places.next(), places.next()) {
            (Some((at, _)), None) => Ok(Place(at)),
            _ => anyhow::bail!("the marker is not in the frame exactly once"),
        }
    }

    pub fn set_i64(&mut self, place: Place, value: i64) {
        self.patch(place.0, value.to_be_bytes());
    }

    fn patch<const SIZE: usize>(&mut self, at: usize, value: [u8; SIZE]) {
        // Every position comes from the bytes themselves.
        if let Some(field) = self.bytes.get_mut(at..at + SIZE) {
            field.copy_from_slice(&value);
        }
    }
}

/// Of a number in a frame.
#[derive(Clone, Copy, Debug)]
pub struct Place(usize);

/// A number that no other field of a request has by chance.
pub fn marker(index: usize) -> i64 {
    MARKER_BASE + i64::try_from(index).unwrap_or_default()
}

/// Most frames need no more room.
const BYTES_MIN: usize = 512;
const CLIENT_ID: &str = "tidegate-bench";
/// Behind length, API key and version.
const CORRELATION_ID_AT: usize = 8;
const MARKER_BASE: i64 = 0x7A1D_E6A7_E000_0000;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::{
        messages::{
            FetchRequest,
            fetch_request::{FetchPartition, FetchTopic},
        },
        protocol::{Decodable, HeaderVersion},
    };

    use super::*;

    #[test]
    fn a_patched_frame_is_the_request_with_the_new_numbers() {
        let partition = |index: usize| {
            FetchPartition::default().with_partition(index.try_into().unwrap()).with_fetch_offset(marker(index))
        };
        let topic = FetchTopic::default().with_partitions((0..300).map(partition).collect());
        let mut frame = Frame::encode(12, &FetchRequest::default().with_topics(vec![topic])).unwrap();
        frame.set_correlation_id(77);
        for index in 0..300 {
            let place = frame.place_of(marker(index)).unwrap();
            frame.set_i64(place, i64::try_from(index).unwrap() * 5);
        }

        let mut bytes = Bytes::copy_from_slice(frame.bytes());
        let length = bytes.split_to(4);
        assert_eq!(i32::from_be_bytes(length[..].try_into().unwrap()), i32::try_from(bytes.len()).unwrap());
        let header = RequestHeader::decode(&mut bytes, FetchRequest::header_version(12)).unwrap();
        assert_eq!((header.request_api_key, header.request_api_version, header.correlation_id), (1, 12, 77));
        let request = FetchRequest::decode(&mut bytes, 12).unwrap();
        let offsets: Vec<_> = request.topics[0].partitions.iter().map(|partition| partition.fetch_offset).collect();
        assert_eq!(offsets, (0..300).map(|index| index * 5).collect::<Vec<_>>());
    }

    #[test]
    fn a_marker_that_is_missing_or_doubled_is_an_error() {
        let frame = Frame { bytes: [marker(3).to_be_bytes(), marker(3).to_be_bytes()].concat() };
        frame.place_of(marker(3)).unwrap_err();
        frame.place_of(marker(4)).unwrap_err();
    }
}
