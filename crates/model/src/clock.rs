//! The accuracy expected of clocks.

use chrono::TimeDelta;

/// The tolerance for backups dated ahead of this host's clock. Clocks of hosts differ by seconds; a
/// larger difference means a wrong clock.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(15);
