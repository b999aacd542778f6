//! Work on the pieces of a payload by several threads, whose results come out in order.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::pieces::{Piece, Pieces};

/// More threads than this seal faster than anything else works.
const MAX_LANES: usize = 4;

/// How many results may wait for one that takes longer.
const MAX_WAITING: usize = 2 * MAX_LANES;

/// Has `work` done on every piece, and gives the results to `done` in the order of the pieces.
///
/// Each thread takes a piece, works on it and passes it on by itself, so that what it has read is still near it when it works on it.
pub(super) fn in_lanes(
    mut pieces: Pieces<'_>,
    work: impl Fn(Piece) -> io::Result<Vec<u8>> + Sync,
    mut done: impl FnMut(Vec<u8>) -> io::Result<()> + Send,
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

/// Where the threads take pieces from.
struct Queue<'a> {
    pieces: Pieces<'a>,
    /// The piece that was looked at first.
    first: Option<Piece>,
    /// How many were taken.
    taken: u64,
}

impl Queue<'_> {
    /// The next piece, or what kept it from being read, and whose turn it is.
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

/// Where the threads pass on what they have done, in its order: whoever has what is next passes that on, and what others have left here
/// behind it.
struct Sink<D> {
    place: Mutex<Place<D>>,
    /// Wakes those who wait for room.
    moved: Condvar,
}

struct Place<D> {
    /// What waits for its turn.
    waiting: BTreeMap<u64, io::Result<Vec<u8>>>,
    /// Whose turn it is.
    turn: u64,
    /// How it ended, before the end of the pieces.
    ended: Option<io::Result<()>>,
    /// Who takes the results, unless somebody is passing one on.
    done: Option<D>,
}

impl<D: FnMut(Vec<u8>) -> io::Result<()>> Sink<D> {
    fn new(done: D) -> Self {
        let place = Place { waiting: BTreeMap::new(), turn: 0, ended: None, done: Some(done) };
        Self { place: Mutex::new(place), moved: Condvar::new() }
    }

    /// Leaves a result, passes on what can be, and tells whether to go on.
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
            // Whoever takes it may keep us waiting; the others work on.
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

/// Ends the work of all threads where one of them panicked: they would wait for its turn for ever.
struct Guard<'a, D>(&'a Sink<D>);

impl<D> Drop for Guard<'_, D> {
    fn drop(&mut self) {
        if thread::panicking() {
            let gone = io::Error::other("a thread that seals or opens went away");
            held(&self.0.place).ended.get_or_insert(Err(gone));
            self.0.moved.notify_all();
        }
    }
}

/// What a mutex guards; whoever panicked while holding it has ended the work, by its guard.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::payload::pieces::PIECE_CHUNKS;

    /// How many pieces there are.
    const PIECES: usize = 50;

    /// Works on pieces of as many bytes each, and tells the numbers of their first chunks in the order in which they came out.
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
        assert!(panicked.is_err(), "whoever waits for the threads hears of it");
    }
}
