//! Destinations that are not folders, as lines of a configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use longshore_testkit::garage::{Garage, Permission, REGION};
use longshore_testkit::sshd::{Account, Sshd};
use serde_json::json;

use super::Workshop;

impl Workshop {
    /// A destination that an SSH server serves: `kind` is `ssh`, `sftp` or `rsync`, and `more` are more lines.
    pub(crate) fn on_host(&self, kind: &str, sshd: &Sshd, more: &str) -> String {
        let account = if kind == "sftp" { Account::Sftp } else { Account::Shell };
        let mut settings = sshd.settings(account);
        settings["path"] = json!(sshd.backups());
        // What JSON writes of names and numbers is TOML, too.
        let lines = settings.as_object().unwrap().iter().map(|(name, value)| format!("{name} = {value}\n"));
        format!("type = '{kind}'\n{}{more}\n", lines.collect::<String>())
    }

    /// A destination in a bucket, which is made, for who may do this with it.
    pub(crate) fn in_bucket(&self, garage: &Garage, bucket: &str, permission: Permission, more: &str) -> String {
        let key = garage.bucket(bucket, permission);
        let secret = self.path(&format!("secret-of-{bucket}"));
        fs::write(&secret, key.secret).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        format!(
            "type = 's3'\nbucket = '{bucket}'\nregion = '{REGION}'\nendpoint = 'http://{}'\nallow_http = true\n\
             access_key_id = '{}'\nsecret_access_key_file = '{}'\n{more}\n",
            garage.address(0),
            key.id,
            secret.display()
        )
    }
}
