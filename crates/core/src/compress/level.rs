//! How hard zstd tries: as asked for, or as hard as it can without holding anybody up.

use std::time::Duration;

/// zstd's own default, where an adaptive level begins.
const FIRST: i32 = 3;
/// The bounds of an adaptive level: below, a dump is larger than gzip would make it; above, it costs much for little.
const BOUNDS: (i32, i32) = (1, 7);
/// How many bytes pass before the level is thought over again.
const PERIOD_BYTES: u64 = 16 << 20;

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
        if self.asked != Level::Adaptive || self.bytes < PERIOD_BYTES {
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
        assert_eq!(tuner.hear(1000, Clock { passed: Duration::from_secs(9), ..Clock::default() }), None);
    }
}
