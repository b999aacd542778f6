//! An account with a shell: uploads are hidden, verified on the host, and published without
//! overwriting.

use std::ffi::OsStr;

use longshore_core::Result;
use longshore_core::aftercare::{see_out, see_to};
use longshore_core::key::Key;
use longshore_core::stream::ByteStream;
use longshore_ssh::directory::{Directory, Location};

use crate::Destination;

/// A temporary file that rsync writes. Dropping the guard removes the file, unless it was
/// published.
struct TempFileGuard(Option<(Directory, Location)>);

impl TempFileGuard {
    /// Leaves the temporary file to its new owner.
    fn disarm(mut self) {
        self.0 = None;
    }

    /// Removes the temporary file, and waits for the removal.
    async fn delete(mut self) {
        if let Some((directory, location)) = self.0.take() {
            see_out(directory.delete_temp_file(location)).await;
        }
    }
}

impl Drop for TempFileGuard {
    fn drop(&mut self) {
        if let Some((directory, location)) = self.0.take() {
            see_to(directory.delete_temp_file(location));
        }
    }
}

impl Destination {
    /// Ships to an account with a shell. Fails before a byte is read if the name exists.
    pub(crate) async fn ship_to_shell(&self, key: &Key, body: ByteStream) -> Result<()> {
        let location = Location::of(key);
        self.directory.prepare(&location).await?;
        let spooled = self.spool.write(body).await?;
        let guard = TempFileGuard(Some((self.directory.clone(), location.clone())));
        // With --inplace, an interrupted call leaves its bytes under the hidden temporary name, and
        // the next call sends the rest.
        let to = self.transfer.remote_path(&location.temp_name);
        let options = ["--secluded-args", "--inplace", "--no-whole-file", "--ignore-times", "--"];
        let arguments: Vec<_> = options.iter().map(OsStr::new).chain([spooled.path.as_os_str(), &to]).collect();
        match self.transfer.run(&location.name, &arguments).await {
            Ok(_) => {
                // From here on the directory is responsible for the temporary file.
                guard.disarm();
                self.directory.publish(location, spooled.digest.clone()).await
            }
            Err(error) => {
                guard.delete().await;
                Err(error)
            }
        }
    }
}
