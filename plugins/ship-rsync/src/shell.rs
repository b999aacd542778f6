//! An account with a shell: hidden while it is sent, judged there, published over nothing.

use std::ffi::OsStr;

use longshore_core::Result;
use longshore_core::aftercare::{see_out, see_to};
use longshore_core::key::Key;
use longshore_core::stream::ByteStream;
use longshore_ssh::directory::{Directory, Place};

use crate::Destination;

/// A draft that rsync writes to. Unless it was published, dropping it removes it.
struct Underway(Option<(Directory, Place)>);

impl Underway {
    /// Another sees to it.
    fn hand_over(mut self) {
        self.0 = None;
    }

    /// Removes it, and waits for that.
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
    /// Ships to an account with a shell. A name that is taken is told before a byte is read.
    pub(crate) async fn ship_to_shell(&self, key: &Key, body: ByteStream) -> Result<()> {
        let place = Place::of(key);
        self.directory.prepare(&place).await?;
        let spooled = self.spool.take(body).await?;
        let underway = Underway(Some((self.directory.clone(), place.clone())));
        // Written in place, what a cut call has brought over stays under the draft's hidden name, and the next one sends the rest.
        let to = self.transfer.place(&place.draft);
        let options = ["--secluded-args", "--inplace", "--no-whole-file", "--ignore-times", "--"];
        let words: Vec<_> = options.iter().map(OsStr::new).chain([spooled.path.as_os_str(), &to]).collect();
        match self.transfer.run(&place.name, &words).await {
            Ok(_) => {
                // From here on the directory sees to the draft.
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
