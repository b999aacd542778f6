//! How hard zstd tries: as asked for, or as hard as it can without holding anybody up.

use std::time::Duration;

use crate::stream::MAX_WAITING;

/// zstd's own default, where an adaptive level begins.
const FIRST: i32 = 3;
/// The bounds of an adaptive level: below, a dump is larger than gzip would make it; above, it costs much for little.
const BOUNDS: (i32, i32) = (1, 7);
/// How many bytes pass before the level is thought over again.
const PERIOD_BYTES: u64 = 16 << 20;
/// How many chunks come of them, at least: whoever takes them takes several at once, so that one wait is for all of these.
const PERIOD_CHUNKS: u64 = MAX_WAITING as u64;

/// How hard zstd tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// This hard, from 1 to 19.
    Fixed(i32),
    /// From 1 to 7, beginning at 3: less where compression holds the dump up, more where a destination does, and its bytes are dearer
    /// than ours.
    Adaptive,
}

/// What compression cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// The lowest level, and the highest, that was used.
    pub levels: (i32, i32),
    /// How long the dump waited for it.
    pub held_up: Duration,
}

/// Who waited for whom so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    /// Since the beginning.
    pub(super) passed: Duration,
    /// Compression waited for the dump.
    pub(super) for_input: Duration,
    /// Compression waited for what comes behind it.
    pub(super) for_output: Duration,
    /// How many chunks that took.
    pub(super) chunks: u64,
}

impl Clock {
    /// The dump, and what comes behind, waited for compression.
    fn held_up(&self) -> Duration {
        self.passed.saturating_sub(self.for_input + self.for_output)
    }
}

/// Finds the level as it goes.
#[derive(Debug)]
pub(super) struct Tuner {
    asked: Level,
    level: i32,
    effort: (i32, i32),
    bytes: u64,
    last: Clock,
}

impl Tuner {
    pub(super) fn new(asked: Level) -> Self {
        let level = match asked {
            Level::Fixed(level) => level,
            Level::Adaptive => FIRST,
        };
        Self { asked, level, effort: (level, level), bytes: 0, last: Clock::default() }
    }

    /// The level by now.
    pub(super) fn level(&self) -> i32 {
        self.level
    }

    /// Hears of `bytes` more, and says which level is better now, if it is another.
    pub(super) fn hear(&mut self, bytes: u64, now: Clock) -> Option<i32> {
        self.bytes += bytes;
        let is_over = self.bytes >= PERIOD_BYTES && now.chunks - self.last.chunks >= PERIOD_CHUNKS;
        if self.asked != Level::Adaptive || !is_over {
            return None;
        }
        let most = (now.passed - self.last.passed) / 2;
        let (output, own) = (now.for_output - self.last.for_output, now.held_up().saturating_sub(self.last.held_up()));
        (self.bytes, self.last) = (0, now);
        let better = match () {
            () if own > most => self.level - 1,
            () if output > most => self.level + 1,
            () => self.level,
        };
        let better = better.clamp(BOUNDS.0, BOUNDS.1);
        let changed = (better != self.level).then_some(better);
        self.level = better;
        self.effort = (self.effort.0.min(better), self.effort.1.max(better));
        changed
    }

    /// What it came to.
    pub(super) fn effort(&self, now: Clock) -> Effort {
        Effort { levels: self.effort, held_up: now.held_up() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A level after periods of a second each, of which compression waits so many milliseconds for input, and so many for output.
    fn after(asked: Level, periods: &[(u64, u64)]) -> Effort {
        let (mut tuner, mut clock) = (Tuner::new(asked), Clock::default());
        for (input, output) in periods {
            clock.passed += Duration::from_secs(1);
            clock.for_input += Duration::from_millis(*input);
            clock.for_output += Duration::from_millis(*output);
            clock.chunks += PERIOD_CHUNKS;
            let before = tuner.level();
            let changed = tuner.hear(PERIOD_BYTES, clock);
            assert_eq!(changed, (before != tuner.level()).then(|| tuner.level()));
        }
        tuner.effort(clock)
    }

    #[test]
    fn what_holds_the_dump_up_tries_less_hard() {
        assert_eq!(after(Level::Adaptive, &[(100, 0)]).levels, (2, 3));
        assert_eq!(after(Level::Adaptive, &[(100, 0); 9]).levels, (1, 3));
    }

    #[test]
    fn what_waits_for_a_destination_tries_harder() {
        assert_eq!(after(Level::Adaptive, &[(0, 900)]).levels, (3, 4));
        assert_eq!(after(Level::Adaptive, &[(0, 900); 9]).levels, (3, 7));
    }

    #[test]
    fn what_waits_for_the_dump_costs_its_host_no_more() {
        assert_eq!(after(Level::Adaptive, &[(900, 0); 9]).levels, (3, 3));
    }

    #[test]
    fn what_was_asked_for_stays() {
        assert_eq!(after(Level::Fixed(9), &[(0, 0), (0, 900)]).levels, (9, 9));
    }

    #[test]
    fn the_cost_is_what_others_waited() {
        assert_eq!(after(Level::Adaptive, &[(700, 100); 10]).held_up, Duration::from_secs(2));
    }

    #[test]
    fn a_few_bytes_say_nothing() {
        let mut tuner = Tuner::new(Level::Adaptive);
        let late = Clock { passed: Duration::from_secs(9), chunks: PERIOD_CHUNKS, ..Clock::default() };
        assert_eq!(tuner.hear(1000, late), None);
    }

    /// What compresses well: a slow destination takes several chunks at once, and then nothing for long.
    #[test]
    fn who_waits_once_for_several_chunks_does_not_hold_the_dump_up() {
        let (mut tuner, mut clock) = (Tuner::new(Level::Adaptive), Clock::default());
        for chunk in 1..=9 * PERIOD_CHUNKS {
            clock.chunks = chunk;
            let waited = Duration::from_millis(if chunk.is_multiple_of(PERIOD_CHUNKS) { 900 } else { 0 });
            clock.for_output += waited;
            clock.passed += waited + Duration::from_millis(10);
            tuner.hear(PERIOD_BYTES, clock);
        }
        assert_eq!(tuner.effort(clock).levels, (3, 7));
    }
}
