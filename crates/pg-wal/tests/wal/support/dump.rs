//! Records in the words of `pg_waldump`.

use std::fs;
use std::path::Path;
use std::process::Command;

use chrono::{DateTime, NaiveDateTime, Utc};
use longshore_pg_wal::facts::{End, SegmentFacts};
use longshore_pg_wal::{Lsn, walk};
use longshore_testkit::cluster::Installation;

/// A record.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) lsn: Lsn,
    pub(crate) previous: Lsn,
    /// The bytes of the record, with its header.
    pub(crate) bytes: usize,
    pub(crate) description: String,
    is_of_transaction: bool,
}

/// The records of a segment.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) records: Vec<Record>,
    /// True if the program reached the end of the segment.
    is_complete: bool,
}

impl Dump {
    /// Runs `pg_waldump` on a file with a segment's name.
    pub(crate) fn of(installation: &Installation, path: &Path) -> Self {
        let mut command = Command::new(installation.program("pg_waldump"));
        let output = command.arg(path).env("TZ", "UTC").env("LC_ALL", "C").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let records = text.lines().filter(|line| line.starts_with("rmgr: ")).map(Record::parse).collect();
        Self { records, is_complete: output.status.success() }
    }

    /// Returns the times of commits and aborts, in order.
    pub(crate) fn times(&self) -> Vec<DateTime<Utc>> {
        self.records.iter().filter_map(Record::time).collect()
    }

    /// Returns the names of restore points, in order.
    pub(crate) fn restore_points(&self) -> Vec<&str> {
        self.records.iter().filter_map(|record| record.description.strip_prefix("RESTORE_POINT ")).collect()
    }

    /// Returns true if the last record is a switch.
    pub(crate) fn is_switched(&self) -> bool {
        self.records.last().is_some_and(|record| record.description.trim() == "SWITCH")
    }
}

impl Record {
    fn parse(line: &str) -> Self {
        let after = |key: &str| line.split_once(key).unwrap_or_else(|| panic!("{key} in {line}")).1.trim_start();
        let value = |key| after(key).split([',', ' ']).next().unwrap();
        let bytes = after("len (rec/tot):").split_once('/').unwrap().1;
        Self {
            lsn: value("lsn: ").parse().unwrap(),
            previous: value("prev ").parse().unwrap(),
            bytes: bytes.trim_start().split(',').next().unwrap().parse().unwrap(),
            description: after("desc: ").to_owned(),
            is_of_transaction: line.starts_with("rmgr: Transaction "),
        }
    }

    fn time(&self) -> Option<DateTime<Utc>> {
        let kinds = ["COMMIT ", "ABORT ", "COMMIT_PREPARED ", "ABORT_PREPARED "];
        let rest = kinds.iter().find_map(|kind| self.description.strip_prefix(kind));
        let rest = rest.filter(|_| self.is_of_transaction)?;
        let time = rest.split_once(": ").filter(|(id, _)| id.parse::<u32>().is_ok()).map_or(rest, |(_, time)| time);
        let time = NaiveDateTime::parse_from_str(&time[..26], "%Y-%m-%d %H:%M:%S%.6f");
        Some(time.unwrap_or_else(|error| panic!("{error}: {rest}")).and_utc())
    }
}

/// Reads a segment and compares its facts with `pg_waldump`.
pub(crate) fn compared(installation: &Installation, path: &Path) -> (SegmentFacts, Dump) {
    let facts = walk::read(fs::File::open(path).unwrap()).unwrap();
    let dump = Dump::of(installation, path);
    let place = format!("{} of {}: {facts:#?}", path.display(), installation.version);
    let lsns = |record: Option<&Record>| record.map(|record| record.lsn);
    assert_eq!(facts.records, dump.records.len() as u64, "{place}");
    assert_eq!(facts.first_record, lsns(dump.records.first()), "{place}");
    assert_eq!(facts.last_record, lsns(dump.records.last()), "{place}");
    assert_eq!(facts.previous_record, dump.records.first().map(|record| record.previous), "{place}");
    let times = dump.times();
    let found = facts.transactions.map(|ends| (ends.count as usize, ends.first, ends.last, ends.latest));
    let expected =
        times.first().map(|first| (times.len(), *first, *times.last().unwrap(), *times.iter().max().unwrap()));
    assert_eq!(found, expected, "{place}");
    let names: Vec<_> = facts.restore_points.first.iter().map(|point| point.name.as_str()).collect();
    assert_eq!(names, dump.restore_points(), "{place}");
    assert_eq!(facts.is_complete(), dump.is_complete, "{place}");
    assert_eq!(matches!(facts.end, End::Switched(_)), dump.is_switched(), "{place}");
    assert_eq!(facts.major, installation.major, "{place}");
    (facts, dump)
}
