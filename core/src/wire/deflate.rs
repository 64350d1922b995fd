//! DEFLATE (RFC 1951) in both directions, for COMPRESS (RFC 4978): no header, no end, flushed when there is no more.
//!
//! Neither direction holds more than its window: what is unpacked is bounded by its caller, octet for octet.
//!
//! ```
//! use postier_core::wire::deflate::{Deflater, Inflater};
//!
//! let (mut deflater, mut packed) = (Deflater::new(), Vec::new());
//! deflater.feed(b"a NOOP\r\n", &mut packed);
//! deflater.flush(&mut packed);
//! let (mut inflater, mut plain) = (Inflater::new(), Vec::new());
//! let consumed = inflater.feed(&packed, &mut plain, 100).unwrap();
//! assert_eq!((consumed, &plain[..]), (packed.len(), &b"a NOOP\r\n"[..]));
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

/// Quick rather than thorough: mail is mostly base64.
const LEVEL: i32 = 3;
/// No header.
const RAW_WINDOW_BITS: i32 = -15;
/// So much is unpacked at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Packs.
pub struct Deflater {
    state: Box<CompressorOxide>,
    /// There is something that is not flushed.
    dirty: bool,
}

impl Default for Deflater {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Deflater {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Deflater")
    }
}

impl Deflater {
    /// Before the first octet.
    pub fn new() -> Self {
        let flags = create_comp_flags_from_zip_params(LEVEL, RAW_WINDOW_BITS, 0);
        Deflater { state: Box::new(CompressorOxide::new(flags)), dirty: false }
    }

    /// Takes octets; appends what comes out of it, maybe nothing.
    pub fn feed(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        self.dirty |= !plain.is_empty();
        self.compress(plain, TDEFLFlush::None, out);
    }

    /// Appends all that was held back, so that its reader sees every octet that was fed.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if core::mem::take(&mut self.dirty) {
            self.compress(b"", TDEFLFlush::Sync, out);
        }
    }

    /// Whether [`Deflater::flush`] would do anything.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    fn compress(&mut self, plain: &[u8], flush: TDEFLFlush, out: &mut Vec<u8>) {
        compress_to_output(&mut self.state, plain, flush, |packed| {
            out.extend_from_slice(packed);
            true
        });
    }
}

/// What is not DEFLATE, or the end of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Unpacks.
pub struct Inflater {
    state: Box<InflateState>,
    piece: Vec<u8>,
    /// The last piece was full: there may be more without more input.
    full: bool,
    broken: bool,
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Inflater")
    }
}

impl Inflater {
    /// Before the first octet.
    pub fn new() -> Self {
        Inflater {
            state: InflateState::new_boxed(DataFormat::Raw),
            piece: Vec::new(),
            full: false,
            broken: false,
        }
    }

    /// Appends at most `room` octets of what `packed` holds (and at most `PIECE_BYTES`); says how many octets of
    /// `packed` are done with.
    ///
    /// # Errors
    /// [`Broken`]: nothing that comes after it can be read.
    pub fn feed(&mut self, packed: &[u8], out: &mut Vec<u8>, room: usize) -> Result<usize, Broken> {
        self.piece.resize(PIECE_BYTES.min(room), 0);
        if self.broken {
            return Err(Broken);
        }
        if self.piece.is_empty() {
            return Ok(0);
        }
        let result = inflate(&mut self.state, packed, &mut self.piece, MZFlush::None);
        self.full = result.bytes_written == self.piece.len();
        out.extend_from_slice(self.piece.get(..result.bytes_written).unwrap_or_default());
        match result.status {
            // There was nothing to do.
            Ok(MZStatus::Ok) | Err(MZError::Buf) => Ok(result.bytes_consumed),
            Ok(MZStatus::StreamEnd | MZStatus::NeedDict) | Err(_) => {
                // What came before it is good, however it was cut.
                self.broken = true;
                if result.bytes_written > 0 { Ok(result.bytes_consumed) } else { Err(Broken) }
            }
        }
    }

    /// Whether there may be more to come without more input.
    pub fn may_have_more(&self) -> bool {
        self.full || self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn unpack(packed: &[u8], sizes: &mut dyn FnMut() -> usize, room: usize) -> Result<Vec<u8>, Broken> {
        let (mut inflater, mut plain, mut rest) = (Inflater::new(), Vec::new(), packed);
        loop {
            let piece = &rest[..sizes().clamp(1, rest.len().max(1)).min(rest.len())];
            let before = plain.len();
            let consumed = inflater.feed(piece, &mut plain, room)?;
            assert!(plain.len() - before <= room);
            rest = &rest[consumed..];
            if rest.is_empty() && plain.len() == before && !inflater.may_have_more() {
                return Ok(plain);
            }
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..2000), 0usize..300), 0..8),
            sizes in proptest::collection::vec(1usize..900, 1..6),
            room in 1usize..5000,
        ) {
            let (mut deflater, mut packed, mut plain) = (Deflater::new(), Vec::new(), Vec::new());
            for (octets, again) in &pieces {
                // Something that repeats itself, too.
                let piece = [&octets[..], &vec![7u8; again * 40]].concat();
                deflater.feed(&piece, &mut packed);
                plain.extend_from_slice(&piece);
                // After a flush all of it can be read.
                deflater.flush(&mut packed);
                prop_assert!(!deflater.is_dirty());
                prop_assert_eq!(&unpack(&packed, &mut || usize::MAX, usize::MAX).unwrap(), &plain);
            }
            let mut turns = sizes.iter().cycle();
            prop_assert_eq!(unpack(&packed, &mut || *turns.next().unwrap(), room).unwrap(), plain);
        }

        #[test]
        fn any_octets(packed in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = unpack(&packed, &mut || 7, 100);
        }
    }

    #[test]
    fn what_is_no_deflate_is_broken() {
        assert_eq!(unpack(&[0xff; 20], &mut || usize::MAX, 100), Err(Broken));
    }
}
