//! An account with a shell: uploads are hidden, verified on the host, and published without
//! overwriting.

use std::ffi::OsStr;

use longshore_core::Result;
use longshore_core::aftercare::{see_out, see_to};
use longshore_core::key::Key;
use longshore_core::stream::ByteStream;
use longshore_ssh::directory::{Directory, Place};

use crate::Destination;

/// A draft that rsync writes. Dropping it removes it, unless it was published.
struct Underway(Option<(Directory, Place)>);

impl Underway {
    /// Leaves the draft to its new owner.
    fn hand_over(mut self) {
        self.0 = None;
    }

    /// Removes the draft, and waits for the removal.
    async fn abandon(mut self) {
        if let Some((directory, place)) = self.0.take() {
            see_out(directory.abandon(place)).await;
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some((directory, place)) = self.0.take() {
            see_to(directory.abandon(place));
        }
    }
}

impl Destination {
    /// Ships to an account with a shell. Fails before a byte is read if the name exists.
    pub(crate) async fn ship_to_shell(&self, key: &Key, body: ByteStream) -> Result<()> {
        let place = Place::of(key);
        self.directory.prepare(&place).await?;
        let spooled = self.spool.take(body).await?;
        let underway = Underway(Some((self.directory.clone(), place.clone())));
        // With --inplace, an interrupted call leaves its bytes under the draft's hidden name, and
        // the next call sends the rest.
        let to = self.transfer.place(&place.draft);
        let options = ["--secluded-args", "--inplace", "--no-whole-file", "--ignore-times", "--"];
        let words: Vec<_> = options.iter().map(OsStr::new).chain([spooled.path.as_os_str(), &to]).collect();
        match self.transfer.run(&place.name, &words).await {
            Ok(_) => {
                // From here on the directory is responsible for the draft.
                underway.hand_over();
                self.directory.publish(place, spooled.digest.clone()).await
            }
            Err(error) => {
                underway.abandon().await;
                Err(error)
            }
        }
    }
}
