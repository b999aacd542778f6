//! What is in a backup, a line each: pg_restore's list of an archive, the objects that a script's comments name.

use futures_util::StreamExt;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::Target;
use longshore_core::stream::{self, ByteStream};
use longshore_core::{Kind, Result, Stage};
use longshore_pg_client::child::{Ended, Pipes, Running, feed};
use longshore_pg_client::client::{Client, plain_command};
use longshore_pg_client::directory;

/// The most bytes that a list may have.
const MAX_LIST_BYTES: usize = 256 << 20;

/// The most bytes of a line of a script that are looked at.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Lists what is in the plaintext.
pub(crate) async fn list(
    client: &Client,
    target: &Target,
    manifest: &Manifest,
    plaintext: ByteStream,
) -> Result<Vec<String>> {
    let label = manifest.subject.to_string();
    if manifest.artifact.format == Format::Plain {
        return of_script(plaintext).await;
    }
    let mut command = plain_command(&client.newest_tool("pg_restore").await?);
    command.arg("--list");
    if manifest.artifact.format == Format::Directory {
        let folder = directory::private_folder(target.scratch_dir.as_deref(), Stage::Restore)?;
        directory::unpack(plaintext, folder.path(), Stage::Restore, &label).await?;
        command.arg(folder.path().join("dump"));
        return lines(Running::start(command, "pg_restore", Pipes::Output)?, stream::from_bytes(""), &label).await;
    }
    lines(Running::start(command, "pg_restore", Pipes::Both)?, plaintext, &label).await
}

/// Feeds a child and takes its output line by line.
pub(crate) async fn lines(mut running: Running, mut input: ByteStream, label: &str) -> Result<Vec<String>> {
    let mut stdin = running.stdin.take();
    let subject = label.to_owned();
    let failure = async move |ended: Ended| ended.error(Stage::Restore, Kind::Corrupt, &subject);
    let output = running.into_stream(failure, |_| {});
    let collected = stream::collect(output, MAX_LIST_BYTES, Stage::Restore, label);
    let (text, ()) = tokio::try_join!(collected, feed(&mut stdin, &mut input, None))?;
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// The objects of a script, from the comments that stand before each, or the roles and tablespaces that it makes.
async fn of_script(mut plaintext: ByteStream) -> Result<Vec<String>> {
    let mut objects = Vec::new();
    let mut unfinished: Vec<u8> = Vec::new();
    while let Some(chunk) = plaintext.next().await {
        let chunk = chunk?;
        let mut lines = chunk.split(|byte| *byte == b'\n');
        unfinished.extend_from_slice(lines.next().unwrap_or_default());
        for next in lines {
            objects.extend(object(&String::from_utf8_lossy(&unfinished)));
            unfinished.clear();
            unfinished.extend_from_slice(next);
        }
        // An object's line is short; of a long one the beginning tells that it is none.
        unfinished.truncate(MAX_LINE_BYTES);
    }
    Ok(objects)
}

/// What a line of a script tells that there is.
fn object(line: &str) -> Option<String> {
    let made = line.starts_with("CREATE ROLE ") || line.starts_with("CREATE TABLESPACE ");
    let made = made.then(|| line.trim_end_matches(';').to_owned());
    line.strip_prefix("-- Name: ").map(str::to_owned).or(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scripts_objects_are_found_however_it_is_cut_into_chunks() {
        let script = "--\n-- Name: t; Type: TABLE\n--\nCREATE TABLE t ();\nCREATE ROLE app;\n-- Name: u; Type: VIEW\n";
        for length in [1, 7, 1000] {
            let chunks: Vec<_> = script.as_bytes().chunks(length).map(|chunk| Ok(chunk.to_vec().into())).collect();
            let objects = of_script(futures_util::stream::iter(chunks).boxed()).await.unwrap();
            assert_eq!(objects, ["t; Type: TABLE", "CREATE ROLE app", "u; Type: VIEW"]);
        }
    }
}
