//! A child's standard error: its last lines, and its warnings.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::report;

/// The number of a child's last lines that are kept as the cause of its failure.
const LAST_LINES: usize = 20;
/// The number of a child's warnings that are kept for the report.
const MAX_WARNINGS: usize = 100;
/// The size of a warning, in bytes, from which on no more lines are added.
const MAX_WARNING_BYTES: usize = 4000;
/// The number of bytes of a line that are kept.
const MAX_LINE_BYTES: usize = 1000;

/// The text that a child wrote to standard error.
#[derive(Debug, Clone, Default)]
pub struct Words {
    last: VecDeque<String>,
    /// Warnings, each with its details and hints.
    pub warnings: Vec<String>,
    /// True if the previous line was part of the last warning.
    warns: bool,
    reports: report::Reader,
}

impl Words {
    /// Returns the last lines.
    pub fn last_lines(&self) -> String {
        self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Returns true if the child wrote nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Returns the server's last error, if the child is a `psql` whose `VERBOSITY` is `verbose`.
    pub fn report(&self) -> Option<&report::Report> {
        self.reports.last()
    }

    fn hear(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        if line.is_empty() {
            return;
        }
        self.hear_warning(&line);
        self.reports.read(&line);
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Keeps a line that is a warning, or that continues the previous one: `pg_dump: detail: …`,
    /// `pg_dump: hint: …`.
    fn hear_warning(&mut self, line: &str) {
        let program = line.split(": ").next().unwrap_or_default();
        let rest = |label: &str| line.strip_prefix(program)?.strip_prefix(label);
        let (detail, hint) = (rest(": detail: "), rest(": hint: "));
        if let (Some(text), true) = (detail.or(hint), self.warns) {
            if let Some(warning) = self.warnings.last_mut().filter(|warning| warning.len() < MAX_WARNING_BYTES) {
                let gap = match (warning.ends_with(':'), hint) {
                    (true, _) => " ",
                    (false, None) => ", ",
                    (false, Some(_)) => "; ",
                };
                *warning += gap;
                *warning += text;
            }
            return;
        }
        self.warns = line.contains("warning:") && self.warnings.len() < MAX_WARNINGS;
        if self.warns {
            self.warnings.push(line.to_owned());
        }
    }
}

/// Reads standard error until it is closed. The memory is bounded, however long the output.
pub(super) async fn listen(mut stderr: impl AsyncRead + Unpin) -> Words {
    let mut words = Words::default();
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        for byte in &buffer[..length] {
            match byte {
                b'\n' => {
                    words.hear(&line);
                    line.clear();
                }
                _ if line.len() < MAX_LINE_BYTES => line.push(*byte),
                _ => {}
            }
        }
    }
    words.hear(&line);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(text: &str) -> Words {
        listen(text.as_bytes()).await
    }

    #[tokio::test]
    async fn a_warning_keeps_its_details_and_hints() {
        let text = "pg_dump: warning: circular foreign keys among these tables:\npg_dump: detail: emp\npg_dump: detail: dept\n\
                    pg_dump: hint: use --disable-triggers\npg_dump: error: no\npg_dump: detail: of the error\n";
        let whole = "pg_dump: warning: circular foreign keys among these tables: emp, dept; use --disable-triggers";
        assert_eq!(heard(text).await.warnings, [whole]);
    }

    #[tokio::test]
    async fn warnings_are_kept_and_floods_are_not() {
        let words = heard(&format!("pg_dump: warning: circular\n{}", "noise\n".repeat(100_000))).await;
        assert_eq!(words.warnings, ["pg_dump: warning: circular"]);
        assert_eq!(words.last.len(), LAST_LINES);
    }
}
