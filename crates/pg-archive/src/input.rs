//! The archive's bytes with their offset, and the primitives of the archive format.

use std::io::{self, BufRead};

use crate::error::{Error, Result};

/// The length in bytes of the longest string that is kept. No name and no list of a table's columns
/// is longer.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// Bytes that are read once, from the first to the last.
pub(crate) struct Input<R> {
    inner: R,
    offset: u64,
    /// The number of bytes that are certainly buffered.
    buffered: usize,
}

impl<R: BufRead> Input<R> {
    /// Creates an input over the bytes of `inner`.
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, offset: 0, buffered: 0 }
    }

    /// Creates an input over the bytes of `inner`, of which `offset` were read before.
    pub(crate) fn from(inner: R, offset: u64) -> Self {
        Self { offset, ..Self::new(inner) }
    }

    /// Consumes and returns the first bytes: `length`, or fewer at the end.
    pub(crate) fn head(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut head = Vec::with_capacity(length);
        while head.len() < length {
            let buffered = self.fill("beginning of the archive")?;
            let taken = buffered.len().min(length - head.len());
            if taken == 0 {
                break;
            }
            head.extend_from_slice(&buffered[..taken]);
            self.consume(taken);
        }
        Ok(head)
    }

    /// Returns the inner reader at the current place.
    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// Returns the number of bytes read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the buffered bytes, which are empty only at the end.
    #[inline]
    pub(crate) fn fill(&mut self, place: &str) -> Result<&[u8]> {
        // The bytes are requested again after the wait, since a loop that may continue cannot
        // return the slice.
        if self.buffered == 0 {
            self.wait(place)?;
        }
        self.inner.fill_buf().map_err(|error| Error::read_failed(self.offset, place, error))
    }

    /// Waits for bytes, or for the end.
    fn wait(&mut self, place: &str) -> Result<()> {
        loop {
            match self.inner.fill_buf() {
                Ok(piece) => {
                    self.buffered = piece.len();
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::read_failed(self.offset, place, error)),
            }
        }
    }

    /// Consumes bytes that [`fill`](Self::fill) returned.
    #[inline]
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.inner.consume(bytes);
        self.offset += bytes as u64;
        self.buffered -= bytes;
    }

    /// Returns the error of an archive that ends too early.
    pub(crate) fn truncated(&self, place: &str, expected: &str) -> Error {
        Error::damaged(self.offset, place, format!("the archive ends here, before {expected}: it is cut"))
    }

    /// Returns true if no bytes are left.
    pub(crate) fn is_at_end(&mut self) -> Result<bool> {
        Ok(self.fill("end of the archive")?.is_empty())
    }

    /// Reads the next byte.
    pub(crate) fn byte(&mut self, place: &str, expected: &str) -> Result<u8> {
        let Some(&byte) = self.fill(place)?.first() else { return Err(self.truncated(place, expected)) };
        self.consume(1);
        Ok(byte)
    }

    /// Fills `buffer` with the next bytes.
    pub(crate) fn exact(&mut self, mut buffer: &mut [u8], place: &str, expected: &str) -> Result<()> {
        while !buffer.is_empty() {
            let buffered = self.fill(place)?;
            let length = buffered.len().min(buffer.len());
            if length == 0 {
                return Err(self.truncated(place, expected));
            }
            buffer[..length].copy_from_slice(&buffered[..length]);
            buffer = &mut buffer[length..];
            self.consume(length);
        }
        Ok(())
    }

    /// Passes the next `length` bytes to `with`, piece by piece, without keeping them.
    pub(crate) fn pieces(
        &mut self,
        mut length: u64,
        place: &str,
        expected: &str,
        mut with: impl FnMut(&[u8]),
    ) -> Result<()> {
        while length > 0 {
            let buffered = self.fill(place)?;
            let taken = buffered.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            if taken == 0 {
                return Err(self.truncated(place, &format!("{length} more bytes of {expected}")));
            }
            with(&buffered[..taken]);
            self.consume(taken);
            length -= taken as u64;
        }
        Ok(())
    }
}

/// The sizes of numbers in the archive, from its header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Widths {
    /// The number of bytes of an Int's magnitude.
    pub(crate) int: u8,
    /// The number of bytes of an offset.
    pub(crate) offset: u8,
}

impl<R: BufRead> Input<R> {
    /// Reads an Int: one byte for the sign, then the magnitude, least significant byte first.
    pub(crate) fn int(&mut self, widths: Widths, place: &str, expected: &str) -> Result<i32> {
        let at = self.offset;
        let length = usize::from(widths.int) + 1;
        let mut bytes = [0; 9];
        match self.fill(place)?.get(..length) {
            // Usually all bytes of the number are buffered.
            Some(buffered) => {
                bytes[..length].copy_from_slice(buffered);
                self.consume(length);
            }
            None => self.exact(&mut bytes[..length], place, expected)?,
        }
        let bytes = &bytes[..length];
        let magnitude = little_endian(&bytes[1..]);
        let value = match bytes[0] {
            0 => i32::try_from(magnitude).ok(),
            // The smallest number's magnitude is one greater than the largest number's.
            1 if magnitude == 1 << 31 => Some(i32::MIN),
            // pg_dump never writes a negative zero.
            1 if magnitude == 0 => None,
            1 => i32::try_from(magnitude).ok().map(|value| -value),
            sign => {
                let message = format!("{expected} begins with byte {sign}, where a sign, 0 or 1, was expected");
                return Err(Error::damaged(at, place, message));
            }
        };
        value.ok_or_else(|| {
            Error::damaged(
                at,
                place,
                format!(
                    "{expected} has the sign {} and the magnitude {magnitude}, which is not a valid number",
                    bytes[0]
                ),
            )
        })
    }

    /// Reads chunks, each a length and as many bytes, as long as they are buffered completely and
    /// fit into `output`. Returns the number of bytes copied.
    ///
    /// Stops at a length that is zero or invalid, which the caller then reads separately.
    pub(crate) fn coalesce_chunks(&mut self, widths: Widths, output: &mut [u8]) -> usize {
        const INT_BYTES: usize = 5;
        if self.buffered == 0 || usize::from(widths.int) + 1 != INT_BYTES {
            return 0;
        }
        let Ok(buffered) = self.inner.fill_buf() else { return 0 };
        let (mut rest, mut copied) = (buffered, 0);
        while let Some(([0, magnitude @ ..], behind)) = rest.split_first_chunk::<INT_BYTES>() {
            let length = u32::from_le_bytes(*magnitude) as usize;
            let (Some(chunk), Some(free)) = (behind.get(..length), output.get_mut(copied..copied + length)) else {
                break;
            };
            if length == 0 {
                break;
            }
            free.copy_from_slice(chunk);
            copied += length;
            rest = &behind[length..];
        }
        let taken = buffered.len() - rest.len();
        self.consume(taken);
        copied
    }

    /// Skips chunks, each a length and as many bytes, as long as they are buffered completely:
    /// [`coalesce_chunks`](Self::coalesce_chunks) without copying.
    pub(crate) fn skip_chunks(&mut self, widths: Widths) {
        const INT_BYTES: usize = 5;
        if self.buffered == 0 || usize::from(widths.int) + 1 != INT_BYTES {
            return;
        }
        let Ok(buffered) = self.inner.fill_buf() else { return };
        let mut rest = buffered;
        while let Some(([0, magnitude @ ..], behind)) = rest.split_first_chunk::<INT_BYTES>()
            && let length @ 1.. = u32::from_le_bytes(*magnitude) as usize
            && let Some(after) = behind.get(length..)
        {
            rest = after;
        }
        let taken = buffered.len() - rest.len();
        self.consume(taken);
    }

    /// Reads the bytes of an offset, without the preceding state byte.
    pub(crate) fn position(&mut self, widths: Widths, place: &str) -> Result<u64> {
        let mut bytes = [0; 8];
        let bytes = &mut bytes[..usize::from(widths.offset)];
        self.exact(bytes, place, "an offset")?;
        Ok(little_endian(bytes))
    }

    /// Reads the length of a string, or `None` for NULL.
    fn length(&mut self, widths: Widths, place: &str, expected: &str) -> Result<Option<u64>> {
        let at = self.offset;
        match self.int(widths, place, expected)? {
            -1 => Ok(None),
            length => match u64::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(Error::damaged(at, place, format!("{expected} has the length {length}"))),
            },
        }
    }

    /// Reads a string and keeps it. Returns `None` for NULL.
    pub(crate) fn text(&mut self, widths: Widths, place: &str, expected: &str) -> Result<Option<Vec<u8>>> {
        let at = self.offset;
        let Some(length) = self.length(widths, place, expected)? else { return Ok(None) };
        if length > MAX_KEPT_BYTES as u64 {
            let message = format!("{expected} is {length} bytes long, where at most {MAX_KEPT_BYTES} were expected");
            return Err(Error::damaged(at, place, message));
        }
        let mut text = Vec::new();
        self.pieces(length, place, expected, |piece| text.extend_from_slice(piece))?;
        if memchr::memchr(0, &text).is_some() {
            return Err(Error::damaged(at, place, format!("{expected} contains a zero byte")));
        }
        Ok(Some(text))
    }

    /// Passes a string of any length to `with`, piece by piece, without keeping it. Returns false
    /// for NULL.
    pub(crate) fn long_text(
        &mut self,
        widths: Widths,
        place: &str,
        expected: &str,
        mut with: impl FnMut(&[u8]),
    ) -> Result<bool> {
        let at = self.offset;
        let Some(length) = self.length(widths, place, expected)? else { return Ok(false) };
        let mut zero = false;
        self.pieces(length, place, expected, |piece| {
            zero |= memchr::memchr(0, piece).is_some();
            with(piece);
        })?;
        if zero {
            return Err(Error::damaged(at, place, format!("{expected} contains a zero byte")));
        }
        Ok(true)
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTHS: Widths = Widths { int: 4, offset: 8 };

    fn int(bytes: &[u8]) -> Result<i32> {
        Input::new(bytes).int(WIDTHS, "here", "a number")
    }

    #[test]
    fn reads_int_as_sign_and_magnitude() {
        for (bytes, value) in [
            ([0, 1, 0, 0, 0], 1),
            ([1, 1, 0, 0, 0], -1),
            ([0, 0, 0, 0, 0], 0),
            ([0, 0xff, 0xff, 0xff, 0x7f], i32::MAX),
            ([1, 0, 0, 0, 0x80], i32::MIN),
        ] {
            assert_eq!(int(&bytes).unwrap(), value);
        }
    }

    #[test]
    fn rejects_invalid_int() {
        for bytes in [&[2, 0, 0, 0, 0][..], &[0, 0, 0, 0, 0x80], &[1, 1, 0, 0, 0x80], &[0, 1, 0]] {
            let error = int(bytes).unwrap_err();
            assert_eq!((error.kind, error.place.as_str()), (crate::ErrorKind::Damaged, "here"), "{bytes:?}");
        }
    }

    #[test]
    fn string_length_allocates_no_memory() {
        let bytes = [0, 0xff, 0xff, 0xff, 0x7f, b'x'];
        let error = Input::new(&bytes[..]).text(WIDTHS, "here", "a name").unwrap_err();
        assert!(error.message.contains("2147483647 bytes long"), "{error}");
        let error = Input::new(&bytes[..]).long_text(WIDTHS, "here", "a text", |_| ()).unwrap_err();
        assert!(error.message.contains("it is cut"), "{error}");
    }

    #[test]
    fn coalesces_chunks_that_are_valid_and_fit() {
        let chunk = |length: u8, text: &[u8]| [&[0, length, 0, 0, 0][..], text].concat();
        for (bytes, output, copied, offset) in [
            (chunk(2, b"ab"), 10, 2, 7),
            ([chunk(2, b"ab"), chunk(3, b"cde")].concat(), 10, 5, 15),
            ([chunk(2, b"ab"), chunk(3, b"cde")].concat(), 4, 2, 7),
            ([chunk(2, b"ab"), chunk(0, b"")].concat(), 10, 2, 7),
            ([chunk(2, b"ab"), chunk(3, b"cd")].concat(), 10, 2, 7),
            ([chunk(2, b"ab"), vec![0, 1, 0]].concat(), 10, 2, 7),
            ([chunk(2, b"ab"), vec![1, 1, 0, 0, 0, b'x']].concat(), 10, 2, 7),
            ([chunk(2, b"ab"), vec![0, 0xff, 0xff, 0xff, 0xff, b'x']].concat(), 10, 2, 7),
        ] {
            let mut input = Input::new(&bytes[..]);
            input.fill("here").unwrap();
            let mut place = vec![0; output];
            assert_eq!((input.coalesce_chunks(WIDTHS, &mut place), input.offset()), (copied, offset), "{bytes:?}");
            assert_eq!(&place[..copied], &b"abcde"[..copied]);
        }
    }

    #[test]
    fn distinguishes_null_from_empty_string() {
        assert_eq!(Input::new(&[1, 1, 0, 0, 0][..]).text(WIDTHS, "", "").unwrap(), None);
        assert_eq!(Input::new(&[0, 0, 0, 0, 0][..]).text(WIDTHS, "", "").unwrap(), Some(Vec::new()));
    }
}
