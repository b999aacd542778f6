//! Processes the batches of a payload on several threads, and returns the results in order.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::batch::{Batch, Batches};

/// The maximum number of threads; with more, encryption is faster than any other stage.
const MAX_THREADS: usize = 4;

/// The maximum number of results that wait for a slower one.
const MAX_WAITING: usize = 2 * MAX_THREADS;

/// Runs `work` on every batch, and passes the results to `emit` in the order of the batches.
///
/// Each thread takes a batch, processes it and passes the result on itself, so that the bytes stay
/// in its processor's cache.
pub(super) fn process_in_parallel(
    mut batches: Batches<'_>,
    work: impl Fn(Batch) -> io::Result<Vec<u8>> + Sync,
    mut emit: impl FnMut(Vec<u8>) -> io::Result<()> + Send,
) -> io::Result<()> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let mut first = None;
    while let Some(batch) = batches.next()? {
        if batch.last {
            // A payload of one batch is too small for threads.
            return emit(work(batch)?);
        }
        if threads > 1 {
            first = Some(batch);
            break;
        }
        emit(work(batch)?)?;
    }
    let Some(first) = first else { return Ok(()) };
    let queue = Mutex::new(Queue { batches, first: Some(first), taken: 0 });
    let sink = Sink::new(emit);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _guard = PanicGuard(&sink);
                loop {
                    let taken = lock(&queue).next();
                    let Some((number, batch)) = taken else { break };
                    if !sink.submit(number, batch.and_then(&work)) {
                        break;
                    }
                }
            });
        }
    });
    lock(&sink.state).ended.take().unwrap_or(Ok(()))
}

/// The queue from which the threads take batches.
struct Queue<'a> {
    batches: Batches<'a>,
    /// The first batch, which was read ahead.
    first: Option<Batch>,
    /// The number of batches taken.
    taken: u64,
}

impl Queue<'_> {
    /// Returns the number of the next batch, and the batch or the error from reading it.
    fn next(&mut self) -> Option<(u64, io::Result<Batch>)> {
        let batch = match self.first.take() {
            Some(first) => Ok(first),
            None => self.batches.next().transpose()?,
        };
        let number = self.taken;
        self.taken += 1;
        Some((number, batch))
    }
}

/// The ordered output of the threads: the thread with the next result passes it on, followed by the
/// results that other threads have queued behind it.
struct Sink<D> {
    state: Mutex<State<D>>,
    /// Wakes the threads that wait for space.
    space_freed: Condvar,
}

struct State<D> {
    /// The results that wait for their turn.
    waiting: BTreeMap<u64, io::Result<Vec<u8>>>,
    /// The number of the next batch to pass on.
    next: u64,
    /// The final result, if the work ended before the last batch.
    ended: Option<io::Result<()>>,
    /// The consumer of the results, unless a thread is calling it.
    emit: Option<D>,
}

impl<D: FnMut(Vec<u8>) -> io::Result<()>> Sink<D> {
    fn new(emit: D) -> Self {
        let state = State { waiting: BTreeMap::new(), next: 0, ended: None, emit: Some(emit) };
        Self { state: Mutex::new(state), space_freed: Condvar::new() }
    }

    /// Queues a result, passes on all results that are due, and returns true unless the work has
    /// ended.
    fn submit(&self, number: u64, result: io::Result<Vec<u8>>) -> bool {
        let is_full =
            |state: &mut State<D>| state.waiting.len() >= MAX_WAITING && state.next != number && state.ended.is_none();
        let mut state = self.space_freed.wait_while(lock(&self.state), is_full).unwrap_or_else(PoisonError::into_inner);
        state.waiting.insert(number, result);
        let Some(mut emit) = state.emit.take() else { return state.ended.is_none() };
        while state.ended.is_none() {
            let number = state.next;
            let Some(result) = state.waiting.remove(&number) else { break };
            drop(state);
            // The consumer may block; the other threads continue.
            let passed = result.and_then(&mut emit);
            state = lock(&self.state);
            state.next += 1;
            if let Err(error) = passed {
                state.ended.get_or_insert(Err(error));
            }
            self.space_freed.notify_all();
        }
        state.emit = Some(emit);
        state.ended.is_none()
    }
}

/// Ends the work of all threads if one of them panics: they would wait for its result forever.
struct PanicGuard<'a, D>(&'a Sink<D>);

impl<D> Drop for PanicGuard<'_, D> {
    fn drop(&mut self) {
        if thread::panicking() {
            let error = io::Error::other("an encryption thread panicked");
            lock(&self.0.state).ended.get_or_insert(Err(error));
            self.0.space_freed.notify_all();
        }
    }
}

/// Locks a mutex. Poisoning is ignored, for the [`PanicGuard`] of a thread that panics ends the
/// work.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::payload::batch::BATCH_CHUNKS;

    /// The number of batches.
    const BATCHES: usize = 50;

    /// Processes batches of equal size, and returns the numbers of their first chunks in output
    /// order.
    fn numbers(
        work: impl Fn(u64) -> io::Result<()> + Sync,
        mut emit: impl FnMut(usize) -> io::Result<()> + Send,
    ) -> (Vec<u64>, io::Result<()>) {
        let content = [0; BATCHES * BATCH_CHUNKS];
        let mut numbers = Vec::new();
        let ended = process_in_parallel(
            Batches::new(&mut &content[..], 1),
            |batch| work(batch.first_chunk).map(|()| batch.first_chunk.to_be_bytes().to_vec()),
            |result| {
                numbers.push(u64::from_be_bytes(result.try_into().unwrap()));
                emit(numbers.len())
            },
        );
        (numbers, ended)
    }

    fn is_in_order(numbers: &[u64]) -> bool {
        numbers.iter().zip(0..).all(|(number, index)| *number == index * numbers[1])
    }

    #[test]
    fn results_keep_order_of_batches() {
        let uneven = |chunk: u64| {
            thread::sleep(Duration::from_micros(chunk * 7919 % 5000));
            Ok(())
        };
        let (numbers, ended) = numbers(uneven, |_| Ok(()));
        assert!(ended.is_ok() && numbers.len() == BATCHES && is_in_order(&numbers), "{numbers:?}");
    }

    #[test]
    fn first_failure_ends_output_after_earlier_results() {
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
    fn consumer_error_ends_work() {
        let (numbers, ended) =
            numbers(|_| Ok(()), |count| if count == 3 { Err(io::Error::other("full")) } else { Ok(()) });
        assert_eq!((numbers.len(), ended.unwrap_err().to_string().as_str()), (3, "full"));
    }

    #[test]
    fn panic_of_one_thread_ends_all() {
        let panics = |chunk: u64| if chunk == 20 { panic!("on purpose") } else { Ok(()) };
        let panicked = std::panic::catch_unwind(|| numbers(panics, |_| Ok(())));
        assert!(panicked.is_err(), "the panic reaches the caller");
    }
}
