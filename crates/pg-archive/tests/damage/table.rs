//! The table of all damages, and what must hold in each of its rows.

use std::fmt;

use crate::pg_restore::{Exit, Restored};

/// What must come of reading the damaged archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The damage is found, whether a restore suffers from it or not.
    Found,
    /// The damage is found if a restore would make something else of it.
    FoundUnlessHarmless,
    /// What is there could have been dumped like this: nothing but a digest of the intact archive tells.
    OnlyADigestTells,
}

/// What a restore makes of a damaged archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restore {
    Fails,
    Crashes,
    /// It does not end.
    Hangs,
    /// It succeeds with something else than what was dumped.
    Differs,
    /// It makes what was dumped.
    Same,
}

impl Restore {
    /// What came of it, compared with what comes of the intact archive.
    pub(crate) fn of(restored: &Restored, intact: &Restored) -> Self {
        match restored.exit {
            Exit::WithAnError => Self::Fails,
            Exit::WithACrash => Self::Crashes,
            Exit::Never => Self::Hangs,
            Exit::Well if restored.sql != intact.sql => Self::Differs,
            Exit::Well => Self::Same,
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
    /// The damage is behind the TOC, of which it changes nothing.
    pub(crate) is_behind_toc: bool,
    pub(crate) list: Exit,
    pub(crate) restore: Restore,
    /// Our error.
    pub(crate) found: Option<String>,
    /// The digest of the archive changed.
    pub(crate) digest_tells: bool,
}

impl Row {
    /// Why this must not be, if it must not.
    fn wrong(&self) -> Option<&'static str> {
        let found = self.found.is_some();
        match self.expected {
            _ if !self.digest_tells => Some("is no damage"),
            Expected::Found if !found => Some("is not found"),
            Expected::FoundUnlessHarmless if !found && self.restore != Restore::Same => Some("is not harmless"),
            _ => None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = match self.list {
            Exit::Well => "passed",
            Exit::WithAnError => "failed",
            Exit::WithACrash => "crashed",
            Exit::Never => "hangs",
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
            (None, Expected::OnlyADigestTells) => "passed: only a digest tells",
            (None, _) => "passed",
        };
        let Self { what, place, archive, .. } = self;
        write!(f, "{what:<45} | {place:<36} | {archive:<17} | {list:<7} | {restore:<15} | {ours}")
    }
}

/// Prints the table with its sums, and checks every row.
pub(crate) fn conclude(rows: &[Row]) {
    for row in rows {
        println!("{row}");
    }
    print_counts(rows);
    // The listing of an archive says nothing of its data.
    let behind_toc: Vec<_> = rows.iter().filter(|row| row.is_behind_toc).collect();
    let listed = behind_toc.iter().filter(|row| row.list == Exit::Well).count();
    assert_eq!(listed, behind_toc.len(), "pg_restore --list reads what is behind the TOC");
    let wrong: Vec<_> = rows.iter().filter_map(|row| row.wrong().map(|why| format!("{why}: {row}"))).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

fn print_counts(rows: &[Row]) {
    let count = |is: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| is(row)).count();
    let digest = |row: &Row| row.expected == Expected::OnlyADigestTells;
    println!("{} damages, {} of them behind the TOC", rows.len(), count(&|row| row.is_behind_toc));
    println!("pg_restore --list: {} passed", count(&|row| row.list == Exit::Well));
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
        "ours: {} found; {} of the {} passed of which only a digest tells",
        count(&|row| row.found.is_some()),
        count(&|row| row.found.is_none() && digest(row)),
        count(&digest)
    );
}
