//! Processes the pieces of a payload on several threads, and returns the results in order.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::pieces::{Piece, Pieces};

/// The maximum number of threads; with more, encryption is faster than any other stage.
const MAX_LANES: usize = 4;

/// The maximum number of results that wait for a slower one.
const MAX_WAITING: usize = 2 * MAX_LANES;

/// Runs `work` on every piece, and passes the results to `done` in the order of the pieces.
///
/// Each thread takes a piece, processes it and passes the result on itself, so that the bytes stay
/// in its processor's cache.
pub(super) fn in_lanes(
    mut pieces: Pieces<'_>,
    work: impl Fn(Piece) -> io::Result<Vec<u8>> + Sync,
    mut done: impl FnMut(Vec<u8>) -> io::Result<()> + Send,
) -> io::Result<()> {
    let lanes = thread::available_parallelism().map_or(1, usize::from).min(MAX_LANES);
    let mut first = None;
    while let Some(piece) = pieces.next()? {
        if piece.last {
            // A payload of one piece is too small for threads.
            return done(work(piece)?);
        }
        if lanes > 1 {
            first = Some(piece);
            break;
        }
        done(work(piece)?)?;
    }
    let Some(first) = first else { return Ok(()) };
    let queue = Mutex::new(Queue { pieces, first: Some(first), taken: 0 });
    let sink = Sink::new(done);
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                let _guard = Guard(&sink);
                loop {
                    let taken = held(&queue).next();
                    let Some((turn, piece)) = taken else { break };
                    if !sink.pass(turn, piece.and_then(&work)) {
                        break;
                    }
                }
            });
        }
    });
    held(&sink.place).ended.take().unwrap_or(Ok(()))
}

/// The queue from which the threads take pieces.
struct Queue<'a> {
    pieces: Pieces<'a>,
    /// The first piece, which was read ahead.
    first: Option<Piece>,
    /// The number of pieces taken.
    taken: u64,
}

impl Queue<'_> {
    /// Returns the number of the next piece, and the piece or the error from reading it.
    fn next(&mut self) -> Option<(u64, io::Result<Piece>)> {
        let piece = match self.first.take() {
            Some(first) => Ok(first),
            None => self.pieces.next().transpose()?,
        };
        let turn = self.taken;
        self.taken += 1;
        Some((turn, piece))
    }
}

/// The ordered output of the threads: the thread with the next result passes it on, followed by the
/// results that other threads have queued behind it.
struct Sink<D> {
    place: Mutex<Place<D>>,
    /// Wakes the threads that wait for space.
    moved: Condvar,
}

struct Place<D> {
    /// The results that wait for their turn.
    waiting: BTreeMap<u64, io::Result<Vec<u8>>>,
    /// The number of the next piece to pass on.
    turn: u64,
    /// The final result, if the work ended before the last piece.
    ended: Option<io::Result<()>>,
    /// The consumer of the results, unless a thread is calling it.
    done: Option<D>,
}

impl<D: FnMut(Vec<u8>) -> io::Result<()>> Sink<D> {
    fn new(done: D) -> Self {
        let place = Place { waiting: BTreeMap::new(), turn: 0, ended: None, done: Some(done) };
        Self { place: Mutex::new(place), moved: Condvar::new() }
    }

    /// Queues a result, passes on all results that are due, and returns true unless the work has
    /// ended.
    fn pass(&self, turn: u64, result: io::Result<Vec<u8>>) -> bool {
        let is_full =
            |place: &mut Place<D>| place.waiting.len() >= MAX_WAITING && place.turn != turn && place.ended.is_none();
        let mut place = self.moved.wait_while(held(&self.place), is_full).unwrap_or_else(PoisonError::into_inner);
        place.waiting.insert(turn, result);
        let Some(mut done) = place.done.take() else { return place.ended.is_none() };
        while place.ended.is_none() {
            let turn = place.turn;
            let Some(result) = place.waiting.remove(&turn) else { break };
            drop(place);
            // The consumer may block; the other threads continue.
            let passed = result.and_then(&mut done);
            place = held(&self.place);
            place.turn += 1;
            if let Err(error) = passed {
                place.ended.get_or_insert(Err(error));
            }
            self.moved.notify_all();
        }
        place.done = Some(done);
        place.ended.is_none()
    }
}

/// Ends the work of all threads if one of them panics: they would wait for its result forever.
struct Guard<'a, D>(&'a Sink<D>);

impl<D> Drop for Guard<'_, D> {
    fn drop(&mut self) {
        if thread::panicking() {
            let gone = io::Error::other("an encryption thread panicked");
            held(&self.0.place).ended.get_or_insert(Err(gone));
            self.0.moved.notify_all();
        }
    }
}

/// Locks a mutex. Poisoning is ignored, for the [`Guard`] of a thread that panics ends the work.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::payload::pieces::PIECE_CHUNKS;

    /// The number of pieces.
    const PIECES: usize = 50;

    /// Processes pieces of equal size, and returns the numbers of their first chunks in output
    /// order.
    fn numbers(
        work: impl Fn(u64) -> io::Result<()> + Sync,
        mut done: impl FnMut(usize) -> io::Result<()> + Send,
    ) -> (Vec<u64>, io::Result<()>) {
        let content = [0; PIECES * PIECE_CHUNKS];
        let mut numbers = Vec::new();
        let ended = in_lanes(
            Pieces::new(&mut &content[..], 1),
            |piece| work(piece.first_chunk).map(|()| piece.first_chunk.to_be_bytes().to_vec()),
            |result| {
                numbers.push(u64::from_be_bytes(result.try_into().unwrap()));
                done(numbers.len())
            },
        );
        (numbers, ended)
    }

    fn is_in_order(numbers: &[u64]) -> bool {
        numbers.iter().zip(0..).all(|(number, place)| *number == place * numbers[1])
    }

    #[test]
    fn results_come_in_the_order_of_the_pieces_whatever_each_takes() {
        let uneven = |chunk: u64| {
            thread::sleep(Duration::from_micros(chunk * 7919 % 5000));
            Ok(())
        };
        let (numbers, ended) = numbers(uneven, |_| Ok(()));
        assert!(ended.is_ok() && numbers.len() == PIECES && is_in_order(&numbers), "{numbers:?}");
    }

    #[test]
    fn the_first_failure_ends_it_and_all_before_it_came_out() {
        let fails = |chunk: u64| {
            if chunk < 40 {
                thread::sleep(Duration::from_millis(1));
                return Ok(());
            }
            Err(io::Error::other(chunk.to_string()))
        };
        let (numbers, ended) = numbers(fails, |_| Ok(()));
        assert_eq!(ended.unwrap_err().to_string(), "40");
        assert_eq!((numbers.last(), is_in_order(&numbers)), (Some(&36), true));
    }

    #[test]
    fn who_takes_the_results_may_end_it() {
        let (numbers, ended) =
            numbers(|_| Ok(()), |count| if count == 3 { Err(io::Error::other("full")) } else { Ok(()) });
        assert_eq!((numbers.len(), ended.unwrap_err().to_string().as_str()), (3, "full"));
    }

    #[test]
    fn a_thread_that_panics_keeps_none_waiting() {
        let panics = |chunk: u64| if chunk == 20 { panic!("on purpose") } else { Ok(()) };
        let panicked = std::panic::catch_unwind(|| numbers(panics, |_| Ok(())));
        assert!(panicked.is_err(), "the panic reaches the caller");
    }
}
