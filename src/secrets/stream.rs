//! A sealed file: text in pieces, each compressed and then sealed for its place in this one file.
//!
//! Layout: [`MAGIC`], sixteen random bytes that name the file, then pieces: one byte that says whether it is the last one, four
//! bytes with the length (big end first), and what [`Sealer::seal`] gave. Name, position and end are in the place that
//! a piece is sealed for. So no piece can be left out, moved, doubled or taken from another file, and a file that was cut off is
//! known by it.

use super::{Sealer, SecretError};
use crate::clock::random_bytes;
use zeroize::Zeroizing;

/// How such a file begins; the number is that of the layout.
pub const MAGIC: &[u8] = b"pgflex sealed file 1\n";

const NAME_BYTES: usize = 16;
const HEAD_BYTES: usize = 5;
/// Text in one piece, at most, before it is compressed.
const PIECE_BYTES: usize = 1 << 20;
/// A line may be longer than a piece: it is never cut. What claims to be longer than this is no file of ours.
const PIECE_BYTES_MAX: usize = 256 << 20;
/// Speed and size both matter little here.
const LEVEL: u8 = 6;

/// Why a sealed file cannot be read. Nothing of a piece that does not open is ever given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    #[error("this is no backup of a portal's store, or its beginning is damaged")]
    NotOurs,
    #[error(
        "it does not open with this master key: it was sealed with another one, or its beginning is damaged"
    )]
    OtherKey,
    #[error("it is damaged: piece {0} does not open with the master key that opens its beginning")]
    Damaged(u32),
    #[error("it is cut off: it ends before its last piece")]
    CutOff,
    #[error("it is damaged: something follows its last piece")]
    Trailing,
}

/// Writes a sealed file in memory.
pub struct SealedWriter<'a> {
    sealer: &'a Sealer,
    name: [u8; NAME_BYTES],
    index: u32,
    plain: Zeroizing<Vec<u8>>,
    sealed: Vec<u8>,
    failed: Option<SecretError>,
}

impl<'a> SealedWriter<'a> {
    pub fn new(sealer: &'a Sealer) -> Self {
        let name = random_bytes::<NAME_BYTES>();
        let sealed = [MAGIC, &name].concat();
        Self { sealer, name, index: 0, plain: Zeroizing::default(), sealed, failed: None }
    }

    /// Adds text; full pieces are sealed as they come.
    pub fn push(&mut self, text: &[u8]) {
        self.plain.extend_from_slice(text);
        if self.plain.len() >= PIECE_BYTES {
            self.end_piece();
        }
    }

    /// What follows begins a piece of its own.
    pub fn end_piece(&mut self) {
        self.seal(false);
    }

    /// The whole file.
    ///
    /// # Errors
    /// When a piece could not be sealed.
    pub fn finish(mut self) -> Result<Vec<u8>, SecretError> {
        self.seal(true);
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.sealed),
        }
    }

    fn seal(&mut self, is_last: bool) {
        let small = miniz_oxide::deflate::compress_to_vec(&self.plain, LEVEL);
        match self.sealer.seal(&place(&self.name, self.index, is_last), &small) {
            Ok(piece) => {
                let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                self.sealed.push(u8::from(is_last));
                self.sealed.extend_from_slice(&length.to_be_bytes());
                self.sealed.extend_from_slice(&piece);
            }
            Err(error) => self.failed = Some(error),
        }
        self.index += 1;
        self.plain = Zeroizing::default();
    }
}

fn place(name: &[u8], index: u32, is_last: bool) -> String {
    let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sealed file/{name}/{index}/{}", if is_last { "last" } else { "more" })
}

/// Reads a sealed file line by line; ends with the first error.
pub struct SealedLines<'a> {
    sealer: &'a Sealer,
    name: &'a [u8],
    rest: &'a [u8],
    index: u32,
    is_ended: bool,
    plain: Zeroizing<Vec<u8>>,
    at: usize,
}

impl<'a> SealedLines<'a> {
    /// # Errors
    /// When the file does not begin as one of ours.
    pub fn new(sealer: &'a Sealer, file: &'a [u8]) -> Result<Self, StreamError> {
        let rest = file.strip_prefix(MAGIC).ok_or(StreamError::NotOurs)?;
        let (name, rest) = rest.split_at_checked(NAME_BYTES).ok_or(StreamError::CutOff)?;
        let plain = Zeroizing::default();
        Ok(Self { sealer, name, rest, index: 0, is_ended: false, plain, at: 0 })
    }

    fn line(&mut self) -> Result<Option<String>, StreamError> {
        while self.at >= self.plain.len() {
            if !self.next_piece()? {
                return Ok(None);
            }
        }
        let rest = &self.plain[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let text = std::str::from_utf8(&rest[..length]);
        let text = text.map_err(|_| StreamError::Damaged(self.index))?.to_owned();
        self.at += length + 1;
        Ok(Some(text))
    }

    /// `false` after the last piece.
    fn next_piece(&mut self) -> Result<bool, StreamError> {
        if self.is_ended {
            return if self.rest.is_empty() { Ok(false) } else { Err(StreamError::Trailing) };
        }
        let (head, rest) = self.rest.split_at_checked(HEAD_BYTES).ok_or(StreamError::CutOff)?;
        let [flag, a, b, c, d] = *head else { return Err(StreamError::CutOff) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let (piece, rest) = rest.split_at_checked(length).ok_or(StreamError::CutOff)?;
        let wrong = match self.index {
            0 => StreamError::OtherKey,
            index => StreamError::Damaged(index),
        };
        let place = place(self.name, self.index, flag == 1);
        let small = self.sealer.open(&place, piece).map_err(|_| wrong)?;
        let plain = miniz_oxide::inflate::decompress_to_vec_with_limit(&small, PIECE_BYTES_MAX);
        self.plain = Zeroizing::new(plain.map_err(|_| StreamError::Damaged(self.index))?);
        (self.at, self.rest, self.is_ended) = (0, rest, flag == 1);
        self.index += 1;
        Ok(true)
    }
}

impl Iterator for SealedLines<'_> {
    type Item = Result<String, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer::from_key([7; 32])
    }

    fn file() -> Vec<u8> {
        let sealer = sealer();
        let mut writer = SealedWriter::new(&sealer);
        writer.push(b"head\n");
        writer.end_piece();
        writer.push(b"one\n");
        writer.end_piece();
        writer.push(b"two\nthree\n");
        writer.finish().unwrap()
    }

    fn read(file: &[u8]) -> Result<Vec<String>, StreamError> {
        SealedLines::new(&sealer(), file)?.collect()
    }

    #[test]
    fn a_file_comes_back_as_it_was() {
        assert_eq!(read(&file()).unwrap(), ["head", "one", "two", "three"]);
        let sealer = sealer();
        let mut writer = SealedWriter::new(&sealer);
        let long = format!("{}\n", "x".repeat(3 * PIECE_BYTES));
        writer.push(long.as_bytes());
        let file = writer.finish().unwrap();
        assert!(file.len() < PIECE_BYTES, "it is compressed");
        assert_eq!(read(&file).unwrap(), [long.trim_end()]);
    }

    #[test]
    fn every_bit_counts_and_every_cut_shows() {
        let whole = file();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert!(read(&flipped).is_err(), "byte {at} was changed and nobody saw it");
            assert!(read(&whole[..at]).is_err(), "cut off after {at} bytes and nobody saw it");
        }
        assert_eq!(read(&[whole.as_slice(), b"x"].concat()), Err(StreamError::Trailing));
    }

    #[test]
    fn another_key_and_another_file_are_told_apart() {
        let whole = file();
        let other = Sealer::from_key([8; 32]);
        let read_by_other: Result<Vec<_>, _> = SealedLines::new(&other, &whole).unwrap().collect();
        assert_eq!(read_by_other, Err(StreamError::OtherKey));
        // The last piece of another file under the same key does not fit.
        let second = file();
        let head = MAGIC.len() + NAME_BYTES;
        let length = |from: usize| {
            let bytes: [u8; 4] = whole[from + 1..from + 5].try_into().unwrap();
            HEAD_BYTES + u32::from_be_bytes(bytes) as usize
        };
        let end = head + length(head);
        let mixed = [&whole[..end], &second[end..]].concat();
        assert_eq!(read(&mixed), Err(StreamError::Damaged(1)));
        assert_eq!(read(b"PK\x03\x04"), Err(StreamError::NotOurs));
    }
}
