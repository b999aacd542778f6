//! Work on the pieces of a payload by several threads, whose results come out in order.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::pieces::{Piece, Pieces};

/// More threads than this seal faster than anything else works.
const MAX_LANES: usize = 4;

/// How many pieces a thread has before it.
const PIECES_AHEAD: usize = 2;

/// Has `work` done on every piece, and gives the results to `done` in the order of the pieces.
pub(super) fn in_lanes<R: Read>(
    mut pieces: Pieces<R>,
    work: impl Fn(Piece) -> io::Result<Vec<u8>> + Sync,
    mut done: impl FnMut(Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let lanes = thread::available_parallelism().map_or(1, usize::from).min(MAX_LANES);
    let mut first = None;
    while let Some(piece) = pieces.next()? {
        if piece.last {
            // What is small is worth no threads.
            return done(work(piece)?);
        }
        if lanes > 1 {
            first = Some(piece);
            break;
        }
        done(work(piece)?)?;
    }
    thread::scope(|scope| {
        let lanes: Vec<Lane> = (0..lanes)
            .map(|_| {
                let (pieces, waiting) = sync_channel(PIECES_AHEAD);
                let (finished, results) = sync_channel(PIECES_AHEAD);
                let work = &work;
                scope.spawn(move || {
                    for piece in waiting {
                        if finished.send(work(piece)).is_err() {
                            break;
                        }
                    }
                });
                Lane { pieces, results }
            })
            .collect();
        let mut under_way = 0..0_usize;
        loop {
            let piece = match first.take() {
                Some(piece) => Some(piece),
                None => pieces.next()?,
            };
            let Some(piece) = piece else { break };
            if under_way.len() == lanes.len() * PIECES_AHEAD {
                done(lanes[under_way.start % lanes.len()].result()?)?;
                under_way.start += 1;
            }
            lanes[under_way.end % lanes.len()].pieces.send(piece).map_err(|_| gone())?;
            under_way.end += 1;
        }
        for number in under_way {
            done(lanes[number % lanes.len()].result()?)?;
        }
        Ok(())
    })
}

/// One thread's work, before and after it.
struct Lane {
    pieces: SyncSender<Piece>,
    results: Receiver<io::Result<Vec<u8>>>,
}

impl Lane {
    fn result(&self) -> io::Result<Vec<u8>> {
        self.results.recv().map_err(|_| gone())?
    }
}

/// A thread ends early only if it panicked.
fn gone() -> io::Error {
    io::Error::other("a thread that seals or opens went away")
}
