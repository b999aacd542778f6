//! The contents of a backup.

use longshore_core::error::printable;
use longshore_core::stream::{self, ByteStream, OnEnd};
use longshore_core::{Error, Result, Stage};

use crate::archive;
use crate::member::MemberKind;

/// Returns a line for each file: the size in bytes, and the path below the data directory.
pub(crate) async fn files(plaintext: ByteStream) -> Result<Vec<String>> {
    let lines = OnEnd::new();
    let on_end = lines.clone();
    let wrap = |error| Error::io(Stage::Restore, "base", "the backup cannot be listed", error);
    let work = stream::transform(plaintext, wrap, move |reader, _| {
        let mut lines = Vec::new();
        archive::read(reader, |member, content| {
            if member.kind == MemberKind::File {
                lines.push(format!("{:>12} {}", member.bytes, printable(&member.path.to_string_lossy())));
            }
            // Also the content of listed files must be complete.
            content.copy(|_| Ok(()))
        })?;
        on_end.set(lines);
        Ok(())
    });
    stream::drain(work).await?;
    Ok(lines.get().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use longshore_core::Kind;

    use super::*;
    use crate::tests::{Tar, two_files};

    #[tokio::test]
    async fn files_are_listed_with_sizes() {
        let tar = Tar::new().folder("base/").file("base/1259", &[0; 8192]).file("base/a\nb", b"x").finish();
        let lines = files(stream::from_bytes(tar)).await.unwrap();
        assert_eq!(lines, ["        8192 base/1259", "           1 base/a\\nb"]);
    }

    #[tokio::test]
    async fn truncated_backup_is_not_listed() {
        let tar = two_files();
        let error = files(stream::from_bytes(tar[..600].to_vec())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}
