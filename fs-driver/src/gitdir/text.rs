//! Much text in pieces that never move: what grows by being copied takes twice its size each time.

/// Bytes of one piece; no text is longer.
pub const PIECE_BYTES: usize = 1 << 20;

/// Texts, each known by where it begins.
#[derive(Default)]
pub struct Text {
    pieces: Vec<Vec<u8>>,
}

impl Text {
    /// Bytes that are taken, with what is left of the pieces before the last.
    pub fn bytes(&self) -> usize {
        self.pieces.len().saturating_sub(1) * PIECE_BYTES + self.pieces.last().map_or(0, Vec::len)
    }

    /// Adds a text of two parts and answers where it begins; `None` where it is too long, or there are 4 GiB already.
    pub fn add(&mut self, first: &[u8], second: &[u8]) -> Option<u32> {
        let len = first.len() + second.len();
        if len > PIECE_BYTES {
            return None;
        }
        if self.pieces.last().is_none_or(|piece| piece.len() + len > PIECE_BYTES) {
            self.pieces.push(Vec::with_capacity(PIECE_BYTES));
        }
        let at = u32::try_from(self.bytes()).ok()?;
        let piece = self.pieces.last_mut()?;
        piece.extend_from_slice(first);
        piece.extend_from_slice(second);
        Some(at)
    }

    /// So many bytes from where a text begins; nothing where there are not so many.
    pub fn get(&self, at: u32, len: usize) -> &[u8] {
        let (piece, at) = (at as usize / PIECE_BYTES, at as usize % PIECE_BYTES);
        self.pieces.get(piece).and_then(|piece| piece.get(at..at + len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn each_text_comes_back_and_none_is_cut_by_the_end_of_a_piece() {
        let mut text = Text::default();
        let part = |nth: usize| vec![nth as u8; 1 + nth * 7_919 % 9_000];
        let places: Vec<u32> = (0..2_000).map(|nth| text.add(&part(nth), b"end").unwrap()).collect();
        assert!(text.pieces.len() > 5 && text.pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
        for (nth, at) in places.into_iter().enumerate() {
            let want = [&part(nth)[..], b"end"].concat();
            assert_eq!(text.get(at, want.len()), want);
        }
        assert_eq!(text.get(u32::MAX, 1), b"");
        assert_eq!(text.add(&vec![0; PIECE_BYTES], b"x"), None);
        let at = text.add(&vec![1; PIECE_BYTES - 1], b"x").unwrap();
        assert_eq!(text.get(at, PIECE_BYTES).len(), PIECE_BYTES);
    }
}
