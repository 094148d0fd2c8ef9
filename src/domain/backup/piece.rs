//! Pieces of the log, as the archive names them.

use super::super::ha::Lsn;

/// One piece of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    pub timeline: i64,
    /// Counted from the begin of the log.
    pub number: u64,
}

impl Piece {
    /// The piece that is in the archive for certain, with all before it, when this name was archived last; `bytes` is
    /// the size of one. `None` for names that say nothing of that kind.
    ///
    /// The note of a backup has the name of the piece in which the backup began. PostgreSQL hands over what is ready in
    /// the order of names, and that piece was ready before the note was written: so it is there. What a former
    /// primary left half full (`.partial`) and the history of a timeline cover nothing.
    pub fn archived(name: &str, bytes: u64) -> Option<Self> {
        let (piece, rest) = (name.get(..24)?, name.get(24..)?);
        let is_note = rest.ends_with(".backup");
        if !rest.is_empty() && !is_note {
            return None;
        }
        Self::parse(piece, bytes)
    }

    /// Reads the name of a whole piece.
    pub fn parse(name: &str, bytes: u64) -> Option<Self> {
        if name.len() != 24 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let part = |from: usize| u64::from_str_radix(name.get(from..from + 8)?, 16).ok();
        let in_log = (1_u64 << 32).checked_div(bytes)?;
        let number = part(8)?.checked_mul(in_log)?.checked_add(part(16)?)?;
        Some(Self { timeline: i64::try_from(part(0)?).ok()?, number })
    }

    /// Its name, as PostgreSQL writes it.
    pub fn name(self, bytes: u64) -> String {
        let in_log = (1_u64 << 32).checked_div(bytes).filter(|count| *count > 0).unwrap_or(1);
        format!("{:08X}{:08X}{:08X}", self.timeline, self.number / in_log, self.number % in_log)
    }

    /// The place behind its last byte.
    pub fn end(self, bytes: u64) -> Lsn {
        Lsn(self.number.saturating_add(1).saturating_mul(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 16 << 20;

    #[test]
    fn a_piece_covers_the_log_to_its_end() {
        let piece = Piece::archived("000000020000000100000003", SIZE).unwrap();
        assert_eq!(piece, Piece { timeline: 2, number: 259 });
        assert_eq!(piece.end(SIZE), Lsn::parse("1/4000000").unwrap());
        assert_eq!(piece.name(SIZE), "000000020000000100000003");
        let note = Piece::archived("000000020000000100000003.00000028.backup", SIZE);
        assert_eq!(note, Some(piece));
        for name in [
            "00000002.history",
            "000000020000000100000003.partial",
            "",
            "x",
            "é".repeat(12).as_str(),
        ] {
            assert_eq!(Piece::archived(name, SIZE), None, "{name}");
        }
        assert_eq!(Piece::archived("000000020000000100000003", 0), None);
    }
}
