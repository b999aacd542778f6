//! `longshore wal`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueHint};
use longshore_core::unit::TimeSpan;

use super::{Identity, Json, Local, quantity};

/// The explanation of the exit codes of `wal push`.
const PUSH_HELP: &str = "Exit codes: 0 if every required destination has the file, else 1. PostgreSQL\n\
    counts no failure of a command that ends with a code above 125.";

/// The explanation of the exit codes of `wal fetch`.
const FETCH_HELP: &str = "Exit codes:\n  \
    0    delivered\n  \
    1    no destination has the file, and all of them were asked\n  \
    150  a destination could not be asked\n  \
    151  every copy is damaged\n  \
    152  a mistake on the command line or in the configuration, or a wrong identity\n  \
    153  a bug\n\
    PostgreSQL takes 1 to 125 for the end of the WAL, and stops recovery for more.\n\
    A standby is not stopped if a destination could not be asked: the code is then\n\
    1, and PostgreSQL asks again.";

/// The explanation of `wal receive`.
const RECEIVE_HELP: &str = "Runs until SIGTERM or SIGINT, and exits with 0 then. A server or a destination\n\
    that cannot be reached is tried again. Exits with 2 if the server does not have\n\
    the WAL any more.\n\n\
    Examples:\n  \
    longshore wal receive --create-slot\n  \
    longshore wal receive --cluster main --synchronous";

#[derive(Debug, Subcommand)]
pub(crate) enum Wal {
    /// Store a file of WAL at the destinations, for archive_command.
    #[command(after_help = PUSH_HELP)]
    Push(Push),
    /// Let PostgreSQL recycle WAL that is not archived, up to a segment: a gap.
    Abandon(Abandon),
    /// Fetch a file of WAL, for restore_command.
    #[command(after_help = FETCH_HELP)]
    Fetch(Fetch),
    /// Receive WAL while the server writes it, and store it at the destinations.
    #[command(after_help = RECEIVE_HELP)]
    Receive(Receive),
    /// Show the archived WAL of each timeline, and what is missing.
    Status(WalStatus),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Push {
    /// The path of the file, PostgreSQL's %p.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) archive: Archive,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Abandon {
    /// The path of the last segment to abandon, in the data directory: pg_wal/SEGMENT.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) archive: Archive,
    /// Do not prompt for the name of the cluster.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Fetch {
    /// The name of the file, PostgreSQL's %f.
    pub(crate) name: String,
    /// Write the file to this path, PostgreSQL's %p.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) archive: Archive,
    #[command(flatten)]
    pub(crate) identity: Identity,
    /// Stop a standby too if a destination cannot be asked.
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Receive {
    #[command(flatten)]
    pub(crate) archive: Archive,
    /// The physical replication slot, which makes the server keep the WAL until it is stored
    /// [default: that of the configuration, else longshore].
    #[arg(long, value_name = "NAME")]
    pub(crate) slot: Option<String>,
    /// Create the slot if it does not exist.
    #[arg(long)]
    pub(crate) create_slot: bool,
    /// Store the unfinished segment after this time, if it has grown [default: that of the
    /// configuration, else 60s].
    #[arg(long, value_name = "TIME", value_parser = quantity::<TimeSpan>)]
    pub(crate) partial_every: Option<TimeSpan>,
    /// Store WAL as soon as it arrives, for synchronous_standby_names = 'longshore'.
    #[arg(long, conflicts_with = "partial_every")]
    pub(crate) synchronous: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WalStatus {
    #[command(flatten)]
    pub(crate) archive: Archive,
    /// Connect to the server, and show how much of its WAL is not archived yet.
    #[arg(long)]
    pub(crate) server: bool,
    #[command(flatten)]
    pub(crate) local: Local,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Archive {
    /// The cluster; optional if only one has a table [cluster.NAME.wal].
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
}

/// The program that acts on the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A person, a script or a service manager.
    Other,
    /// PostgreSQL, by archive_command.
    ArchiveCommand,
    /// PostgreSQL, by restore_command.
    RestoreCommand,
}

impl Caller {
    /// Returns the caller, by the words of the command line, which may be invalid.
    pub(crate) fn of(words: impl Iterator<Item = OsString>) -> Self {
        let words: Vec<OsString> = words.skip(1).collect();
        let Some(wal) = words.iter().position(|word| word == "wal") else { return Self::Other };
        let verbs = ["push", "fetch", "status", "abandon", "receive", "help"];
        let verb = words[wal..].iter().find_map(|word| verbs.into_iter().find(|verb| word == verb));
        match verb {
            Some("push") => Self::ArchiveCommand,
            Some("receive" | "status" | "abandon" | "help") => Self::Other,
            None if words.iter().any(|word| word == "--help" || word == "-h") => Self::Other,
            // A typo in restore_command must not end recovery.
            _ => Self::RestoreCommand,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_is_known_if_the_command_line_is_invalid() {
        for (line, expected) in [
            ("longshore wal push pg_wal/000000010000000000000001", Caller::ArchiveCommand),
            ("longshore --config x --unknown wal push", Caller::ArchiveCommand),
            ("longshore wal fetch 000000010000000000000001 x --unknown", Caller::RestoreCommand),
            ("longshore --color wal fetch", Caller::RestoreCommand),
            ("longshore wal --config /nonexistent push x", Caller::ArchiveCommand),
            ("longshore --config wal wal push x", Caller::ArchiveCommand),
            ("longshore wal fech %f %p", Caller::RestoreCommand),
            ("longshore wal", Caller::RestoreCommand),
            ("longshore wal status", Caller::Other),
            ("longshore wal abandon pg_wal/000000010000000000000001", Caller::Other),
            ("longshore wal receive --slot x", Caller::Other),
            ("longshore wal --help", Caller::Other),
            ("longshore wal fetch --help", Caller::RestoreCommand),
            ("longshore run nightly", Caller::Other),
        ] {
            assert_eq!(Caller::of(line.split(' ').map(OsString::from)), expected, "{line}");
        }
    }
}
