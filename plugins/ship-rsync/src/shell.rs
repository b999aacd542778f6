//! An account with a shell: uploads are hidden, verified on the host, and published without
//! overwriting.

use std::ffi::OsStr;

use longshore_core::Result;
use longshore_core::key::Key;
use longshore_core::stream::ByteStream;
use longshore_ssh::directory::Location;

use crate::Destination;

impl Destination {
    /// Ships to an account with a shell. Fails before a byte is read if the name exists.
    pub(crate) async fn ship_to_shell(&self, key: &Key, body: ByteStream) -> Result<()> {
        let location = Location::of(key);
        self.directory.prepare(&location).await?;
        let spooled = self.spool.write(body).await?;
        let upload = self.directory.upload(location.clone(), spooled.digest.clone());
        // With --inplace, an interrupted call leaves its bytes under the hidden temporary name, and
        // the next call sends the rest.
        let to = self.transfer.remote_path(&location.temp_name);
        let options = ["--secluded-args", "--inplace", "--no-whole-file", "--ignore-times", "--"];
        let arguments: Vec<_> = options.iter().map(OsStr::new).chain([spooled.path.as_os_str(), &to]).collect();
        let sent = self.transfer.run(&location.name, &arguments).await;
        upload.finish(sent.map(drop)).await
    }
}
