//! `longshore init`: write a configuration for a first run.

mod cluster;
mod destination;
mod pg_back;

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_trust::role::ROLES;
use longshore_trust::signing_key::{KeyError, SigningKey};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use self::destination::{NewDestination, quoted};
use crate::args::Init;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;

/// The template of the configuration.
const TEMPLATE: &str = include_str!("init.toml");

/// The tables about signatures.
const SIGNING: &str = "\
# The key that signs the records of the backups.
[signing]
key = {signing_key}

# The keys whose records this host trusts. With it, this host verifies signatures, and notices what
# is deleted or rolled back; with required = true, it refuses unsigned backups: longshore-trust(7).
# [trust]
# allowed_signers = {allowed_signers}
# required = false
";

/// The JSON Schema of the configuration, as the Debian package installs it.
const SCHEMA: &str = "/usr/share/longshore/config.schema.json";

/// Writes the configuration to `path`. `is_default` is true if `path` is the default path.
pub(super) async fn init(path: &Path, is_default: bool, args: Init, output: Output) -> Result<Exit> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let identity = folder.join("identity.txt");
    let signing = SigningFiles::in_folder(folder);
    refuse_existing(path, "pass another file with --config FILE, or move this file away")?;
    let makes_identity = args.recipient.is_empty();
    if makes_identity {
        let way_out = "pass --recipient with the public key of your identity, or move this file away";
        refuse_existing(&identity, way_out)?;
    } else {
        plugins::expect_recipients(&args.recipient)?;
    }
    signing.refuse_existing()?;
    if let Some(from) = &args.from {
        let translated = pg_back::translate(from, folder)?;
        let target = Target { path, is_default, folder, identity: &identity, signing: &signing };
        return write_translated(&target, translated, args.recipient, output);
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
        write_identity(&identity, &file, output)?;
        vec![recipient]
    } else {
        args.recipient
    };
    let signer = signing.create(output)?;
    let recipients = quoted_list(&recipients);
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
        .replace("{signing}", &signing.tables()?)
        // Last, since a database may be named like a placeholder.
        .replace("{databases}", &databases);
    write_new(path, &config)?;
    output.line(format_args!("wrote a configuration: {}", path.display()));
    if makes_identity {
        print_identity_advice(&identity, output);
    }
    print_signer(&signer, output);
    for destination in &destinations {
        output.line(format_args!("uploads to {} ([destination.{}])", destination.address(), destination.name));
    }
    if destinations.iter().any(|destination| destination.folder.is_none()) {
        output.line("\nProvide the credentials named in the configuration; `check` tests them.");
    }
    print_next_steps(path, is_default, &["nightly".to_owned()], output);
    Ok(Exit::Done)
}

/// The files that `init` writes.
struct Target<'a> {
    path: &'a Path,
    is_default: bool,
    folder: &'a Path,
    identity: &'a Path,
    signing: &'a SigningFiles,
}

/// The files of a new signing key.
struct SigningFiles {
    key: PathBuf,
    allowed_signers: PathBuf,
}

impl SigningFiles {
    fn in_folder(folder: &Path) -> Self {
        Self { key: folder.join("signing_key"), allowed_signers: folder.join("allowed_signers") }
    }

    fn refuse_existing(&self) -> Result<()> {
        let way_out = "move this file away: the configuration will name a new signing key";
        [&self.key, &self.allowed_signers].into_iter().try_for_each(|file| refuse_existing(file, way_out))
    }

    /// Creates the key. Returns the line of allowed signers that trusts it.
    fn create(&self, output: Output) -> Result<String> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let (key, line) = new_signing_key(&host)?;
        write_new(&self.key, &key)?;
        write_new(&self.allowed_signers, &format!("{line}\n"))?;
        output.line(format_args!("created a signing key: {}", self.key.display()));
        Ok(line)
    }

    /// Returns the tables of the configuration.
    fn tables(&self) -> Result<String> {
        let tables = SIGNING.replace("{signing_key}", &quoted(&absolute(&self.key)?));
        Ok(tables.replace("{allowed_signers}", &quoted(&absolute(&self.allowed_signers)?)))
    }
}

/// Writes a configuration that was translated from another tool's.
fn write_translated(
    target: &Target<'_>,
    translated: pg_back::FromPgBack,
    mut recipients: Vec<String>,
    output: Output,
) -> Result<Exit> {
    if recipients.is_empty() {
        recipients.extend(translated.recipient.clone());
    }
    let identity = recipients.is_empty().then(plugins::new_identity);
    recipients.extend(identity.as_ref().map(|(_, recipient)| recipient.clone()));
    plugins::expect_recipients(&recipients)?;
    let encrypt = format!("encrypt = {{ type = \"age\", recipients = [{}] }}", quoted_list(&recipients));
    let text = translated.config.replace("{encrypt}", &encrypt);
    let config = format!("{}\n{text}\n{}", schema_line(Path::new(SCHEMA)), target.signing.tables()?);
    // Nothing is written unless Longshore accepts the result.
    super::config::check_text(&config)?;
    make_folder(target.folder)?;
    translated.folder.as_deref().map_or(Ok(()), make_folder)?;
    if let Some((file, _)) = &identity {
        write_identity(target.identity, file, output)?;
    }
    let signer = target.signing.create(output)?;
    write_new(target.path, &config)?;
    output.line(format_args!("wrote a configuration: {}", target.path.display()));
    translated.print_notes(output);
    if identity.is_some() {
        print_identity_advice(target.identity, output);
    }
    print_signer(&signer, output);
    print_next_steps(target.path, target.is_default, &translated.jobs, output);
    Ok(Exit::Done)
}

/// Writes the file of a new identity.
fn write_identity(path: &Path, file: &SecretString, output: Output) -> Result<()> {
    write_new(path, file.expose_secret())?;
    output.line(format_args!("created an identity: {}", path.display()));
    Ok(())
}

fn print_identity_advice(identity: &Path, output: Output) {
    output.line(format_args!(
        "\nThe identity decrypts every backup, and no backup can be decrypted without it. Copy {} to a\n\
         safe place off this host, then remove the file here: creating backups needs only the public key.",
        identity.display()
    ));
}

fn print_signer(line: &str, output: Output) {
    output.line(format_args!(
        "\nOther hosts that read the backups trust this one by the following line of their allowed_signers:\n{line}"
    ));
}

fn print_next_steps(path: &Path, is_default: bool, jobs: &[String], output: Output) {
    let config = if is_default { String::new() } else { format!(" --config {}", path.display()) };
    let runs: Vec<String> = jobs.iter().map(|job| format!("`longshore{config} run {job}`")).collect();
    let (backups, each) = if jobs.len() == 1 { ("a backup", "one") } else { ("backups", "them") };
    output.line(format_args!(
        "\nNext: `longshore{config} check`, then {} for {backups} now, and\n\
         `longshore{config} schedule install` for {each} every night.",
        runs.join(" and ")
    ));
}

/// Quotes texts as members of a TOML list.
fn quoted_list(texts: &[String]) -> String {
    texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")
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

/// Creates a signing key. Returns the content of its file, and its line of allowed signers.
fn new_signing_key(host: &str) -> Result<(Zeroizing<String>, String)> {
    let failed = |error: KeyError| Error::new(Stage::Config, Kind::Failed, "signing key", error.message);
    let key = SigningKey::generate(&format!("longshore@{host}")).map_err(failed)?;
    let principals: Vec<String> = ROLES.iter().map(|role| format!("{role}@{host}")).collect();
    Ok((Zeroizing::new(key.to_file().map_err(failed)?), key.public_line(&principals.join(","))))
}

/// Returns the absolute path as text.
fn absolute(path: &Path) -> Result<String> {
    let failed = |error| Error::io(Stage::Config, path.display().to_string(), "cannot resolve the path", error);
    Ok(std::path::absolute(path).map_err(failed)?.display().to_string())
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
