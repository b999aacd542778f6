//! Destinations of the command line: a directory, or an address such as
//! `ssh://backup@host/srv/backups`.

use std::path::{Path, PathBuf};

use longshore_core::{Error, Kind, Result, Stage};

/// A destination for the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewDestination {
    /// The name: that of its type, with a number if another destination has that name.
    pub(super) name: String,
    /// The settings, as names and values.
    settings: Vec<(&'static str, String)>,
    /// Comments: advice, and optional settings.
    comments: &'static str,
    /// The directory, if the destination is local.
    pub(super) folder: Option<PathBuf>,
}

const LOCAL: &str = "A local directory. Backups here are lost with the host: add a remote destination.";
const SSH: &str = "The directory must exist. ssh chooses the key, unless one is set here:
identity_file = \"/etc/longshore/id_ed25519\"";
const RSYNC: &str = "The directory must exist. spool_dir holds encrypted files until their upload ends.
identity_file = \"/etc/longshore/id_ed25519\"
spool_dir = \"/var/spool/longshore\"";
const S3: &str = "The bucket must exist. Credentials: AWS_* variables, ~/.aws/credentials, the instance role, or
these settings. The secret is in a file of mode 600, or in LoadCredential=s3:… of systemd (\"credential:s3\"):
access_key_id = \"…\"
secret_access_key_file = \"/etc/longshore/s3-secret\"
region = \"eu-central-1\"
An S3-compatible store:
endpoint = \"https://s3.example.net\"";
const GCS: &str = "The bucket must exist. Credentials: GOOGLE_APPLICATION_CREDENTIALS, the instance, or a key file:
service_account_file = \"/etc/longshore/google.json\"";
const AZURE: &str = "The container must exist. Credentials: AZURE_* variables, the managed identity, or a key file:
access_key_file = \"/etc/longshore/azure-key\"";

/// The hint with the supported addresses.
const ADDRESSES: &str = "use a local directory, ssh://USER@HOST/DIR, sftp://…, rsync://…, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, \
                     or az://ACCOUNT/CONTAINER/PREFIX";

impl NewDestination {
    /// Parses a directory or an address. Errors omit the address, which may contain a password.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            // A folder of such a name is more likely an address with one slash.
            if text.split('/').next().is_some_and(|first| first.ends_with(':')) {
                let error = Error::new(Stage::Config, Kind::Usage, format!("--ship {text}"), "is no address");
                return Err(error.hint(ADDRESSES));
            }
            return Self::local(Path::new(text));
        };
        let wrong = |message: &str| Error::new(Stage::Config, Kind::Usage, format!("--ship {scheme}://…"), message);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
            return Err(wrong("the address contains a password, which would be written to the configuration")
                .hint("remove the password; the configuration reads secrets from files and environment variables"));
        }
        if rest.contains(['?', '#']) || rest.contains(char::is_whitespace) {
            return Err(wrong("the address has parameters")
                .hint("remove \"?\" or \"#\" and all after it, and add the settings to the configuration"));
        }
        let needs = |what: &str| wrong(&format!("the address has no {what}")).hint(ADDRESSES);
        let prefix = |path: &str| path.trim_matches('/').to_owned();
        let mut settings = Vec::new();
        let comments = match scheme {
            "file" => return Self::local(Path::new(rest)),
            "ssh" | "sftp" | "rsync" => {
                let (host, port) = host(authority).ok_or_else(|| wrong("the port is not a number").hint(ADDRESSES))?;
                if host.rsplit('@').next().is_none_or(str::is_empty) {
                    return Err(needs("host"));
                }
                if prefix(path).is_empty() {
                    return Err(needs("directory"));
                }
                settings
                    .extend([("host", quoted(host)), ("path", quoted(&format!("/{}", path.trim_end_matches('/'))))]);
                settings.extend(port.map(|port| ("port", port.to_string())));
                if scheme == "rsync" { RSYNC } else { SSH }
            }
            "s3" | "gs" | "gcs" => {
                if authority.is_empty() {
                    return Err(needs("bucket"));
                }
                settings.push(("bucket", quoted(authority)));
                settings
                    .extend(Some(prefix(path)).filter(|path| !path.is_empty()).map(|path| ("prefix", quoted(&path))));
                if scheme == "s3" { S3 } else { GCS }
            }
            "az" | "azure" => {
                let path = prefix(path);
                let (container, below) = path.split_once('/').unwrap_or((&path, ""));
                if authority.is_empty() || container.is_empty() {
                    return Err(needs("account and container"));
                }
                settings.extend([("account", quoted(authority)), ("container", quoted(container))]);
                settings.extend(Some(below).filter(|below| !below.is_empty()).map(|below| ("prefix", quoted(below))));
                AZURE
            }
            _ => return Err(wrong("unknown scheme").hint(ADDRESSES)),
        };
        let name = match scheme {
            "gs" => "gcs",
            "az" => "azure",
            scheme => scheme,
        };
        settings.insert(0, ("type", quoted(name)));
        Ok(Self { name: name.to_owned(), settings, comments, folder: None })
    }

    /// Creates a local destination.
    pub(super) fn local(folder: &Path) -> Result<Self> {
        let subject = || folder.display().to_string();
        let folder =
            std::path::absolute(folder).map_err(|error| Error::io(Stage::Config, subject(), "invalid path", error))?;
        let settings = vec![("type", quoted("local")), ("path", quoted(&folder.display().to_string()))];
        Ok(Self { name: "local".to_owned(), settings, comments: LOCAL, folder: Some(folder) })
    }

    /// Makes the names of the destinations unique.
    pub(super) fn make_names_unique(all: &mut [Self]) {
        for index in 1..all.len() {
            let (before, rest) = all.split_at_mut(index);
            let destination = &mut rest[0];
            let own = destination.name.clone();
            let mut number = 1;
            while before.iter().any(|other| other.name == destination.name) {
                number += 1;
                destination.name = format!("{own}-{number}");
            }
        }
    }

    /// Renders the table of the configuration.
    pub(super) fn table(&self) -> String {
        let mut table = format!("[destination.{}]\n", self.name);
        for (setting, value) in &self.settings {
            table += &format!("{setting} = {value}\n");
        }
        for line in self.comments.lines() {
            table += &format!("# {line}\n");
        }
        table
    }

    /// Returns the address for people.
    pub(super) fn address(&self) -> String {
        let value = |wanted: &str| {
            let found = self.settings.iter().find(|(setting, _)| *setting == wanted)?;
            toml::from_str::<toml::Table>(&format!("it = {}", found.1)).ok()?.get("it")?.as_str().map(str::to_owned)
        };
        let parts = ["host", "account", "bucket", "container", "path", "prefix"].into_iter().filter_map(value);
        let address = parts.reduce(|all, part| format!("{}/{}", all, part.trim_start_matches('/'))).unwrap_or_default();
        if self.folder.is_some() { address } else { format!("{}://{address}", value("type").unwrap_or_default()) }
    }
}

/// Splits the host with its user from the port.
fn host(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        // An IPv6 address in brackets contains colons.
        Some((host, port)) if !port.ends_with(']') => Some((host, Some(port.parse().ok()?))),
        _ => Some((authority, None)),
    }
}

/// Quotes text as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> toml::Table {
        let table: toml::Table = toml::from_str(&NewDestination::parse(text).unwrap().table()).unwrap();
        let (_, destinations) = table.into_iter().next().unwrap();
        destinations.as_table().unwrap().values().next().unwrap().as_table().unwrap().clone()
    }

    #[test]
    fn parses_addresses_to_settings() {
        let read = |text: &str| serde_json::to_value(settings(text)).unwrap();
        let all = [
            ("/srv/backups", serde_json::json!({ "type": "local", "path": "/srv/backups" })),
            (
                "ssh://backup@host.example:2222/srv/backups/",
                serde_json::json!({ "type": "ssh", "host": "backup@host.example", "port": 2222, "path": "/srv/backups" }),
            ),
            ("sftp://vault/b", serde_json::json!({ "type": "sftp", "host": "vault", "path": "/b" })),
            ("rsync://[::1]/b", serde_json::json!({ "type": "rsync", "host": "[::1]", "path": "/b" })),
            ("s3://acme/pg/main/", serde_json::json!({ "type": "s3", "bucket": "acme", "prefix": "pg/main" })),
            ("s3://acme", serde_json::json!({ "type": "s3", "bucket": "acme" })),
            ("gs://acme/pg", serde_json::json!({ "type": "gcs", "bucket": "acme", "prefix": "pg" })),
            (
                "az://account/box/pg",
                serde_json::json!({ "type": "azure", "account": "account", "container": "box", "prefix": "pg" }),
            ),
        ];
        for (text, expected) in all {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn incomplete_addresses_are_errors() {
        for text in [
            "ssh://host",
            "s3:/acme/pg",
            "local:/srv",
            "ssh:///srv",
            "s3://",
            "az://account",
            "ftp://host/x",
            "ssh://host:x/srv",
            "s3://b?x=y",
        ] {
            let error = NewDestination::parse(text).unwrap_err();
            assert!(error.kind() == Kind::Usage && error.remedy().is_some(), "{text}: {error:?}");
        }
    }

    #[test]
    fn password_in_address_is_refused_and_not_quoted() {
        for text in ["ssh://user:hunter2@host/srv", "s3://KEY:hunter2@bucket/x"] {
            let error = NewDestination::parse(text).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn destinations_of_one_type_have_unique_names() {
        let mut all: Vec<_> =
            ["/a", "ssh://a/b", "/c", "/d"].into_iter().map(|text| NewDestination::parse(text).unwrap()).collect();
        NewDestination::make_names_unique(&mut all);
        let names: Vec<_> = all.iter().map(|destination| destination.name.as_str()).collect();
        assert_eq!(names, ["local", "ssh", "local-2", "local-3"]);
        assert_eq!((all[0].address(), all[1].address()), ("/a".to_owned(), "ssh://a/b".to_owned()));
    }
}
