//! Dumps in directory format as one tar stream, the form of their backups.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use longshore_catalog::adopt::Adopted;
use longshore_core::stage::{Entry, Store};
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};

/// The size of a tar's blocks in bytes.
const BLOCK: u64 = 512;

/// Packs the files of a dump, its table of contents first. Fails if a file does not have the listed
/// size.
pub(super) fn packed(store: Arc<dyn Store>, file: &Adopted) -> ByteStream {
    let contents = Entry::new(file.key.clone(), file.own_bytes());
    let files: Vec<Entry> = std::iter::once(contents).chain(file.parts.iter().cloned()).collect();
    let stream = async_stream::try_stream! {
        for file in files {
            yield header(&file)?;
            let mut content = store.fetch(&file.key, None).await?;
            let mut bytes = 0;
            while let Some(chunk) = content.next().await {
                let chunk = chunk?;
                bytes += chunk.len() as u64;
                yield chunk;
            }
            if bytes != file.bytes {
                let message = format!("has {bytes} bytes, but was listed with {}", file.bytes);
                Err(Error::new(Stage::Catalog, Kind::Corrupt, file.key.as_str(), message))?;
            }
            yield zeros(bytes.next_multiple_of(BLOCK) - bytes);
        }
        yield zeros(2 * BLOCK);
    };
    stream.boxed()
}

/// Returns the header of a file at the top level, without an owner or a time.
fn header(file: &Entry) -> Result<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(file.bytes);
    let name = file.key.file_name();
    header
        .set_path(name)
        .map_err(|error| Error::io(Stage::Catalog, file.key.as_str(), "cannot pack the file", error))?;
    header.set_cksum();
    Ok(Bytes::copy_from_slice(header.as_bytes()))
}

fn zeros(length: u64) -> Bytes {
    const ZEROS: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];
    Bytes::from_static(&ZEROS).slice(..length as usize)
}
