//! `longshore init`: from nothing to a first run.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::ExposeSecret;

use crate::args::Init;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;

/// The configuration that is written, with places to fill in.
const TEMPLATE: &str = include_str!("init.toml");

pub(super) async fn init(path: &Path, args: Init, output: Output) -> Result<Exit> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let identity = folder.join("identity.txt");
    refuse_existing(path)?;
    let makes_identity = args.recipient.is_empty();
    if makes_identity {
        refuse_existing(&identity)?;
    } else {
        plugins::expect_recipients(&args.recipient)?;
    }
    let found = plugins::find_cluster(args.connection.as_deref()).await?;
    // Names may hold line breaks, which would end the comment that they stand in.
    let databases: Vec<_> = found.databases.iter().map(|name| format!("\"{}\"", printable(name))).collect();
    let databases = databases.join(", ");
    output.line(format_args!("found {}: {databases}", found.server));
    // What was given may hold a password; what was found does not.
    match (&args.connection, found.connection.as_str()) {
        (Some(_), _) => {}
        (None, "") => output.note("it is where libpq looks first; --connection names another"),
        (None, connection) => output.note(format_args!("it is at {connection}; --connection names another")),
    }

    make_folder(folder)?;
    let destination = absolute(&args.destination.unwrap_or_else(usual_destination))?;
    make_folder(&destination)?;
    let recipients = if makes_identity {
        let (file, recipient) = plugins::new_identity();
        write_new(&identity, file.expose_secret())?;
        output.line(format_args!("made an identity: {}", identity.display()));
        vec![recipient]
    } else {
        args.recipient
    };
    let recipients = recipients.iter().map(|recipient| quoted(recipient)).collect::<Vec<_>>().join(", ");
    let config = TEMPLATE
        .replace("{server}", &found.server)
        .replace("{connection}", &quoted(&found.connection))
        .replace("{path}", &quoted(&destination.display().to_string()))
        .replace("{recipients}", &recipients)
        // Last, since a database may be named like one of the places.
        .replace("{databases}", &databases);
    write_new(path, &config)?;
    output.line(format_args!("wrote a configuration: {}", path.display()));
    if makes_identity {
        output.line(format_args!(
            "\nWithout the identity no backup can be opened, and with it every backup can. Copy {} to where\n\
             you keep what must survive this host, then remove it from here: making backups needs only its public half.",
            identity.display()
        ));
    }
    let config = path.display();
    output.line(format_args!("ships to {}", destination.display()));
    output.line(format_args!(
        "\nNext: `longshore --config {config} check`, then `longshore --config {config} run nightly`"
    ));
    Ok(Exit::Done)
}

fn refuse_existing(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let name = path.display().to_string();
    Err(Error::new(Stage::Config, Kind::AlreadyExists, name, "is there already, and nothing is ever overwritten")
        .hint("name another file with --config FILE, or move this one away"))
}

/// Makes a folder for its owner alone, unless it is there.
fn make_folder(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Error::io(Stage::Config, folder.display().to_string(), "cannot make the folder", error))
}

/// Writes a file of mode 600 that is not there yet.
fn write_new(path: &Path, content: &str) -> Result<()> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(content.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| Error::io(Stage::Config, path.display().to_string(), "cannot write it", error))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::io(Stage::Config, path.display().to_string(), "not a path that can be used", error))
}

fn usual_destination() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/backups/postgresql");
    }
    PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join("longshore-backups")
}

/// Text as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
