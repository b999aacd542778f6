//! Lists the content of a backup, one line per object: pg_restore's list of an archive, or the
//! objects named in a script's comments.

use futures_util::StreamExt;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::DatabaseTarget;
use longshore_core::stream::{self, ByteStream};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Exit, Pipes, Process, feed};
use longshore_pg_client::client::{Client, plain_command};
use longshore_pg_client::directory;

/// The maximum size of a list in bytes.
const MAX_LIST_BYTES: usize = 256 << 20;

/// The maximum number of bytes inspected per line of a script.
const MAX_LINE_BYTES: usize = 64 << 10;

/// The hint if pg_restore cannot list an archive.
const UNREADABLE_HINT: &str = "install the client programs of the release that wrote the backup, or newer ones, and set bin_dir of the cluster to \
     their directory; run `longshore verify` to check the backup for damage";

/// Lists the content of the plaintext.
pub(crate) async fn entries(
    client: &Client,
    target: &DatabaseTarget,
    manifest: &Manifest,
    plaintext: ByteStream,
) -> Result<Vec<String>> {
    let label = manifest.subject.to_string();
    if manifest.artifact.format == Format::Plain {
        return script_objects(plaintext).await;
    }
    let mut command = plain_command(&client.newest_tool("pg_restore").await?);
    command.arg("--list");
    if manifest.artifact.format == Format::Directory {
        let folder = directory::private_folder(target.scratch_dir.as_deref(), Stage::Restore)?;
        directory::unpack(plaintext, folder.path(), Stage::Restore, &label).await?;
        command.arg(folder.path().join("dump"));
        return lines(Process::start(command, "pg_restore", Pipes::Output)?, stream::from_bytes(""), &label).await;
    }
    lines(Process::start(command, "pg_restore", Pipes::Both)?, plaintext, &label).await
}

/// Writes the input of a child process and returns the lines of its output.
pub(crate) async fn lines(mut process: Process, mut input: ByteStream, label: &str) -> Result<Vec<String>> {
    let mut stdin = process.stdin.take();
    let subject = label.to_owned();
    // A program too old for the archive fails as well.
    let failure = async move |exit: Exit| exit.error(Stage::Restore, Kind::Failed, &subject).hint(UNREADABLE_HINT);
    let output = process.into_stream(failure, |_| {});
    let collected = async { Ok::<_, Error>(stream::collect(output, MAX_LIST_BYTES, Stage::Restore, label).await) };
    let (text, ()) = tokio::try_join!(collected, feed(&mut stdin, &mut input, None))?;
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            // Damage is detected at the end of the stream.
            stream::drain(input).await?;
            return Err(error);
        }
    };
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// Returns the objects of a script, from the comment before each, or the roles and tablespaces that
/// the script creates.
async fn script_objects(mut plaintext: ByteStream) -> Result<Vec<String>> {
    let mut objects = Vec::new();
    let mut partial_line: Vec<u8> = Vec::new();
    while let Some(chunk) = plaintext.next().await {
        let chunk = chunk?;
        let mut lines = chunk.split(|byte| *byte == b'\n');
        partial_line.extend_from_slice(lines.next().unwrap_or_default());
        for next in lines {
            objects.extend(object(&String::from_utf8_lossy(&partial_line)));
            partial_line.clear();
            partial_line.extend_from_slice(next);
        }
        // An object's line is short; the start of a long line suffices to rule it out.
        partial_line.truncate(MAX_LINE_BYTES);
    }
    Ok(objects)
}

/// Returns the object that a line of a script names.
fn object(line: &str) -> Option<String> {
    let statement = line.starts_with("CREATE ROLE ") || line.starts_with("CREATE TABLESPACE ");
    let statement = statement.then(|| line.trim_end_matches(';').to_owned());
    line.strip_prefix("-- Name: ").map(str::to_owned).or(statement)
}

#[cfg(test)]
mod tests {
    use longshore_core::plugin::Cluster;

    use super::*;

    /// Returns the error of listing an archive of a far-future version, whose bytes end as given.
    async fn list_error(end: Option<Error>) -> Error {
        let cluster = Cluster { name: "main".into(), connection: String::new().into(), password: None, bin_dir: None };
        let mut command = plain_command(&Client::new(&cluster).unwrap().newest_tool("pg_restore").await.unwrap());
        command.arg("--list");
        let head = b"PGDMP\x01\x63\x00\x04\x08\x01".to_vec();
        let bytes = [Ok(head.into()), Ok(vec![0; 1 << 16].into())].into_iter().chain(end.map(Err));
        let process = Process::start(command, "pg_restore", Pipes::Both).unwrap();
        lines(process, futures_util::stream::iter(bytes).boxed(), "appdb").await.unwrap_err()
    }

    #[tokio::test]
    async fn newer_archive_is_not_reported_as_damaged() {
        let error = list_error(None).await;
        assert_eq!(error.kind(), Kind::Failed, "{}", error.chain());
        assert!(error.remedy().is_some_and(|hint| hint.contains("bin_dir")), "{error:?}");
    }

    #[tokio::test]
    async fn damaged_stream_is_reported_as_corrupt() {
        let damaged = Error::new(Stage::Ship, Kind::Corrupt, "appdb", "its digest differs");
        assert_eq!(list_error(Some(damaged)).await.kind(), Kind::Corrupt);
    }

    #[tokio::test]
    async fn script_objects_span_chunks() {
        let script = "--\n-- Name: t; Type: TABLE\n--\nCREATE TABLE t ();\nCREATE ROLE app;\n-- Name: u; Type: VIEW\n";
        for length in [1, 7, 1000] {
            let chunks: Vec<_> = script.as_bytes().chunks(length).map(|chunk| Ok(chunk.to_vec().into())).collect();
            let objects = script_objects(futures_util::stream::iter(chunks).boxed()).await.unwrap();
            assert_eq!(objects, ["t; Type: TABLE", "CREATE ROLE app", "u; Type: VIEW"]);
        }
    }
}
