//! `longshore init`: from nothing to a first run.

mod cluster;
mod ship;

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::ExposeSecret;

use self::ship::{Ship, quoted};
use crate::args::Init;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;

/// The configuration that is written, with places to fill in.
const TEMPLATE: &str = include_str!("init.toml");

/// Writes the configuration at `path`, which is where longshore looks by itself or not.
pub(super) async fn init(path: &Path, is_usual: bool, args: Init, output: Output) -> Result<Exit> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let identity = folder.join("identity.txt");
    refuse_existing(path, "name another file with --config FILE, or move this one away")?;
    let makes_identity = args.recipient.is_empty();
    if makes_identity {
        let way_out = "give --recipient with the public key of an identity that you keep, or move this file away";
        refuse_existing(&identity, way_out)?;
    } else {
        plugins::expect_recipients(&args.recipient)?;
    }
    let ships = ships(&args)?;
    let found = cluster::find(args.connection.as_deref(), output).await?;
    // Names may hold line breaks, which would end the comment that they stand in.
    let databases: Vec<_> = found.databases.iter().map(|name| format!("\"{}\"", printable(name))).collect();
    let databases = databases.join(", ");
    output.line(format_args!("found {}: {databases}", found.server));

    make_folder(folder)?;
    ships.iter().filter_map(|ship| ship.folder.as_deref()).try_for_each(make_folder)?;
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
        .replace("{destinations}", &ships.iter().map(Ship::table).collect::<Vec<_>>().join("\n"))
        .replace("{ship}", &ships.iter().map(|ship| quoted(&ship.name)).collect::<Vec<_>>().join(", "))
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
    for ship in &ships {
        output.line(format_args!("ships to {} ([destination.{}])", ship.place(), ship.name));
    }
    if ships.iter().any(|ship| ship.folder.is_none()) {
        output.line("\nSee that the credentials named in the configuration are there: `check` tries them.");
    }
    let config = if is_usual { String::new() } else { format!(" --config {}", path.display()) };
    output.line(format_args!("\nNext: `longshore{config} check`, then `longshore{config} run nightly`"));
    Ok(Exit::Done)
}

/// The destinations that are asked for, or else a folder of this host.
fn ships(args: &Init) -> Result<Vec<Ship>> {
    let folder = args.destination.as_deref().map(Ship::local);
    let mut ships =
        folder.into_iter().chain(args.ship.iter().map(|text| Ship::parse(text))).collect::<Result<Vec<_>>>()?;
    if ships.is_empty() {
        ships.push(Ship::local(&usual_destination())?);
    }
    Ship::name_apart(&mut ships);
    Ok(ships)
}

fn refuse_existing(path: &Path, way_out: &str) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let name = path.display().to_string();
    Err(Error::new(Stage::Config, Kind::AlreadyExists, name, "is there already, and nothing is ever overwritten")
        .hint(way_out))
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

fn usual_destination() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/backups/postgresql");
    }
    PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join("longshore-backups")
}
