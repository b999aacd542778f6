//! The table of all damages, and the condition for each of its rows.
#![allow(clippy::print_stdout, reason = "the table is the result of the test")]

use std::fmt;

use crate::support::pg_restore::{Exit, Restored};

/// The expected result of reading the damaged archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The damage is detected, whether it affects a restore or not.
    Detected,
    /// The damage is detected if it changes the result of a restore.
    DetectedUnlessHarmless,
    /// The damaged content is valid: only a digest of the intact archive detects the damage.
    OnlyDigestDetects,
}

/// The result of restoring a damaged archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restore {
    Fails,
    Crashes,
    /// The restore does not end.
    Hangs,
    /// The restore succeeds with content that differs from the dump.
    Differs,
    /// The restore yields the dumped content.
    Same,
}

impl Restore {
    /// Returns the result, compared with a restore of the intact archive.
    pub(crate) fn of(restored: &Restored, intact: &Restored) -> Self {
        match restored.exit {
            Exit::Failure => Self::Fails,
            Exit::Crash => Self::Crashes,
            Exit::Timeout => Self::Hangs,
            Exit::Success if restored.sql != intact.sql => Self::Differs,
            Exit::Success => Self::Same,
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) place: &'static str,
    pub(crate) expected: Expected,
    pub(crate) archive: String,
    /// True if the damage is after the TOC and does not change it.
    pub(crate) is_after_toc: bool,
    pub(crate) list: Exit,
    pub(crate) restore: Restore,
    /// The error of this crate.
    pub(crate) found: Option<String>,
    /// True if the digest of the archive changed.
    pub(crate) digest_differs: bool,
}

impl Row {
    /// Returns the reason why the row is wrong, if it is.
    fn wrong(&self) -> Option<&'static str> {
        let found = self.found.is_some();
        match self.expected {
            _ if !self.digest_differs => Some("is not a damage"),
            Expected::Detected if !found => Some("is not detected"),
            Expected::DetectedUnlessHarmless if !found && self.restore != Restore::Same => Some("is not harmless"),
            _ => None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = match self.list {
            Exit::Success => "passed",
            Exit::Failure => "failed",
            Exit::Crash => "crashed",
            Exit::Timeout => "hangs",
        };
        let restore = match self.restore {
            Restore::Fails => "failed",
            Restore::Crashes => "crashed",
            Restore::Hangs => "hangs",
            Restore::Differs => "PASSED, ALTERED",
            Restore::Same => "passed, same",
        };
        let ours = match (&self.found, self.expected) {
            (Some(error), _) => error,
            (None, Expected::OnlyDigestDetects) => "passed: only a digest detects it",
            (None, _) => "passed",
        };
        let Self { what, place, archive, .. } = self;
        write!(f, "{what:<45} | {place:<36} | {archive:<17} | {list:<7} | {restore:<15} | {ours}")
    }
}

/// Prints the table with totals, and checks every row.
pub(crate) fn print_and_check(rows: &[Row]) {
    for row in rows {
        println!("{row}");
    }
    print_counts(rows);
    // The listing of an archive does not depend on its data.
    let after_toc: Vec<_> = rows.iter().filter(|row| row.is_after_toc).collect();
    let listed = after_toc.iter().filter(|row| row.list == Exit::Success).count();
    assert_eq!(listed, after_toc.len(), "pg_restore --list reads data after the TOC");
    let wrong: Vec<_> = rows.iter().filter_map(|row| row.wrong().map(|why| format!("{why}: {row}"))).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

fn print_counts(rows: &[Row]) {
    let count = |is: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| is(row)).count();
    let digest = |row: &Row| row.expected == Expected::OnlyDigestDetects;
    println!("{} damages, {} of them after the TOC", rows.len(), count(&|row| row.is_after_toc));
    println!("pg_restore --list: {} passed", count(&|row| row.list == Exit::Success));
    let of = |restore: Restore| count(&|row| row.restore == restore);
    println!(
        "pg_restore: {} failed, {} crashed, {} hung, {} passed with something else, {} passed with the same",
        of(Restore::Fails),
        of(Restore::Crashes),
        of(Restore::Hangs),
        of(Restore::Differs),
        of(Restore::Same)
    );
    println!(
        "this crate: {} detected; {} passed of the {} that only a digest detects",
        count(&|row| row.found.is_some()),
        count(&|row| row.found.is_none() && digest(row)),
        count(&digest)
    );
}
