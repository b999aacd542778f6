//! Text in the encoding that an archive says it has.

/// The encodings that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8: what is none is damage.
    Utf8,
    /// Any other, or none that is known.
    Other,
}

/// Judges text that comes in pieces: no zero bytes, and UTF-8 where it must be.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    encoding: Encoding,
    /// The beginning of a character whose end is not there yet.
    begun: Vec<u8>,
}

impl Text {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, begun: Vec::new() }
    }

    /// Judges the next piece.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), &'static str> {
        const INVALID: &str = "there are bytes that are no UTF-8";
        if memchr::memchr(0, piece).is_some() {
            return Err("there is a zero byte");
        }
        if self.encoding == Encoding::Other {
            return Ok(());
        }
        while !self.begun.is_empty() {
            let Some((byte, rest)) = piece.split_first() else { return Ok(()) };
            self.begun.push(*byte);
            piece = rest;
            match std::str::from_utf8(&self.begun) {
                Ok(_) => self.begun.clear(),
                Err(error) if error.error_len().is_some() => return Err(INVALID),
                Err(_) => {}
            }
        }
        if let Err(error) = simdutf8::compat::from_utf8(piece) {
            if error.error_len().is_some() {
                return Err(INVALID);
            }
            self.begun.extend_from_slice(&piece[error.valid_up_to()..]);
        }
        Ok(())
    }

    /// Judges the end.
    pub(crate) fn finish(&self) -> Result<(), &'static str> {
        if self.begun.is_empty() { Ok(()) } else { Err("it ends within a character") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(pieces: &[&[u8]]) -> Result<(), &'static str> {
        let mut text = Text::new(Encoding::Utf8);
        pieces.iter().try_for_each(|piece| text.push(piece))?;
        text.finish()
    }

    #[test]
    fn characters_may_be_cut_anywhere() {
        let text = "aé€😀z".as_bytes();
        for first in 0..text.len() {
            for second in first..text.len() {
                judged(&[&text[..first], &text[first..second], &text[second..]]).unwrap();
            }
        }
    }

    #[test]
    fn what_is_no_text_is_found() {
        for pieces in [&[&b"a\0"[..]][..], &[b"\xff"], &[b"\xe2\x82", b"a"], &[b"\xe2", b"\x82"], &[b"\xed\xa0\x80"]] {
            assert!(judged(pieces).is_err(), "{pieces:?}");
        }
        assert!(Text::new(Encoding::Other).push(b"\xff").is_ok());
    }
}
