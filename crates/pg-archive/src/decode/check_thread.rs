//! Checks of decoded data in parallel with decoding: on a separate thread, once the data is large
//! enough.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use super::{DecodeError, Sink};
use crate::copy_data::Flaw;

/// The number of bytes that are checked at once.
const BUFFER_BYTES: usize = 128 * 1024;
/// The maximum number of buffers that wait for the check.
const MAX_WAITING_BUFFERS: usize = 4;
/// The number of buffers that are checked before a thread starts. Most tables and large objects are
/// smaller.
const BUFFERS_BEFORE_THREAD: u32 = 8;

/// Runs `decode`, whose output is passed to `sink`. A flaw in the decoded data takes precedence
/// over a later error of the decoder.
pub(super) fn check_in_parallel(
    sink: &mut Sink<'_>,
    decode: impl FnOnce(&mut OutputBuffer<'_, '_>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    thread::scope(|scope| {
        let checker = Checker::Inline { sink, buffers_before_thread: BUFFERS_BEFORE_THREAD };
        let mut output = OutputBuffer { scope, buffer: vec![0; BUFFER_BYTES], filled: 0, checker };
        let stop = decode(&mut output);
        output.finish()?;
        stop
    })
}

/// The output of a decoder.
pub(super) struct OutputBuffer<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    buffer: Vec<u8>,
    filled: usize,
    checker: Checker<'scope>,
}

enum Checker<'scope> {
    Inline {
        sink: &'scope mut Sink<'scope>,
        buffers_before_thread: u32,
    },
    /// Filled buffers are sent to the thread, which returns them empty.
    Thread {
        filled: SyncSender<(Vec<u8>, usize)>,
        empty: Receiver<Vec<u8>>,
        thread: ScopedJoinHandle<'scope, Result<(), Flaw>>,
    },
    Done,
}

impl OutputBuffer<'_, '_> {
    /// Returns the free part of the buffer, which is never empty.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// Records that `bytes` were written to the buffer.
    pub(super) fn advance(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.filled += bytes;
        if self.filled == self.buffer.len() {
            self.check_buffer()?;
        }
        Ok(())
    }

    /// Checks the rest, and waits until all data is checked.
    fn finish(mut self) -> Result<(), Flaw> {
        self.check_buffer()?;
        self.join()
    }

    /// Ends the thread, if one is running, and returns its flaw.
    fn join(&mut self) -> Result<(), Flaw> {
        match std::mem::replace(&mut self.checker, Checker::Done) {
            Checker::Thread { filled, thread, .. } => {
                drop(filled);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
            Checker::Inline { .. } | Checker::Done => Ok(()),
        }
    }

    fn check_buffer(&mut self) -> Result<(), Flaw> {
        let length = std::mem::take(&mut self.filled);
        match &mut self.checker {
            Checker::Done => Ok(()),
            Checker::Inline { sink, buffers_before_thread } => {
                sink(&self.buffer[..length])?;
                *buffers_before_thread -= 1;
                if *buffers_before_thread == 0 {
                    self.start_thread();
                }
                Ok(())
            }
            Checker::Thread { filled, empty, .. } => {
                let next = empty.try_recv().unwrap_or_else(|_| vec![0; BUFFER_BYTES]);
                let full = std::mem::replace(&mut self.buffer, next);
                match filled.send((full, length)) {
                    Ok(()) => Ok(()),
                    // The thread has ended with a flaw.
                    Err(_) => self.join(),
                }
            }
        }
    }

    fn start_thread(&mut self) {
        let Checker::Inline { sink, .. } = std::mem::replace(&mut self.checker, Checker::Done) else { return };
        let (filled, unchecked) = sync_channel::<(Vec<u8>, usize)>(MAX_WAITING_BUFFERS);
        let (checked, empty) = channel();
        let thread = self.scope.spawn(move || {
            unchecked.iter().try_for_each(|(buffer, length)| {
                sink(&buffer[..length])?;
                // The decoder may have stopped.
                drop(checked.send(buffer));
                Ok(())
            })
        });
        self.checker = Checker::Thread { filled, empty, thread };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `buffers` buffers, each filled with its own number.
    fn count(output: &mut OutputBuffer<'_, '_>, buffers: u8) -> Result<(), DecodeError> {
        (0..buffers).try_for_each(|number| {
            let spare_bytes = output.spare();
            spare_bytes.fill(number);
            let length = spare_bytes.len();
            output.advance(length)
        })
    }

    #[test]
    fn checks_all_buffers_in_order() {
        for buffers in [0, 1, 7, 8, 9, 100] {
            let mut seen = Vec::new();
            let keep = &mut |piece: &[u8]| {
                assert!(piece.iter().all(|byte| *byte == piece[0]));
                seen.extend(piece.first().map(|number| (*number, piece.len())));
                Ok(())
            };
            let decode = |output: &mut OutputBuffer<'_, '_>| {
                count(output, buffers)?;
                output.spare()[..3].fill(buffers);
                output.advance(3)
            };
            check_in_parallel(keep, decode).unwrap();
            let expected: Vec<_> = (0..buffers).map(|number| (number, BUFFER_BYTES)).chain([(buffers, 3)]).collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn earlier_flaw_precedes_decoder_error() {
        for (flawed, buffers) in [(1, 2), (7, 8), (8, 9), (50, 51), (50, 90)] {
            let sink = &mut |piece: &[u8]| if piece.first() == Some(&flawed) { Err("flaw".to_owned()) } else { Ok(()) };
            let stop = check_in_parallel(sink, |output| {
                count(output, buffers)?;
                Err(DecodeError::Flaw("cut".to_owned()))
            });
            assert!(matches!(&stop, Err(DecodeError::Flaw(flaw)) if flaw == "flaw"), "{flawed} {buffers}: {stop:?}");
        }
    }

    #[test]
    fn returns_decoder_error_without_flaw() {
        let stop = check_in_parallel(&mut |_| Ok(()), |output| {
            count(output, 20)?;
            Err(DecodeError::Flaw("cut".to_owned()))
        });
        assert!(matches!(&stop, Err(DecodeError::Flaw(flaw)) if flaw == "cut"), "{stop:?}");
    }
}
