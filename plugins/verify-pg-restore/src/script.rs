//! Plain SQL: a complete script ends with a completion mark.

use futures_util::StreamExt;
use longshore_core::manifest::Verification;
use longshore_core::stream::ByteStream;
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result, Stage};

/// The number of bytes kept from the end: the mark, and the lines that may follow it.
const TAIL_BYTES: usize = 1024;

/// Verifies that a script ends with its completion mark.
pub(crate) async fn verify(subject: &Subject, mut plaintext: ByteStream) -> Result<Verification> {
    let mut tail = Vec::new();
    while let Some(chunk) = plaintext.next().await {
        let chunk = chunk?;
        tail.extend_from_slice(&chunk[chunk.len().saturating_sub(TAIL_BYTES)..]);
        tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
    }
    let mark = match subject.kind() {
        SubjectKind::Database => "-- PostgreSQL database dump complete",
        SubjectKind::ClusterSql | SubjectKind::ClusterFiles => "-- PostgreSQL database cluster dump complete",
    };
    if !ends_with_mark(&String::from_utf8_lossy(&tail), mark) {
        let message = format!("truncated: it does not end with \"{mark}\"");
        return Err(Error::new(Stage::Verify, Kind::Corrupt, subject.to_string(), message));
    }
    Ok(Verification {
        by: format!("longshore {}", env!("CARGO_PKG_VERSION")),
        method: "completion mark".to_owned(),
        totals: std::collections::BTreeMap::new(),
    })
}

/// Returns true if `tail` ends with the mark on a line of its own, followed only by comments, empty
/// lines and psql's `\unrestrict`.
fn ends_with_mark(tail: &str, mark: &str) -> bool {
    let Some((_, after)) = tail.rsplit_once(&format!("\n{mark}\n")) else {
        return false;
    };
    let is_allowed_after_mark = |line: &str| line.is_empty() || line == "--" || line.starts_with("\\unrestrict ");
    after.ends_with('\n') && after.lines().all(is_allowed_after_mark)
}

#[cfg(test)]
mod tests {
    use longshore_core::stream::from_bytes;

    use super::*;

    const END: &str = "\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n";

    async fn is_complete(script: &str) -> bool {
        verify(&Subject::database("appdb"), from_bytes(script.to_owned())).await.is_ok()
    }

    #[tokio::test]
    async fn accepts_complete_script() {
        assert!(is_complete(&format!("{}{END}", "SELECT 1;\n".repeat(1000))).await);
        assert!(is_complete(&format!("x{}", END.replace("\\unrestrict abc\n\n", ""))).await);
    }

    #[tokio::test]
    async fn rejects_truncated_script() {
        for script in
            ["", "SELECT 1;\n", &END[..30], &format!("{END}SELECT 2;\n"), "x -- PostgreSQL database dump complete\n"]
        {
            assert!(!is_complete(script).await, "{script:?}");
        }
    }

    #[tokio::test]
    async fn cluster_script_needs_its_own_mark() {
        let script = END.replace("database dump", "database cluster dump");
        assert!(verify(&Subject::Globals, from_bytes(script)).await.is_ok());
        assert!(verify(&Subject::Globals, from_bytes(END)).await.is_err());
    }
}
