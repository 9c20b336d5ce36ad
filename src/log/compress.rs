//! Packing the records of a batch, as Java's clients read them.

use std::io::{self, ErrorKind, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use crate::model::batch::Codec;

/// What to pack with. lz4 has one level here: its encoder knows no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    pub codec: Codec,
    /// The codec's own number; gzip takes -1 for its default.
    pub level: i32,
}

impl Compression {
    /// A codec at Kafka's default level.
    pub fn of(codec: Codec) -> Self {
        let level = match codec {
            Codec::Gzip => -1,
            Codec::Zstd => zstd::DEFAULT_COMPRESSION_LEVEL,
            Codec::None | Codec::Snappy | Codec::Lz4 => 0,
        };
        Self { codec, level }
    }
}

/// Packs what is written to it.
pub(super) enum Compressor {
    None(Bounded),
    Gzip(flate2::write::GzEncoder<Bounded>),
    Snappy(Box<SnappyWriter>),
    Lz4(Box<FrameEncoder<Bounded>>),
    Zstd(zstd::stream::write::Encoder<'static, Bounded>),
}

impl Compressor {
    /// An output of more than `bytes_max` is an error of kind [`ErrorKind::FileTooLarge`]. `input_bytes`, where it is
    /// known, must be exact: it keeps the tables of zstd's high levels small.
    pub(super) fn new(compression: Compression, bytes_max: usize, input_bytes: Option<u64>) -> io::Result<Self> {
        let out = Bounded { bytes: Vec::new(), bytes_max };
        Ok(match compression.codec {
            Codec::None => Self::None(out),
            Codec::Gzip => {
                let level =
                    u32::try_from(compression.level).map_or_else(|_| Default::default(), flate2::Compression::new);
                Self::Gzip(flate2::write::GzEncoder::new(out, level))
            }
            Codec::Snappy => Self::Snappy(Box::new(SnappyWriter::new(out)?)),
            Codec::Lz4 => {
                let frame = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
                Self::Lz4(Box::new(FrameEncoder::with_frame_info(frame, out)))
            }
            Codec::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, compression.level)?;
                encoder.set_pledged_src_size(input_bytes)?;
                Self::Zstd(encoder)
            }
        })
    }

    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        let out = match self {
            Self::None(out) => out,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Snappy(writer) => writer.finish()?,
            Self::Lz4(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        Ok(out.bytes)
    }
}

impl Write for Compressor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Snappy(writer) => writer.write(bytes),
            Self::Lz4(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: a flush inside a batch would only make it larger.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Output with an upper bound.
pub(super) struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.bytes_max {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Snappy in the blocks of the xerial library, the only framing that Java's clients read.
pub(super) struct SnappyWriter {
    out: Bounded,
    block: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl SnappyWriter {
    fn new(mut out: Bounded) -> io::Result<Self> {
        out.write_all(XERIAL_HEADER)?;
        Ok(Self { out, block: Vec::new(), encoder: snap::raw::Encoder::new() })
    }

    fn write_block(&mut self) -> io::Result<()> {
        let packed = self.encoder.compress_vec(&self.block).map_err(io::Error::other)?;
        self.block.clear();
        let length = u32::try_from(packed.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&packed)
    }

    fn finish(mut self) -> io::Result<Bounded> {
        if !self.block.is_empty() {
            self.write_block()?;
        }
        Ok(self.out)
    }
}

impl Write for SnappyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(XERIAL_BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if self.block.len() == XERIAL_BLOCK_BYTES {
            self.write_block()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Magic, version 1, readable from version 1 on.
const XERIAL_HEADER: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::log::decompress;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn pack(compression: Compression, plain: &[u8], bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut compressor = Compressor::new(compression, bytes_max, Some(plain.len() as u64))?;
        compressor.write_all(plain)?;
        compressor.finish()
    }

    #[test]
    fn what_is_packed_can_be_unpacked() {
        let plain: Vec<u8> = (0..60_000_u32).flat_map(|n| (n / 7).to_be_bytes()).collect();
        for codec in ALL {
            for plain in [&plain[..], &plain[..1], &[]] {
                let packed = pack(Compression::of(codec), plain, 1 << 20).unwrap();
                let mut unpacked = Vec::new();
                decompress::reader(codec, &packed).read_to_end(&mut unpacked).unwrap();
                assert_eq!(unpacked, plain, "{codec:?}");
            }
        }
    }

    #[test]
    fn a_level_is_honoured() {
        let plain: Vec<u8> = (0..40_000_u32).flat_map(|n| (n * n / 11).to_be_bytes()).collect();
        for (codec, low, high) in [(Codec::Gzip, 1, 9), (Codec::Zstd, -50, 19)] {
            let size = |level| pack(Compression { codec, level }, &plain, 1 << 20).unwrap().len();
            assert!(size(high) < size(low), "{codec:?}");
        }
    }

    #[test]
    fn an_output_beyond_its_bound_is_refused() {
        let noise: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
        for codec in ALL {
            let error = pack(Compression::of(codec), &noise, 50_000).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FileTooLarge, "{codec:?}: {error}");
        }
    }
}
