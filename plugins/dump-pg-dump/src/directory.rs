//! Formats that need room on disk: the directory format, packed as one tar stream, and the room that pg_dump's own tar format needs.

use std::path::Path;

use futures_util::StreamExt;
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Ended, Pipes, Running, Words};
use longshore_pg_client::client::Client;
use longshore_pg_client::directory;
use tokio::process::Command;

/// Dumps into a private folder below `scratch`, then streams it as a tar and removes each file as it has passed. The folder goes with the stream.
pub(crate) fn dump(
    mut command: Command,
    scratch: Option<&Path>,
    failure: impl Fn(&Ended) -> Error + Send + 'static,
    success: impl FnOnce(Words) + Send + 'static,
) -> Result<ByteStream> {
    let folder = directory::private_folder(scratch, Stage::Dump)?;
    command.arg("--file").arg(folder.path().join("dump"));
    let running = Running::start(command, "pg_dump", Pipes::Neither)?;
    let stream = async_stream::try_stream! {
        let ended = running.wait().await?;
        if !ended.status.success() {
            Err(failure(&ended))?;
        }
        for await chunk in directory::pack(folder) {
            yield chunk?;
        }
        success(ended.words);
    };
    Ok(stream.boxed())
}

/// pg_dump's tar format writes every table to a nameless file in the system's temporary folder before it goes to the archive.
const TAR_SCRATCH: &str = "/tmp";

/// Refuses a tar dump for which the largest table has no room.
pub(crate) async fn room_for_tar(client: &Client) -> Result<()> {
    let largest: u64 = client
        .ask("select coalesce(max(pg_table_size(oid)), 0) from pg_catalog.pg_class where relkind in ('r', 'm')")
        .await?;
    let space = rustix::fs::statvfs(TAR_SCRATCH)
        .map_err(|error| Error::io(Stage::Dump, TAR_SCRATCH, "cannot tell its free space", error.into()))?;
    let free = space.f_bavail * space.f_frsize;
    if free < largest {
        let message =
            format!("format = \"tar\" needs room for the largest table, {largest} bytes, but {free} are free");
        return Err(Error::new(Stage::Dump, Kind::Failed, TAR_SCRATCH, message)
            .hint("use format = \"custom\", which needs no room and restores as well"));
    }
    Ok(())
}
