//! A child's standard error: its last lines, and its warnings.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::server_error;

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
pub struct Stderr {
    last: VecDeque<String>,
    /// Warnings, each with its details and hints.
    pub warnings: Vec<String>,
    /// True if the previous line was part of the last warning.
    in_warning: bool,
    errors: server_error::Parser,
}

impl Stderr {
    /// Returns the last lines.
    pub fn last_lines(&self) -> String {
        self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Returns true if the child wrote nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Returns the server's last error, if the child is a `psql` whose `VERBOSITY` is `verbose`.
    pub fn server_error(&self) -> Option<&server_error::ServerError> {
        self.errors.last()
    }

    fn push_line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        if line.is_empty() {
            return;
        }
        self.push_warning(&line);
        self.errors.push_line(&line);
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Keeps a line that is a warning, or that continues the previous one: `pg_dump: detail: …`,
    /// `pg_dump: hint: …`.
    fn push_warning(&mut self, line: &str) {
        let program = line.split(": ").next().unwrap_or_default();
        let rest = |label: &str| line.strip_prefix(program)?.strip_prefix(label);
        let (detail, hint) = (rest(": detail: "), rest(": hint: "));
        if let (Some(text), true) = (detail.or(hint), self.in_warning) {
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
        self.in_warning = line.contains("warning:") && self.warnings.len() < MAX_WARNINGS;
        if self.in_warning {
            self.warnings.push(line.to_owned());
        }
    }
}

/// Reads standard error until it is closed. The memory is bounded, however long the output.
pub(super) async fn read_stderr(mut pipe: impl AsyncRead + Unpin) -> Stderr {
    let mut stderr = Stderr::default();
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        for byte in &buffer[..length] {
            match byte {
                b'\n' => {
                    stderr.push_line(&line);
                    line.clear();
                }
                _ if line.len() < MAX_LINE_BYTES => line.push(*byte),
                _ => {}
            }
        }
    }
    stderr.push_line(&line);
    stderr
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_text(text: &str) -> Stderr {
        read_stderr(text.as_bytes()).await
    }

    #[tokio::test]
    async fn warning_keeps_its_details_and_hints() {
        let text = "pg_dump: warning: circular foreign keys among these tables:\npg_dump: detail: emp\npg_dump: detail: dept\n\
                    pg_dump: hint: use --disable-triggers\npg_dump: error: no\npg_dump: detail: of the error\n";
        let whole = "pg_dump: warning: circular foreign keys among these tables: emp, dept; use --disable-triggers";
        assert_eq!(read_text(text).await.warnings, [whole]);
    }

    #[tokio::test]
    async fn stderr_keeps_warnings_and_bounds_lines() {
        let stderr = read_text(&format!("pg_dump: warning: circular\n{}", "noise\n".repeat(100_000))).await;
        assert_eq!(stderr.warnings, ["pg_dump: warning: circular"]);
        assert_eq!(stderr.last.len(), LAST_LINES);
    }
}
