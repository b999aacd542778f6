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
/// size: another program may still be writing it, which is no damage.
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
                let message = format!("changed while it was read: {bytes} bytes instead of {}", file.bytes);
                Err(Error::new(Stage::Catalog, Kind::Failed, file.key.as_str(), message)
                    .hint("run `longshore adopt take` again when the file is complete"))?;
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

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use longshore_catalog::catalog::Series;
    use longshore_core::key::{BackupName, Key};
    use longshore_core::stream::drain;
    use longshore_core::subject::Subject;
    use longshore_testkit::memory::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn file_of_another_size_is_no_damage() {
        let store = MemoryStore::new();
        let [contents, part] = ["app/toc.dat", "app/1.dat"].map(|key| Key::parse(key).unwrap());
        let file = Adopted {
            name: BackupName::from_adopted_key(&contents),
            series: Series { cluster: "main".to_owned(), subject: Subject::database("app"), job: "old".to_owned() },
            time: Utc::now(),
            key: contents.clone(),
            bytes: 6,
            parts: vec![Entry::new(part.clone(), 3)],
            checksums: Vec::new(),
            marks: Default::default(),
        };
        store.put(&contents, "toc");
        for (rows, is_good) in [("row", true), ("ro", false), ("rows", false)] {
            store.put(&part, rows);
            let result = drain(packed(Arc::new(store.clone()), &file)).await;
            assert_eq!(result.is_ok(), is_good, "{rows}");
            let Err(error) = result else { continue };
            assert_eq!((error.kind(), error.subject()), (Kind::Failed, part.as_str()));
            assert!(error.remedy().unwrap().contains("adopt take"), "{error:?}");
        }
    }
}
