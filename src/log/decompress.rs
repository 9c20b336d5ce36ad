//! Streams that unpack the records of a batch. Memory is bounded whatever the bytes say; so is what a caller reads.

use std::io::{self, Read};

use crate::model::batch::Codec;

/// A stream of the unpacked records. Errors show when it is read.
pub(super) fn reader<'a>(codec: Codec, payload: &'a [u8]) -> Box<dyn Read + 'a> {
    match codec {
        Codec::None => Box::new(payload),
        Codec::Gzip => Box::new(flate2::read::MultiGzDecoder::new(payload)),
        Codec::Snappy => Box::new(SnappyReader::new(payload)),
        Codec::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(payload)),
        Codec::Zstd => match zstd::stream::read::Decoder::with_buffer(payload) {
            Ok(mut decoder) => {
                // RFC 8878 asks decoders for windows of 8 MiB; level 19 and above of the reference need up to 128 MiB.
                let _ = decoder.window_log_max(ZSTD_WINDOW_LOG_MAX);
                Box::new(decoder)
            }
            Err(_) => Box::new(Broken),
        },
    }
}

/// Snappy as Java writes it (xerial's blocks), or one raw block as librdkafka does.
struct SnappyReader<'a> {
    rest: &'a [u8],
    block: Vec<u8>,
    at: usize,
    is_framed: bool,
}

impl<'a> SnappyReader<'a> {
    fn new(payload: &'a [u8]) -> Self {
        let (rest, is_framed) = match payload.strip_prefix(XERIAL_MAGIC) {
            // Two version numbers follow.
            Some(rest) => (rest.get(8..).unwrap_or_default(), true),
            None => (payload, false),
        };
        Self { rest, block: Vec::new(), at: 0, is_framed }
    }

    /// Unpacks the next block; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let compressed = if self.is_framed {
            let Some((length, rest)) = self.rest.split_first_chunk::<4>() else {
                return if self.rest.is_empty() { Ok(false) } else { Err(broken()) };
            };
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| broken())?;
            let (block, rest) = rest.split_at_checked(length).ok_or_else(broken)?;
            self.rest = rest;
            block
        } else {
            std::mem::take(&mut self.rest)
        };
        if compressed.is_empty() {
            return Ok(false);
        }
        let length = snap::raw::decompress_len(compressed).map_err(|_| broken())?;
        // A literal or copy of two bytes gives at most 64: a length beyond that is a lie, and nothing is allocated for it.
        if length > compressed.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(broken());
        }
        self.block.resize(length, 0);
        let written = snap::raw::Decoder::new().decompress(compressed, &mut self.block).map_err(|_| broken())?;
        self.block.truncate(written);
        self.at = 0;
        Ok(true)
    }
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.block.len() {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let mut rest = self.block.get(self.at..).unwrap_or_default();
        let count = rest.read(out)?;
        self.at += count;
        Ok(count)
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _out: &mut [u8]) -> io::Result<usize> {
        Err(broken())
    }
}

fn broken() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
/// A batch that unpacks to more is refused: no client could read it back.
pub(super) const UNPACKED_BYTES_MAX: u64 = 512 << 20;
const SNAPPY_RATIO_MAX: usize = 64;
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn unpack(codec: Codec, payload: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        reader(codec, payload).take(1 << 22).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn every_codec_is_unpacked() {
        let plain: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&plain).unwrap();
        assert_eq!(unpack(Codec::Gzip, &gzip.finish().unwrap()).unwrap(), plain);

        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&plain).unwrap();
        assert_eq!(unpack(Codec::Lz4, &lz4.finish().unwrap()).unwrap(), plain);

        assert_eq!(unpack(Codec::Zstd, &zstd::encode_all(plain.as_slice(), 3).unwrap()).unwrap(), plain);

        let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
        assert_eq!(unpack(Codec::Snappy, &raw).unwrap(), plain);

        let mut xerial = XERIAL_MAGIC.to_vec();
        xerial.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        for block in plain.chunks(32 * 1024) {
            let packed = snap::raw::Encoder::new().compress_vec(block).unwrap();
            xerial.extend_from_slice(&(packed.len() as u32).to_be_bytes());
            xerial.extend_from_slice(&packed);
        }
        assert_eq!(unpack(Codec::Snappy, &xerial).unwrap(), plain);
        assert_eq!(unpack(Codec::None, &plain).unwrap(), plain);
    }

    #[test]
    fn nonsense_is_an_error_and_nothing_worse() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            assert!(unpack(codec, b"\xff\xff\xff\xff\x0fnonsense").is_err(), "{codec:?}");
        }
    }
}
