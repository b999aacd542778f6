//! Checks of decoded data in parallel with decoding: on a separate thread, once the data is large
//! enough.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use super::{Sink, Stop};
use crate::rows::Flaw;

/// The number of bytes that are checked at once.
const BUFFER_BYTES: usize = 128 * 1024;
/// The maximum number of buffers that wait for the check.
const BUFFERS: usize = 4;
/// The number of buffers that are checked before a thread starts. Most tables and large objects are
/// smaller.
const WITHOUT_THREAD: u32 = 8;

/// Runs `decode`, whose output is passed to `sink`. A flaw in the decoded data takes precedence
/// over a later error of the decoder.
pub(super) fn ahead(
    sink: &mut Sink<'_>,
    decode: impl FnOnce(&mut Decoded<'_, '_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    thread::scope(|scope| {
        let judge = Judge::Here { sink, before_thread: WITHOUT_THREAD };
        let mut decoded = Decoded { scope, buffer: vec![0; BUFFER_BYTES], filled: 0, judge };
        let stop = decode(&mut decoded);
        decoded.finish()?;
        stop
    })
}

/// The output of a decoder.
pub(super) struct Decoded<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    buffer: Vec<u8>,
    filled: usize,
    judge: Judge<'scope>,
}

enum Judge<'scope> {
    Here {
        sink: &'scope mut Sink<'scope>,
        before_thread: u32,
    },
    /// Filled buffers are sent to the thread, which returns them empty.
    Thread {
        filled: SyncSender<(Vec<u8>, usize)>,
        empty: Receiver<Vec<u8>>,
        thread: ScopedJoinHandle<'scope, Result<(), Flaw>>,
    },
    Done,
}

impl Decoded<'_, '_> {
    /// Returns the free part of the buffer, which is never empty.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// Records that `bytes` were written to the buffer.
    pub(super) fn filled(&mut self, bytes: usize) -> Result<(), Stop> {
        self.filled += bytes;
        if self.filled == self.buffer.len() {
            self.judge()?;
        }
        Ok(())
    }

    /// Checks the rest, and waits until all data is checked.
    fn finish(mut self) -> Result<(), Flaw> {
        self.judge()?;
        self.join()
    }

    /// Ends the thread, if one is running, and returns its flaw.
    fn join(&mut self) -> Result<(), Flaw> {
        match std::mem::replace(&mut self.judge, Judge::Done) {
            Judge::Thread { filled, thread, .. } => {
                drop(filled);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
            Judge::Here { .. } | Judge::Done => Ok(()),
        }
    }

    fn judge(&mut self) -> Result<(), Flaw> {
        let length = std::mem::take(&mut self.filled);
        match &mut self.judge {
            Judge::Done => Ok(()),
            Judge::Here { sink, before_thread } => {
                sink(&self.buffer[..length])?;
                *before_thread -= 1;
                if *before_thread == 0 {
                    self.begin_thread();
                }
                Ok(())
            }
            Judge::Thread { filled, empty, .. } => {
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

    fn begin_thread(&mut self) {
        let Judge::Here { sink, .. } = std::mem::replace(&mut self.judge, Judge::Done) else { return };
        let (filled, to_judge) = sync_channel::<(Vec<u8>, usize)>(BUFFERS);
        let (judged, empty) = channel();
        let thread = self.scope.spawn(move || {
            to_judge.iter().try_for_each(|(buffer, length)| {
                sink(&buffer[..length])?;
                // The decoder may have stopped.
                drop(judged.send(buffer));
                Ok(())
            })
        });
        self.judge = Judge::Thread { filled, empty, thread };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `buffers` buffers, each filled with its own number.
    fn count(decoded: &mut Decoded<'_, '_>, buffers: u8) -> Result<(), Stop> {
        (0..buffers).try_for_each(|number| {
            let room = decoded.room();
            room.fill(number);
            let length = room.len();
            decoded.filled(length)
        })
    }

    #[test]
    fn all_of_it_comes_in_order() {
        for buffers in [0, 1, 7, 8, 9, 100] {
            let mut seen = Vec::new();
            let keep = &mut |piece: &[u8]| {
                assert!(piece.iter().all(|byte| *byte == piece[0]));
                seen.extend(piece.first().map(|number| (*number, piece.len())));
                Ok(())
            };
            let decode = |decoded: &mut Decoded<'_, '_>| {
                count(decoded, buffers)?;
                decoded.room()[..3].fill(buffers);
                decoded.filled(3)
            };
            ahead(keep, decode).unwrap();
            let expected: Vec<_> = (0..buffers).map(|number| (number, BUFFER_BYTES)).chain([(buffers, 3)]).collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn a_flaw_comes_before_what_stopped_the_decoder_behind_it() {
        for (flawed, buffers) in [(1, 2), (7, 8), (8, 9), (50, 51), (50, 90)] {
            let sink = &mut |piece: &[u8]| if piece.first() == Some(&flawed) { Err("flaw".to_owned()) } else { Ok(()) };
            let stop = ahead(sink, |decoded| {
                count(decoded, buffers)?;
                Err(Stop::Flaw("cut".to_owned()))
            });
            assert!(matches!(&stop, Err(Stop::Flaw(flaw)) if flaw == "flaw"), "{flawed} {buffers}: {stop:?}");
        }
    }

    #[test]
    fn what_stopped_the_decoder_is_told_where_there_is_no_flaw() {
        let stop = ahead(&mut |_| Ok(()), |decoded| {
            count(decoded, 20)?;
            Err(Stop::Flaw("cut".to_owned()))
        });
        assert!(matches!(&stop, Err(Stop::Flaw(flaw)) if flaw == "cut"), "{stop:?}");
    }
}
