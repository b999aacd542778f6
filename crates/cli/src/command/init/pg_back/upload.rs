//! The destinations of pg_back: its directory, and the place that it uploads to.

use std::path::Path;

use super::keys::Keys;
use super::quoted;

/// A destination of the new configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Upload {
    /// The name.
    pub(super) name: &'static str,
    /// The table.
    pub(super) table: String,
}

/// The settings of a destination, as lines.
struct Table {
    name: &'static str,
    lines: Vec<String>,
}

impl Table {
    fn new(kind: &'static str) -> Self {
        Self { name: kind, lines: vec![format!("type = \"{kind}\"")] }
    }

    fn set(&mut self, setting: &str, value: Option<String>) {
        self.lines.extend(value.map(|value| format!("{setting} = {}", quoted(&value))));
    }

    fn line(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    fn finish(self) -> Upload {
        let table = format!("[destination.{}]\n{}\n", self.name, self.lines.join("\n"));
        Upload { name: self.name, table }
    }
}

/// The keys of each place, with those of the others.
const PLACES: [(&str, &[&str]); 5] = [
    (
        "s3",
        &["s3_bucket", "s3_region", "s3_endpoint", "s3_profile", "s3_key_id", "s3_secret", "s3_force_path", "s3_tls"],
    ),
    ("b2", &["b2_bucket", "b2_key_id", "b2_app_key", "b2_force_path", "b2_concurrent_connections"]),
    (
        "sftp",
        &[
            "sftp_host",
            "sftp_port",
            "sftp_user",
            "sftp_password",
            "sftp_directory",
            "sftp_identity",
            "sftp_ignore_hostkey",
        ],
    ),
    ("gcs", &["gcs_bucket", "gcs_endpoint", "gcs_keyfile"]),
    ("azure", &["azure_container", "azure_account", "azure_key", "azure_endpoint"]),
];

/// Translates the place that pg_back uploads to, if there is one. `folder` is that of the new
/// configuration, for files with secrets.
pub(super) fn upload(keys: &mut Keys, folder: &Path) -> Result<Option<Upload>, String> {
    let place = keys.take("upload", "job.nightly ship").unwrap_or_else(|| "none".to_owned()).to_lowercase();
    for (other, names) in PLACES.iter().filter(|(other, _)| *other != place) {
        names.iter().for_each(|name| keys.leave(name, &format!("upload is {place}, not {other}")));
    }
    let upload = match place.as_str() {
        "none" => {
            keys.leave("upload_prefix", "upload is none");
            return Ok(None);
        }
        "s3" => s3(keys, folder),
        "b2" => b2(keys, folder),
        "sftp" => sftp(keys),
        "gcs" => gcs(keys),
        "azure" => azure(keys, folder),
        _ => return Err("upload must be none, b2, s3, sftp, gcs or azure".to_owned()),
    };
    upload.map(Some)
}

/// Takes a key that an upload cannot work without.
fn required(keys: &mut Keys, key: &str, setting: &str) -> Result<Option<String>, String> {
    let value = keys.take(key, setting);
    if value.is_none() { Err(format!("{key} is missing")) } else { Ok(value) }
}

fn prefix(keys: &mut Keys, table: &mut Table) {
    let prefix = keys.take("upload_prefix", "prefix of the destination");
    table.set("prefix", prefix.map(|prefix| prefix.trim_matches('/').to_owned()).filter(|prefix| !prefix.is_empty()));
}

/// Names the file for a secret, which is not copied.
fn secret(keys: &mut Keys, key: &str, table: &mut Table, setting: &str, file: &Path) {
    if keys.look(key).is_some() {
        table.set(setting, Some(file.display().to_string()));
        keys.leave(key, &format!("secrets are not copied: write it to {} (mode 600)", file.display()));
    }
}

fn s3(keys: &mut Keys, folder: &Path) -> Result<Upload, String> {
    let mut table = Table::new("s3");
    table.set("bucket", required(keys, "s3_bucket", "destination.s3 bucket")?);
    prefix(keys, &mut table);
    table.set("region", keys.take("s3_region", "destination.s3 region"));
    let plain_http = keys.look("s3_tls").is_some() && !keys.is_true("s3_tls");
    keys.take("s3_tls", "destination.s3 endpoint");
    if let Some(endpoint) = keys.take("s3_endpoint", "destination.s3 endpoint") {
        let scheme = if plain_http { "http" } else { "https" };
        let has_scheme = endpoint.contains("://");
        let endpoint = if has_scheme { endpoint } else { format!("{scheme}://{endpoint}") };
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        if endpoint.starts_with("http://") {
            table.line("allow_http = true");
        }
        table.set("endpoint", Some(endpoint));
    }
    if keys.look("s3_force_path").is_some() {
        table.line(&format!("path_style = {}", keys.is_true("s3_force_path")));
        keys.take("s3_force_path", "destination.s3 path_style");
    }
    table.set("profile", keys.take("s3_profile", "destination.s3 profile"));
    table.set("access_key_id", keys.take("s3_key_id", "destination.s3 access_key_id"));
    secret(keys, "s3_secret", &mut table, "secret_access_key_file", &folder.join("s3-secret"));
    Ok(table.finish())
}

fn b2(keys: &mut Keys, folder: &Path) -> Result<Upload, String> {
    let mut table = Table::new("s3");
    table.line("# Backblaze B2 by its S3 interface: set the endpoint of the bucket's region.");
    table.line("endpoint = \"https://s3.us-west-004.backblazeb2.com\"");
    table.set("bucket", required(keys, "b2_bucket", "destination.s3 bucket")?);
    prefix(keys, &mut table);
    table.set("access_key_id", keys.take("b2_key_id", "destination.s3 access_key_id"));
    secret(keys, "b2_app_key", &mut table, "secret_access_key_file", &folder.join("b2-app-key"));
    keys.leave("b2_force_path", "addresses contain the bucket in the path if an endpoint is set");
    keys.leave("b2_concurrent_connections", "parts_at_once of the destination limits the uploads of one file");
    Ok(table.finish())
}

fn sftp(keys: &mut Keys) -> Result<Upload, String> {
    let mut table = Table::new("sftp");
    let host = required(keys, "sftp_host", "destination.sftp host")?.unwrap_or_default();
    let user = keys.take("sftp_user", "destination.sftp host");
    table.set("host", Some(user.map_or_else(|| host.clone(), |user| format!("{user}@{host}"))));
    if let Some(port) = keys.take("sftp_port", "destination.sftp port") {
        let port: u16 = port.parse().map_err(|_| "sftp_port is not a number".to_owned())?;
        table.line(&format!("port = {port}"));
    }
    let directory = keys.take("sftp_directory", "destination.sftp path").unwrap_or_else(|| ".".to_owned());
    let below = keys.take("upload_prefix", "destination.sftp path").unwrap_or_default();
    let path = format!("{}/{}", directory.trim_end_matches('/'), below.trim_matches('/'));
    table.set(
        "path",
        Some(path.trim_end_matches('/').to_owned()).map(|path| if path.is_empty() { "/".to_owned() } else { path }),
    );
    table.set("identity_file", keys.take("sftp_identity", "destination.sftp identity_file"));
    keys.leave("sftp_password", "ssh logs in with a key; an agent can hold the passphrase of the key");
    keys.leave("sftp_ignore_hostkey", "the key of the host is always checked: add it to known_hosts");
    Ok(table.finish())
}

fn gcs(keys: &mut Keys) -> Result<Upload, String> {
    let mut table = Table::new("gcs");
    table.set("bucket", required(keys, "gcs_bucket", "destination.gcs bucket")?);
    prefix(keys, &mut table);
    table.set("endpoint", keys.take("gcs_endpoint", "destination.gcs endpoint"));
    table.set("service_account_file", keys.take("gcs_keyfile", "destination.gcs service_account_file"));
    Ok(table.finish())
}

fn azure(keys: &mut Keys, folder: &Path) -> Result<Upload, String> {
    let mut table = Table::new("azure");
    table.set("account", required(keys, "azure_account", "destination.azure account")?);
    table.set("container", required(keys, "azure_container", "destination.azure container")?);
    prefix(keys, &mut table);
    match keys.look("azure_endpoint") {
        // The default of pg_back is that of Longshore.
        None | Some("blob.core.windows.net") => drop(keys.take("azure_endpoint", "the default of destination.azure")),
        Some(_) => {
            let endpoint = keys.take("azure_endpoint", "destination.azure endpoint").unwrap_or_default();
            table
                .set("endpoint", Some(if endpoint.contains("://") { endpoint } else { format!("https://{endpoint}") }));
        }
    }
    secret(keys, "azure_key", &mut table, "access_key_file", &folder.join("azure-key"));
    Ok(table.finish())
}
