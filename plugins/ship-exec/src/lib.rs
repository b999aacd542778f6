//! Ships to a destination that a program of the operator reaches, as `type = "exec"`. The program
//! implements the protocol `longshore-exec/1`: each operation starts it once.
//!
//! | file | contents |
//! | --- | --- |
//! | `upload.rs` | an upload: the body, the commit, and the removal after a failure |
//! | `objects.rs` | listing, inspecting, reading and removing objects |

mod objects;
mod upload;

use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use longshore_core::atomic_upload::AtomicUpload;
use longshore_core::check::{Check, Finding};
use longshore_core::key::Key;
use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::{Capabilities, Entry, IncompleteUploads, Leftover, Limits, Ship, Store};
use longshore_core::stream::ByteStream;
use longshore_core::temp_name::is_temp_name;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_exec::session::no_input;
use longshore_exec::{ExecProgram, Protocol, Request, Role, Session, output};

use self::objects::Objects;
use self::upload::Upload;

longshore_exec::program_settings! {
    /// `type = "exec"`: a destination that a program reaches. The program implements the protocol
    /// of longshore-exec(7).
    pub struct Exec {}
}

impl Plugin<dyn Store> for Exec {
    const TYPE: &'static str = "exec";

    fn in_plugin_dir(self, plugin_dir: &Path) -> Self {
        self.locate(plugin_dir)
    }

    fn build(self, context: &StoreContext) -> Result<Box<dyn Store>> {
        let program = self.program(context.stall_timeout)?;
        if program.protocol == Protocol::None {
            let subject = program.path().display().to_string();
            let message = "a destination needs a program of the protocol longshore-exec/1";
            return Err(Error::new(Stage::Config, Kind::Usage, subject, message).hint(
                "set protocol = \"longshore-exec/1\"; a plain command cannot distinguish the end of a body from its failure",
            ));
        }
        Ok(Box::new(ProgramStore { objects: Objects { program } }))
    }
}

/// The maximum number of concurrent uploads.
const MAX_UPLOADS: usize = 8;

/// A destination that a program reaches.
struct ProgramStore {
    objects: Objects,
}

impl ProgramStore {
    fn program(&self) -> &ExecProgram {
        &self.objects.program
    }
}

#[async_trait]
impl Check for ProgramStore {
    async fn check(&self) -> Vec<Finding> {
        let subject = self.program().path().display().to_string();
        match self.objects.work(Request::new(Stage::Ship, &subject, Role::Check)).await {
            Ok((ended, _)) => {
                let message = ended.done.note.unwrap_or_else(|| "the program reaches the destination".to_owned());
                vec![self.program().finding(Stage::Ship), Finding::good(subject, message)]
            }
            Err(error) => vec![Finding::failed(subject, &error)],
        }
    }
}

#[async_trait]
impl Ship for ProgramStore {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        let mut upload = AtomicUpload::new(Upload::new(self.objects.clone(), key.clone()));
        let written = upload.backend.write(body).await;
        upload.finish(written).await
    }

    fn limits(&self) -> Limits {
        // Each upload is several processes.
        Limits { uploads: Some(MAX_UPLOADS), ..Limits::default() }
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities { incomplete_uploads: Some(self), ..Capabilities::default() }
    }
}

#[async_trait]
impl Store for ProgramStore {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        let (entries, _) = self.objects.list(under).await?;
        Ok(stream::iter(entries.into_iter().map(Ok)).boxed())
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        self.objects.stat(key).await
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        let entry = self.objects.stat(key).await?;
        let range = range.unwrap_or(0..entry.bytes);
        if range.end > entry.bytes {
            let message =
                format!("has {} bytes, so the bytes {} to {} are missing", entry.bytes, range.start, range.end);
            return Err(Error::new(Stage::Ship, Kind::Corrupt, key.as_str(), message));
        }
        let expected = range.end - range.start;
        let request = Request::new(Stage::Ship, key.as_str(), Role::Fetch)
            .with("key", key.as_str())
            .with("offset", range.start)
            .with("length", expected);
        let session = Session::start(self.program(), request).await?;
        let key = key.clone();
        Ok(output(session, no_input(), move |ended| match ended.done.bytes_out {
            Some(bytes) if bytes == expected => Ok(()),
            found => {
                let message = format!("the program returned {} of {expected} bytes", found.unwrap_or_default());
                Err(Error::new(Stage::Ship, Kind::Corrupt, key.as_str(), message))
            }
        }))
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        self.objects.remove(key.as_str()).await
    }
}

#[async_trait]
impl IncompleteUploads for ProgramStore {
    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        Ok(self.objects.list(None).await?.1)
    }

    async fn discard(&self, leftover: &Leftover) -> Result<()> {
        if !is_temp_name(&leftover.name) {
            let message = "not a leftover of an interrupted writer";
            return Err(Error::new(Stage::Ship, Kind::Usage, &leftover.name, message));
        }
        self.objects.remove(&leftover.name).await
    }
}
