//! Timeline history files, such as `00000003.history`.
//!
//! The syntax is that of `readTimeLineHistory` (`src/backend/access/transam/timeline.c`): a line
//! for each ancestor with its number, the LSN at which the next timeline began, and the reason as
//! text. Two forms that a server reads are refused here, because no server writes them: a file
//! without an ancestor, and numbers with a sign or of more than 32 bits.

use std::fmt;

use crate::archive_name::ArchiveName;
use crate::lsn::Lsn;

/// The most bytes of a line: a server reads a longer one as two (`MAXPGPATH`).
const MOST_LINE_BYTES: usize = 1023;

/// The ancestors of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    timeline: u32,
    ancestors: Vec<Ancestor>,
}

/// An ancestor of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// The number of the timeline.
    pub timeline: u32,
    /// The end of the WAL that the next timeline inherits: the first byte of the next timeline.
    pub switch_point: Lsn,
    /// The reason, such as `no recovery target specified`; invalid UTF-8 is replaced.
    pub reason: String,
}

/// The part of the WAL that a timeline contributes to a lineage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// The timeline.
    pub timeline: u32,
    /// The position of the first byte; 0/0 for the first timeline.
    pub begin: Lsn,
    /// The position after the last byte; `None` for the last timeline.
    pub end: Option<Lsn>,
}

/// A history that a server refuses, or that no server wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidHistory {
    /// The kind of error, by which callers decide.
    pub kind: InvalidHistoryKind,
    /// The timeline of the file.
    pub timeline: u32,
    /// The number of the line, from 1.
    pub line: usize,
    content: String,
}

/// The kind of an [`InvalidHistory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidHistoryKind {
    /// A line does not begin with the number of a timeline.
    Timeline,
    /// A line has no LSN after the number.
    SwitchPoint,
    /// A line has more than 1,023 bytes.
    LineLength,
    /// A line's timeline is not greater than that of the line before.
    Order,
    /// An ancestor is not less than the file's own timeline.
    Child,
    /// There is no ancestor. A server reads such a file, and then refuses backups of all others.
    NoAncestor,
}

impl History {
    /// Returns the history of a timeline without ancestors. Timeline 1 has no file.
    pub fn without_ancestors(timeline: u32) -> Self {
        Self { timeline, ancestors: Vec::new() }
    }

    /// Parses the content of the history file of `timeline`.
    ///
    /// # Errors
    /// If a server refuses the content, or if the content names no ancestor.
    pub fn parse(timeline: u32, content: &[u8]) -> Result<Self, InvalidHistory> {
        let mut ancestors: Vec<Ancestor> = Vec::new();
        let mut last = (0, &b""[..]);
        for (number, line) in content.split(|byte| *byte == b'\n').enumerate().map(|(at, line)| (at + 1, line)) {
            let invalid = |kind| InvalidHistory::new(kind, timeline, number, line);
            if line.len() > MOST_LINE_BYTES {
                return Err(invalid(InvalidHistoryKind::LineLength));
            }
            if matches!(trim_start(line).first(), None | Some(b'#')) {
                continue;
            }
            let ancestor = Ancestor::parse(line).map_err(invalid)?;
            if ancestors.last().is_some_and(|before| ancestor.timeline <= before.timeline) {
                return Err(invalid(InvalidHistoryKind::Order));
            }
            ancestors.push(ancestor);
            last = (number, line);
        }
        match ancestors.last() {
            None => Err(InvalidHistory::new(InvalidHistoryKind::NoAncestor, timeline, 1, b"")),
            Some(parent) if parent.timeline >= timeline => {
                Err(InvalidHistory::new(InvalidHistoryKind::Child, timeline, last.0, last.1))
            }
            Some(_) => Ok(Self { timeline, ancestors }),
        }
    }

    /// Returns the timeline in the name of a history file, or `None` for other names.
    pub fn timeline_in_name(name: &str) -> Option<u32> {
        match name.parse() {
            Ok(ArchiveName::History { timeline }) => Some(timeline),
            _ => None,
        }
    }

    /// Returns the timeline whose history this is.
    pub fn timeline(&self) -> u32 {
        self.timeline
    }

    /// Returns the ancestors, oldest first; the last one is the parent.
    pub fn ancestors(&self) -> &[Ancestor] {
        &self.ancestors
    }

    /// Returns the position at which the lineage left `ancestor`, or `None` if the timeline is not
    /// an ancestor (`tliSwitchPoint`).
    pub fn switch_point(&self, ancestor: u32) -> Option<Lsn> {
        self.ancestors.iter().find(|entry| entry.timeline == ancestor).map(|entry| entry.switch_point)
    }

    /// Returns the lineage of the timeline: the parts of the WAL that its ancestors contribute,
    /// oldest first, and its own.
    pub fn lineage(&self) -> impl DoubleEndedIterator<Item = Section> {
        let begins =
            |at: usize| at.checked_sub(1).and_then(|at| self.ancestors.get(at)).map(|entry| entry.switch_point);
        (0..=self.ancestors.len()).map(move |at| {
            let ancestor = self.ancestors.get(at);
            Section {
                timeline: ancestor.map_or(self.timeline, |ancestor| ancestor.timeline),
                begin: begins(at).unwrap_or(Lsn::INVALID),
                end: ancestor.map(|ancestor| ancestor.switch_point),
            }
        })
    }

    /// Returns the timeline of the byte at `lsn` (`tliOfPointInHistory`), or `None` if damaged
    /// switch points leave a gap there.
    pub fn timeline_at(&self, lsn: Lsn) -> Option<u32> {
        self.lineage().rev().find(|section| section.contains(lsn)).map(|section| section.timeline)
    }

    /// Decides if the lineage contains the byte at `lsn` of `timeline`. For the end of a backup or
    /// of a record, the byte before the end decides.
    pub fn contains(&self, timeline: u32, lsn: Lsn) -> bool {
        self.timeline_at(lsn) == Some(timeline)
    }
}

impl Section {
    /// Decides if the byte at `lsn` is in this part of the WAL. As for a server, an end of 0/0 is
    /// no end.
    pub fn contains(self, lsn: Lsn) -> bool {
        self.begin <= lsn && self.end.is_none_or(|end| end == Lsn::INVALID || lsn < end)
    }
}

impl Ancestor {
    fn parse(line: &[u8]) -> Result<Self, InvalidHistoryKind> {
        let (timeline, rest) = number(trim_start(line), 10).ok_or(InvalidHistoryKind::Timeline)?;
        let (switch_point, rest) = switch_point(trim_start(rest)).ok_or(InvalidHistoryKind::SwitchPoint)?;
        Ok(Self { timeline, switch_point, reason: String::from_utf8_lossy(rest).trim().to_owned() })
    }
}

/// Parses the LSN at the beginning of `text` and returns the rest.
fn switch_point(text: &[u8]) -> Option<(Lsn, &[u8])> {
    let (upper, rest) = number(text, 16)?;
    let (lower, rest) = number(rest.strip_prefix(b"/")?, 16)?;
    Some((Lsn(u64::from(upper) << 32 | u64::from(lower)), rest))
}

/// Parses the number of 32 bits at the beginning of `text` and returns the rest.
fn number(text: &[u8], radix: u32) -> Option<(u32, &[u8])> {
    let end = text.iter().position(|byte| !char::from(*byte).is_digit(radix)).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    let number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()?;
    Some((number, rest))
}

/// Removes what C's `isspace` accepts.
fn trim_start(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let end = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

impl InvalidHistory {
    fn new(kind: InvalidHistoryKind, timeline: u32, line: usize, content: &[u8]) -> Self {
        let content = content.get(..60).unwrap_or(content);
        Self { kind, timeline, line, content: String::from_utf8_lossy(content).into_owned() }
    }
}

impl fmt::Display for InvalidHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self.kind {
            InvalidHistoryKind::Timeline => "no number of a timeline",
            InvalidHistoryKind::SwitchPoint => "no LSN after the timeline",
            InvalidHistoryKind::LineLength => "more than 1023 bytes",
            InvalidHistoryKind::Order => "timeline not greater than the one before",
            InvalidHistoryKind::Child => "ancestor not less than the file's own timeline",
            InvalidHistoryKind::NoAncestor => return write!(f, "history of timeline {}: no ancestor", self.timeline),
        };
        let (timeline, line, content) = (self.timeline, self.line, self.content.escape_debug());
        write!(f, "history of timeline {timeline}, line {line}, `{content}`: {message}")
    }
}

impl std::error::Error for InvalidHistory {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by PostgreSQL 17: a second promotion copies the first file and adds an empty line.
    const CONTENT: &str = "1\t0/30000A0\tno recovery target specified\n\n\
        2\t16/B374D848\tat restore point \"before\"\n";

    fn kind(content: &str) -> InvalidHistoryKind {
        History::parse(5, content.as_bytes()).unwrap_err().kind
    }

    #[test]
    fn history_of_a_server_parses() {
        let history = History::parse(5, CONTENT.as_bytes()).unwrap();
        assert_eq!(history.timeline(), 5);
        let reasons: Vec<_> = history.ancestors().iter().map(|ancestor| ancestor.reason.as_str()).collect();
        assert_eq!(reasons, ["no recovery target specified", "at restore point \"before\""]);
        let sections: Vec<_> = history.lineage().map(|part| (part.timeline, part.begin, part.end)).collect();
        let (first, second) = (Lsn(0x300_00A0), Lsn(0x16_B374_D848));
        assert_eq!(sections, [(1, Lsn(0), Some(first)), (2, first, Some(second)), (5, second, None)]);
    }

    #[test]
    fn comments_blanks_and_missing_reasons_are_read() {
        let content = "# comment\n \t\n \t# comment\r\n1 0/10\n \t 3\x0b0/20 after\n\n4A/30";
        let history = History::parse(5, content.as_bytes()).unwrap();
        let ancestors: Vec<_> = history.ancestors().iter().map(|it| (it.timeline, it.switch_point.0)).collect();
        assert_eq!(ancestors, [(1, 0x10), (3, 0x20), (4, 0xA_0000_0030)]);
        assert_eq!(History::parse(9, b"1\t0/1\t\xFF\n").unwrap().ancestors()[0].reason, "\u{FFFD}");
    }

    #[test]
    fn parse_refuses_what_a_server_refuses() {
        use InvalidHistoryKind::{Child, LineLength, NoAncestor, Order, SwitchPoint, Timeline};
        for (content, expected) in [
            ("x\t0/1\n", Timeline),
            ("\0", Timeline),
            ("-1\t0/1\n", Timeline),
            ("4294967296\t0/1\n", Timeline),
            ("1\n", SwitchPoint),
            ("1\t0\n", SwitchPoint),
            ("1\t0/\n", SwitchPoint),
            ("1\t0 /1\n", SwitchPoint),
            ("1\t0/123456789\n", SwitchPoint),
            ("1\t/1\n", SwitchPoint),
            ("2\t0/1\n2\t0/2\n", Order),
            ("2\t0/1\n1\t0/2\n", Order),
            ("1\t0/1\n5\t0/2\n", Child),
            ("6\t0/1\n", Child),
            ("", NoAncestor),
            ("# comment\n\n", NoAncestor),
        ] {
            assert_eq!(kind(content), expected, "{content:?}");
        }
        assert_eq!(kind(&format!("1\t0/1\t{}\n", "x".repeat(1018))), LineLength);
        History::parse(5, format!("1\t0/1\t{}\n", "x".repeat(1017)).as_bytes()).unwrap();
        let error = History::parse(5, b"1\t0/1\n\n1\tx\0").unwrap_err();
        assert_eq!(error.to_string(), r"history of timeline 5, line 3, `1\tx\0`: no LSN after the timeline");
    }

    #[test]
    fn position_is_on_one_timeline_of_a_lineage() {
        let history = History::parse(5, CONTENT.as_bytes()).unwrap();
        let (first, second) = (0x300_00A0, 0x16_B374_D848);
        for (timeline, lsn, expected) in [
            (1, 0, true),
            (1, first - 1, true),
            (1, first, false),
            (2, first - 1, false),
            (2, first, true),
            (2, second - 1, true),
            (2, second, false),
            (3, second, false),
            (5, second, true),
            (5, u64::MAX, true),
            (5, first, false),
        ] {
            assert_eq!(history.contains(timeline, Lsn(lsn)), expected, "{timeline} {lsn:X}");
        }
        assert_eq!((history.switch_point(2), history.switch_point(5)), (Some(Lsn(second)), None));
        let first = History::without_ancestors(1);
        assert!(first.contains(1, Lsn(0)) && first.contains(1, Lsn(u64::MAX)) && !first.contains(2, Lsn(0)));
    }

    #[test]
    fn timeline_is_in_the_name() {
        assert_eq!(History::timeline_in_name("0000001F.history"), Some(31));
        assert_eq!(History::timeline_in_name("0000001F00000000000000B3"), None);
        assert_eq!(History::timeline_in_name("1F.history"), None);
    }
}
