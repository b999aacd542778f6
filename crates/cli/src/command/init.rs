//! `longshore init`: write a configuration for a first run.

mod cluster;
mod destination;

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::ExposeSecret;

use self::destination::{NewDestination, quoted};
use crate::args::Init;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;

/// The template of the configuration.
const TEMPLATE: &str = include_str!("init.toml");

/// The JSON Schema of the configuration, as the Debian package installs it.
const SCHEMA: &str = "/usr/share/longshore/config.schema.json";

/// Writes the configuration to `path`. `is_default` is true if `path` is the default path.
pub(super) async fn init(path: &Path, is_default: bool, args: Init, output: Output) -> Result<Exit> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let identity = folder.join("identity.txt");
    refuse_existing(path, "pass another file with --config FILE, or move this file away")?;
    let makes_identity = args.recipient.is_empty();
    if makes_identity {
        let way_out = "pass --recipient with the public key of your identity, or move this file away";
        refuse_existing(&identity, way_out)?;
    } else {
        plugins::expect_recipients(&args.recipient)?;
    }
    let destinations = destinations(&args)?;
    let found = cluster::find(args.connection.as_deref(), output).await?;
    // Names may contain line breaks, which would end the comment around them.
    let databases: Vec<_> = found.databases.iter().map(|name| format!("\"{}\"", printable(name))).collect();
    let databases = databases.join(", ");
    output.line(format_args!("found {}: {databases}", found.server));

    make_folder(folder)?;
    destinations.iter().filter_map(|destination| destination.folder.as_deref()).try_for_each(make_folder)?;
    let recipients = if makes_identity {
        let (file, recipient) = plugins::new_identity();
        write_new(&identity, file.expose_secret())?;
        output.line(format_args!("created an identity: {}", identity.display()));
        vec![recipient]
    } else {
        args.recipient
    };
    let recipients = recipients.iter().map(|recipient| quoted(recipient)).collect::<Vec<_>>().join(", ");
    let config = TEMPLATE
        .replace("{schema}", &schema_line(Path::new(SCHEMA)))
        .replace("{server}", &found.server)
        .replace("{connection}", &quoted(&found.connection))
        .replace("{destinations}", &destinations.iter().map(NewDestination::table).collect::<Vec<_>>().join("\n"))
        .replace(
            "{ship}",
            &destinations.iter().map(|destination| quoted(&destination.name)).collect::<Vec<_>>().join(", "),
        )
        .replace("{recipients}", &recipients)
        // Last, since a database may be named like a placeholder.
        .replace("{databases}", &databases);
    write_new(path, &config)?;
    output.line(format_args!("wrote a configuration: {}", path.display()));
    if makes_identity {
        output.line(format_args!(
            "\nThe identity decrypts every backup, and no backup can be decrypted without it. Copy {} to a\n\
             safe place off this host, then remove the file here: creating backups needs only the public key.",
            identity.display()
        ));
    }
    for destination in &destinations {
        output.line(format_args!("uploads to {} ([destination.{}])", destination.address(), destination.name));
    }
    if destinations.iter().any(|destination| destination.folder.is_none()) {
        output.line("\nProvide the credentials named in the configuration; `check` tests them.");
    }
    let config = if is_default { String::new() } else { format!(" --config {}", path.display()) };
    output.line(format_args!(
        "\nNext: `longshore{config} check`, then `longshore{config} run nightly` for a backup now, and\n\
         `longshore{config} schedule install` for one every night."
    ));
    Ok(Exit::Done)
}

/// Returns the destinations of the arguments, or else a local directory.
fn destinations(args: &Init) -> Result<Vec<NewDestination>> {
    let folder = args.destination.as_deref().map(NewDestination::local);
    let mut destinations = folder
        .into_iter()
        .chain(args.ship.iter().map(|text| NewDestination::parse(text)))
        .collect::<Result<Vec<_>>>()?;
    if destinations.is_empty() {
        destinations.push(NewDestination::local(&default_destination())?);
    }
    NewDestination::make_names_unique(&mut destinations);
    Ok(destinations)
}

/// Returns the line that names the schema for editors. Editors report an error for a schema that
/// does not exist, so without the file the line is a comment about a way to get the schema.
fn schema_line(path: &Path) -> String {
    if path.is_file() {
        format!("#:schema file://{}", path.display())
    } else {
        "# For editors: run `longshore config schema > config.schema.json` beside this file, and make the\n\
         # first line \"#:schema ./config.schema.json\"."
            .to_owned()
    }
}

fn refuse_existing(path: &Path, way_out: &str) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let name = path.display().to_string();
    Err(Error::new(Stage::Config, Kind::AlreadyExists, name, "already exists, and is never overwritten").hint(way_out))
}

/// Creates a directory of mode 700, unless it exists.
fn make_folder(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Error::io(Stage::Config, folder.display().to_string(), "cannot create the directory", error))
}

/// Writes a new file of mode 600.
fn write_new(path: &Path, content: &str) -> Result<()> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(content.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| Error::io(Stage::Config, path.display().to_string(), "cannot write the file", error))
}

fn default_destination() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/backups/postgresql");
    }
    PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join("longshore-backups")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_is_named_only_if_it_exists() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(schema_line(file.path()), format!("#:schema file://{}", file.path().display()));
        let missing = schema_line(Path::new("/nonexistent/config.schema.json"));
        assert!(missing.lines().all(|line| line.starts_with("# ")), "{missing}");
    }
}
