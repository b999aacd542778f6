//! `backup_label`: the position where recovery of a base backup begins.
//!
//! The format is that of `build_backup_content` (`src/backend/access/transam/xlogbackup.c`). A
//! server accepts a label byte for byte or not at all, so this module writes none of its own: it
//! only omits the lines of an incremental backup.

use crate::error::{Error, Result};
use longshore_pg_wal::Lsn;
use longshore_pg_wal::segment::{Segment, SegmentSize};

/// The name of the file in the data directory.
pub const NAME: &str = "backup_label";

/// The fields that only incremental backups have, in order.
const INCREMENTAL: [&str; 2] = ["INCREMENTAL FROM LSN", "INCREMENTAL FROM TLI"];

/// The content of `backup_label`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLabel {
    /// The position where recovery begins.
    pub start_lsn: Lsn,
    /// The name of the WAL segment that contains the start.
    pub start_segment: String,
    /// The timeline on which the backup began.
    pub start_timeline: u32,
    /// The position of the checkpoint record.
    pub checkpoint: Lsn,
    /// The server that was backed up.
    pub source: Source,
    /// The time when the backup began, in the server's `log_timezone`, as it is written.
    pub start_time: String,
    /// The label that the backup was taken with, with replacement characters if it is not UTF-8.
    pub label: String,
    /// The start of the earlier backup that this one continues, for incremental backups.
    pub incremental_from: Option<IncrementalFrom>,
}

/// The server that was backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A primary server.
    Primary,
    /// A standby server.
    Standby,
}

/// The start of an earlier backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncrementalFrom {
    /// The timeline on which the earlier backup began.
    pub timeline: u32,
    /// The position where its recovery begins.
    pub lsn: Lsn,
}

impl BackupLabel {
    /// Parses the content of the file. Refuses all that servers do not write.
    pub fn parse(content: &[u8]) -> Result<Self> {
        let mut lines = Lines { content, rest: content };
        let (start_lsn, start_segment) = lines.field("START WAL LOCATION", |value| {
            let (lsn, file) = value.split_once(" (file ")?;
            Some((lsn.parse().ok()?, file.strip_suffix(')').filter(|name| Segment::is_name(name))?.to_owned()))
        })?;
        let checkpoint = lines.field("CHECKPOINT LOCATION", |value| value.parse().ok())?;
        lines.field("BACKUP METHOD", |value| (value == "streamed").then_some(()))?;
        let source = lines.field("BACKUP FROM", |value| match value {
            "primary" => Some(Source::Primary),
            "standby" => Some(Source::Standby),
            _ => None,
        })?;
        let start_time = lines.field("START TIME", |value| Some(value.to_owned()))?;
        let label = lines.label()?;
        let start_timeline = lines.field("START TIMELINE", timeline_of)?;
        let incremental_from = match lines.rest {
            [] => None,
            _ => {
                let [lsn, timeline] = INCREMENTAL;
                let lsn = lines.field(lsn, |value| value.parse().ok())?;
                Some(IncrementalFrom { lsn, timeline: lines.field(timeline, timeline_of)? })
            }
        };
        lines.finish()?;
        let parsed =
            Self { start_lsn, start_segment, start_timeline, checkpoint, source, start_time, label, incremental_from };
        parsed.check()?;
        Ok(parsed)
    }

    /// Returns the content of a label without the lines that only incremental backups have, for a
    /// cluster that was combined from a whole chain. A server refuses to start with these lines.
    pub fn combined(content: &[u8]) -> Result<Vec<u8>> {
        let label = Self::parse(content)?;
        let first = format!("\n{}", INCREMENTAL[0]).into_bytes();
        let end = content.windows(first.len()).rposition(|window| window == first).map(|end| end + 1);
        let end = end.filter(|_| label.incremental_from.is_some()).unwrap_or(content.len());
        Ok(content.get(..end).unwrap_or(content).to_vec())
    }

    /// Fails unless the start's segment is the named one in a cluster with segments of this size.
    pub fn check_start_segment(&self, size: SegmentSize) -> Result<()> {
        let name = Segment::containing(self.start_timeline, self.start_lsn, size).name(size);
        if name == self.start_segment {
            return Ok(());
        }
        let (lsn, found) = (self.start_lsn, &self.start_segment);
        Err(Error::damaged(NAME, 0, format!("start {lsn} in segment {found} instead of {name}")))
    }

    fn check(&self) -> Result<()> {
        if self.start_segment.get(..8) != Some(format!("{:08X}", self.start_timeline).as_str()) {
            let (timeline, segment) = (self.start_timeline, &self.start_segment);
            return Err(Error::damaged(NAME, 0, format!("timeline {timeline}, but start in segment {segment}")));
        }
        if self.checkpoint < self.start_lsn {
            let (checkpoint, start) = (self.checkpoint, self.start_lsn);
            return Err(Error::damaged(NAME, 0, format!("checkpoint {checkpoint} before the start {start}")));
        }
        Ok(())
    }
}

/// Parses the number of a timeline, at least 1.
fn timeline_of(value: &str) -> Option<u32> {
    let digits = value.bytes().all(|digit| digit.is_ascii_digit());
    value.parse().ok().filter(|timeline| digits && *timeline > 0)
}

/// The unread lines of a label.
struct Lines<'a> {
    content: &'a [u8],
    rest: &'a [u8],
}

impl Lines<'_> {
    /// Reads the line `<name>: <value>`.
    fn field<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = end.and_then(|end| self.rest.split_at_checked(end)).ok_or_else(|| self.missing(name))?;
        let value = line.strip_prefix(name.as_bytes()).and_then(|value| value.strip_prefix(b": "));
        let value = String::from_utf8_lossy(value.ok_or_else(|| self.missing(name))?);
        let parsed = parse(&value).ok_or_else(|| self.damaged(format!("{name} `{value}`: not such a value")))?;
        self.rest = after.strip_prefix(b"\n").unwrap_or_default();
        Ok(parsed)
    }

    /// Reads the text of the label, which may contain line feeds: it ends at the last line that
    /// begins like the next field.
    fn label(&mut self) -> Result<String> {
        const NEXT: &[u8] = b"\nSTART TIMELINE: ";
        let text = self.rest.strip_prefix(b"LABEL: ").ok_or_else(|| self.missing("LABEL"))?;
        let end = text.windows(NEXT.len()).rposition(|window| window == NEXT);
        let (text, after) =
            end.and_then(|end| text.split_at_checked(end)).ok_or_else(|| self.missing("START TIMELINE"))?;
        self.rest = after.strip_prefix(b"\n").unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// Fails if lines are left.
    fn finish(self) -> Result<()> {
        match self.rest {
            [] => Ok(()),
            _ => Err(self.damaged("lines after the last one".to_owned())),
        }
    }

    fn missing(&self, name: &str) -> Error {
        self.damaged(format!("no line {name}"))
    }

    fn damaged(&self, message: String) -> Error {
        Error::damaged(NAME, (self.content.len() - self.rest.len()) as u64, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by PostgreSQL 17.
    const CONTENT: &str = "START WAL LOCATION: 0/6000028 (file 000000010000000000000006)\n\
        CHECKPOINT LOCATION: 0/6000080\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
        START TIME: 2026-11-29 03:00:00 UTC\nLABEL: nightly\nSTART TIMELINE: 1\n";

    fn message(content: &str) -> String {
        BackupLabel::parse(content.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn label_of_a_full_backup_parses() {
        let label = BackupLabel::parse(CONTENT.as_bytes()).unwrap();
        let expected = BackupLabel {
            start_lsn: Lsn(0x600_0028),
            start_segment: "000000010000000000000006".to_owned(),
            start_timeline: 1,
            checkpoint: Lsn(0x600_0080),
            source: Source::Primary,
            start_time: "2026-11-29 03:00:00 UTC".to_owned(),
            label: "nightly".to_owned(),
            incremental_from: None,
        };
        assert_eq!(label, expected);
        label.check_start_segment(SegmentSize::DEFAULT).unwrap();
        let error = label.check_start_segment(SegmentSize::new(1 << 20).unwrap()).unwrap_err();
        assert!(error.message.contains("instead of 000000010000000000000060"), "{error}");
    }

    #[test]
    fn label_of_an_incremental_backup_parses() {
        let content = format!("{CONTENT}INCREMENTAL FROM LSN: 0/4000028\nINCREMENTAL FROM TLI: 1\n");
        let content = content.replace("FROM: primary", "FROM: standby");
        let label = BackupLabel::parse(content.as_bytes()).unwrap();
        assert_eq!(label.incremental_from, Some(IncrementalFrom { timeline: 1, lsn: Lsn(0x400_0028) }));
        assert_eq!(label.source, Source::Standby);
    }

    #[test]
    fn label_of_a_combined_cluster_is_that_of_a_full_backup() {
        let text = "a\nINCREMENTAL FROM LSN: 0/1\nb";
        let content = CONTENT.replace("nightly", text);
        let incremental = format!("{content}INCREMENTAL FROM LSN: 0/4000028\nINCREMENTAL FROM TLI: 1\n");
        for label in [&content, &incremental] {
            assert_eq!(BackupLabel::combined(label.as_bytes()).unwrap(), content.as_bytes());
        }
        BackupLabel::combined(b"x").unwrap_err();
    }

    #[test]
    fn label_may_contain_line_feeds() {
        let text = "a\nSTART TIMELINE: 7\nb";
        let label = BackupLabel::parse(CONTENT.replace("nightly", text).as_bytes()).unwrap();
        assert_eq!((label.label.as_str(), label.start_timeline), (text, 1));
        let label = BackupLabel::parse(CONTENT.replace("nightly", "").as_bytes()).unwrap();
        assert_eq!(label.label, "");
    }

    #[test]
    fn parse_refuses_missing_and_damaged_lines() {
        for line in CONTENT.lines() {
            let without = CONTENT.replace(&format!("{line}\n"), "");
            assert!(message(&without).contains("no line"), "{line}");
        }
        for (from, to, expected) in [
            ("0/6000028", "0/600002G", "at byte 0: START WAL LOCATION"),
            ("0006)", "0006", "START WAL LOCATION"),
            ("file 00000001", "file 00000002", "timeline 1, but start in segment 00000002"),
            ("0/6000080", "0/6000020", "checkpoint 0/6000020 before the start"),
            ("streamed", "pg_rewind", "BACKUP METHOD `pg_rewind`"),
            ("primary", "secondary", "BACKUP FROM `secondary`"),
            ("TIMELINE: 1", "TIMELINE: +1", "START TIMELINE `+1`"),
            ("TIMELINE: 1\n", "TIMELINE: 1\nx\n", "no line INCREMENTAL FROM LSN"),
            ("TIMELINE: 1\n", "TIMELINE: 1", "no line START TIMELINE"),
        ] {
            let error = message(&CONTENT.replace(from, to));
            assert!(error.contains(expected), "{error}");
        }
        let more = format!("{CONTENT}INCREMENTAL FROM LSN: 0/4000028\nINCREMENTAL FROM TLI: 1\nx\n");
        assert!(message(&more).contains("lines after the last one"));
    }
}
