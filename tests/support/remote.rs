//! Remote destinations, as lines of a configuration.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use longshore_testkit::ceph::{self, Ceph, Protection};
use longshore_testkit::garage::{Garage, Permission, REGION};
use longshore_testkit::sshd::{Account, Sshd};
use serde_json::json;

use super::TestEnv;

impl TestEnv {
    /// Returns the lines of a destination on an SSH server: `kind` is `ssh`, `sftp` or `rsync`, and
    /// `more` is appended.
    pub(crate) fn on_host(&self, kind: &str, sshd: &Sshd, more: &str) -> String {
        let account = if kind == "sftp" { Account::Sftp } else { Account::Shell };
        let mut settings = sshd.settings(account);
        settings["path"] = json!(sshd.backups());
        // JSON strings and numbers are valid TOML.
        let lines = settings.as_object().unwrap().iter().map(|(name, value)| format!("{name} = {value}\n"));
        format!("type = '{kind}'\n{}{more}\n", lines.collect::<String>())
    }

    /// Creates a bucket and a key with `permission`, and returns the lines of a destination in the
    /// bucket.
    pub(crate) fn in_bucket(&self, garage: &Garage, bucket: &str, permission: Permission, more: &str) -> String {
        let key = garage.bucket(bucket, permission);
        self.s3(bucket, garage.address(0), REGION, [&key.id, &key.secret], more)
    }

    /// Creates a bucket of Ceph that protects removed objects, and returns the lines of
    /// a destination in the bucket.
    pub(crate) fn in_ceph_bucket(&self, ceph: &Ceph, bucket: &str, protection: Protection, more: &str) -> String {
        ceph.bucket(bucket, protection);
        self.s3(bucket, ceph.address(), ceph::REGION, [ceph::KEY, ceph::SECRET], more)
    }

    /// Returns the lines of a destination in a bucket at this address.
    pub(crate) fn s3(
        &self,
        bucket: &str,
        address: SocketAddr,
        region: &str,
        [id, secret]: [&str; 2],
        more: &str,
    ) -> String {
        let file = self.path(&format!("secret-of-{bucket}"));
        fs::write(&file, secret).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        format!(
            "type = 's3'\nbucket = '{bucket}'\nregion = '{region}'\nendpoint = 'http://{address}'\nallow_http = true\n\
             access_key_id = '{id}'\nsecret_access_key_file = '{}'\n{more}\n",
            file.display()
        )
    }
}
