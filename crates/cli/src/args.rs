//! The command line: verbs, flags and their help.

pub(crate) mod adopt;
pub(crate) mod config;
mod example;
mod list;
pub(crate) mod mark;
pub(crate) mod notify;
pub(crate) mod plugin;
mod rekey;
mod remove;
mod reported;
mod restore;
mod retention;
pub(crate) mod schedule;
mod serve;
mod status;
pub(crate) mod trust;
mod verify;
pub(crate) mod wal;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, Args as ClapArgs, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};

pub(crate) use self::example::command;
pub(crate) use self::list::{List, State};
use self::rekey::REKEY_HELP;
pub(crate) use self::rekey::Rekey;
use self::remove::REMOVE_HELP;
pub(crate) use self::remove::Remove;
pub(crate) use self::reported::{ReportedJob, ReportedVerb};
pub(crate) use self::restore::Restore;
pub(crate) use self::retention::{Retention, Simulate};
pub(crate) use self::serve::Serve;
use self::status::STATUS_HELP;
pub(crate) use self::status::Status;
pub(crate) use self::verify::Verify;
use crate::output::Colour;
use crate::progress::RestoreStates;

/// Verified, encrypted, off-site PostgreSQL backups with restore drills.
///
/// Dumps databases, verifies and encrypts the dumps with age, uploads them to one or more
/// destinations, prunes them by a retention policy, and restores them.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, max_term_width = 110, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 usage or configuration, 2 failed, 3 partly done, 4 a damaged backup was found,\n\
    5 locked by another run, 6 refused by a safety rule, 70 a bug, 129/130/143 ended by a signal."
)]
pub(crate) struct Args {
    /// Read this configuration file [default: /etc/longshore/config.toml as root, else
    /// ~/.config/longshore/config.toml].
    #[arg(long, short, global = true, env = "LONGSHORE_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Print only results and errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Log to stderr; repeat for more [env: LONGSHORE_LOG].
    ///
    /// -v logs programs, connections and retries, with their durations; -vv also requests, queries
    /// and cleanup. Secrets are never logged.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Choose when to use colours; NO_COLOR and CLICOLOR_FORCE are respected.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Colour,
    /// Write events as lines of JSON to this inherited descriptor.
    #[arg(long, global = true, hide = true, value_name = "FD")]
    pub(crate) events: Option<u32>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Args {
    /// Parses the command line of this process.
    pub(crate) fn of_process() -> Result<Self, clap::Error> {
        Self::from_arg_matches(&command().try_get_matches()?)?.validated()
    }

    /// Fails for global flags that exclude each other. clap finds such a conflict only if both
    /// flags are on the same side of the verb.
    fn validated(self) -> Result<Self, clap::Error> {
        if self.quiet && self.verbose > 0 {
            let message = "the argument '--quiet' cannot be used with '--verbose'";
            return Err(command().error(ErrorKind::ArgumentConflict, message));
        }
        Ok(self)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Find the local cluster, create an age identity, and write a commented configuration.
    ///
    /// Never overwrites a file.
    Init(Init),
    /// Check settings, servers and destinations before a run.
    Check(Check),
    /// Check the configuration file alone, or print its JSON Schema.
    #[command(subcommand)]
    Config(config::ConfigFile),
    /// Back up the databases or the cluster of a job.
    Run(Run),
    /// List the backups in the destinations.
    List(List),
    /// Show the age, state and number of backups, and problems that need attention.
    #[command(after_help = STATUS_HELP)]
    Status(Status),
    /// Read backups and check sizes and digests; with an identity, decode them completely.
    Verify(Verify),
    /// Show the contents of a dump or backup and verify it.
    Inspect(Inspect),
    /// Restore a backup into a server or a data directory, or write it to a file.
    Restore(Box<Restore>),
    /// Test that backups can be restored.
    ///
    /// Restores the newest run of a job into a scratch cluster, compares the result with the record
    /// of the dump, and runs the queries of the configuration. Of a base backup, starts the files
    /// and reads every row.
    Drill(Drill),
    /// Remove backups that the retention policy does not keep.
    Prune(Prune),
    /// Remove one backup from every destination that has it.
    #[command(after_help = REMOVE_HELP)]
    Remove(Remove),
    /// Recognize the files of other backup tools, and make backups of them.
    #[command(subcommand)]
    Adopt(adopt::Adopt),
    /// Simulate a retention policy.
    #[command(subcommand)]
    Retention(Retention),
    /// Exempt a backup from retention.
    Hold(Hold),
    /// Release a hold.
    Unhold(Unhold),
    /// Withdraw wrong marks of a backup, such as a false report of damage.
    Mark(mark::Mark),
    /// Copy missing backups between the destinations of a job.
    Sync(Sync),
    /// Let other identities decrypt stored backups, too.
    ///
    /// Writes a header for the new recipients beside each encrypted file.
    #[command(after_help = REKEY_HELP)]
    Rekey(Rekey),
    /// Sign the backups of before, and accept a changed history of a destination.
    #[command(subcommand)]
    Trust(trust::Trust),
    /// Show when jobs are due, and let systemd or cron start them.
    Schedule(schedule::Schedule),
    /// Archive and fetch the WAL of a cluster.
    #[command(subcommand)]
    Wal(wal::Wal),
    /// Test the channels of notices.
    #[command(subcommand)]
    Notify(notify::Notify),
    /// Test programs that are stages, and write skeletons of them.
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Serve the state of all backups as web pages, and run jobs by their schedules.
    Serve(Serve),
    /// Print a completion script for a shell.
    ///
    /// In bash, zsh and fish, the names of jobs, destinations, channels, series and backups
    /// complete, too: from the configuration and the run reports of this host, never over the
    /// network.
    Completions {
        /// The shell to complete for.
        shell: clap_complete::Shell,
    },
    /// Write the man pages to a directory.
    ///
    /// Fails if one of the pages exists.
    Man {
        /// The directory, created if it is missing. Pages of an older version are replaced.
        #[arg(value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
}

impl Verb {
    /// Returns a function that describes the state after an interruption.
    pub(crate) fn state_after_interrupt(&self) -> fn(&RestoreStates) -> String {
        match self {
            Self::Restore(_) => RestoreStates::description,
            Self::Drill(_) => |_| "everything created for the drill was removed, and no result was recorded".to_owned(),
            Self::Adopt(adopt::Adopt::Detect(_))
            | Self::Config(_)
            | Self::Inspect(_)
            | Self::List(_)
            | Self::Status(_) => |_| "nothing was changed".to_owned(),
            _ => |_| "incomplete files do not count as backups".to_owned(),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Init {
    /// Connect to this cluster: libpq keywords, URI or service [default: try the local sockets].
    #[arg(long, value_name = "CONNECTION")]
    pub(crate) connection: Option<String>,
    /// Add a destination: a directory or an address. Can be repeated.
    ///
    /// Addresses: ssh://USER@HOST/DIR, sftp://…, rsync://…, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX,
    /// az://ACCOUNT/CONTAINER/PREFIX. A local directory is created if it is missing.
    #[arg(long, value_name = "PLACE")]
    pub(crate) ship: Vec<String>,
    /// Add a local directory as a destination, like --ship DIR.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) destination: Option<PathBuf>,
    /// Encrypt for this age recipient instead of creating an identity.
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) recipient: Vec<String>,
    /// Translate this configuration of pg_back, without connecting to the server.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["connection", "ship", "destination"])]
    pub(crate) from: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// The job to check [default: all jobs].
    pub(crate) job: Option<String>,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) password: Password,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// The job to run; optional if there is only one.
    pub(crate) job: Option<String>,
    /// Store full dumps in this run, not differences.
    #[arg(long)]
    pub(crate) no_differential: bool,
    #[command(flatten)]
    pub(crate) password: Password,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// A dump file or directory, `-` for stdin, or a backup or subject.
    ///
    /// A dump is the output of pg_dump or pg_dumpall, or a base backup as one tar, plain or inside
    /// age, zstd, gzip, LZ4, xz or bzip2. For a subject, the newest backup is inspected.
    #[arg(value_name = "FILE|BACKUP", value_hint = ValueHint::AnyPath)]
    pub(crate) what: String,
    /// Read and verify the whole dump, and report bytes that no checksum covers.
    #[arg(long, conflicts_with = "list")]
    pub(crate) check: bool,
    /// Print only the table of contents, in the format of `pg_restore --list`.
    #[arg(long)]
    pub(crate) list: bool,
    /// Choose the job, if several have backups of the subject.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Inspect a backup in this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Drill {
    /// The job to drill; optional if there is only one.
    pub(crate) job: Option<String>,
    /// Restore from this destination [default: the least recently drilled one].
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,
    /// Drill this backup and its dependencies instead of the newest run.
    #[arg(long, value_name = "NAME")]
    pub(crate) backup: Option<String>,
    /// Drill the newest run at or before this UTC time: 2026-06-07, or "2026-06-07 12:00".
    #[arg(long, value_name = "TIME", conflicts_with = "backup")]
    pub(crate) at: Option<String>,
    /// Recover base backups from the WAL archive to this time, to a random one, or to the end:
    /// latest.
    #[arg(long, value_name = "TIME")]
    pub(crate) recover_to: Option<String>,
    /// Write an HTML report to this new file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// Restore with N parallel connections.
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: u32,
    /// Run SQL scripts that may execute shell commands through psql.
    ///
    /// Plain dumps and dumps of whole clusters are scripts. Use only if you trust the source
    /// server.
    #[arg(long)]
    pub(crate) trust_script: bool,
    /// Accept unencrypted backups of a job that encrypts.
    ///
    /// Anyone who can write to the destination could have created such a backup.
    #[arg(long)]
    pub(crate) allow_unsealed: bool,
    /// Create the scratch cluster in this directory [default: scratch_dir of the job].
    ///
    /// The directory holds plaintext until the drill ends; prefer one in memory.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) scratch_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Prune {
    /// The job or adopt to prune [default: all].
    pub(crate) job: Option<String>,
    /// Prune only this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// Show what would be removed, and why the rest is kept; remove nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Like --dry-run, and show a calendar of each series with the reason for each decision.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Remove all backups of a series that has ended, such as those of a dropped database.
    #[arg(long, value_name = "CLUSTER/SUBJECT")]
    pub(crate) retired: Option<String>,
    /// Override a safety rule for this prune.
    #[arg(long, value_name = "RULE")]
    pub(crate) despite: Vec<Rule>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Parses a size or a duration, written as in the configuration.
fn quantity<T: TryFrom<String, Error = String>>(text: &str) -> Result<T, String> {
    T::try_from(text.to_owned())
}

/// Parses two roles, written as `old=new`.
fn role_mapping(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("expected OLD=NEW: a role of the backup and a role of the target".to_owned()),
    }
}

/// A section of an archive, as in `pg_restore --section`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Tables, types, functions.
    PreData,
    /// Rows and large objects.
    Data,
    /// Indexes, constraints, triggers.
    PostData,
}

/// A safety rule that `--despite` overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rule {
    /// The newest backup is dated in the future.
    Clock,
    /// Far fewer backups than last time, or a local destination on another file system.
    Listing,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Hold {
    /// The backup, or the subject whose newest backup is held.
    pub(crate) backup: String,
    /// Record this reason for the hold.
    #[arg(long, value_name = "REASON")]
    pub(crate) why: String,
    /// End the hold at this UTC time: 2027-06-07, or "2027-06-07 12:00" [default: never].
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Choose the job, if several have backups of the subject.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Hold only in this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Unhold {
    /// The backup, or the subject whose newest backup is released.
    pub(crate) backup: String,
    /// Choose the job, if several have backups of the subject.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Release only in this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Sync {
    /// The job to sync; optional if there is only one.
    pub(crate) job: Option<String>,
    /// Verify all backups, and replace each damaged one by a good copy.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Show what would be copied; copy nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Identity {
    /// Decrypt with this age identity file or SSH private key. Can be repeated.
    #[arg(long = "identity", short = 'i', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Prompt for the passphrase of encrypted backups [env: LONGSHORE_IDENTITY_PASSPHRASE].
    #[arg(long)]
    pub(crate) ask_passphrase: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Password {
    /// Prompt for the password of the server.
    #[arg(long)]
    pub(crate) ask_password: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Local {
    /// Show times in the time zone of this host [default: TZ, else UTC].
    #[arg(long)]
    pub(crate) local: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Json {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' ')).and_then(Args::validated)
    }

    #[test]
    fn verbose_counts_before_and_after_the_verb() {
        for (line, expected) in [("longshore run", 0), ("longshore -v run", 1), ("longshore run -vv", 2)] {
            assert_eq!(parsed(line).unwrap().verbose, expected, "{line}");
        }
    }

    #[test]
    fn quiet_and_verbose_exclude_each_other() {
        for line in ["longshore -q -v run", "longshore -q run -v", "longshore run --quiet --verbose"] {
            assert_eq!(parsed(line).unwrap_err().kind(), ErrorKind::ArgumentConflict, "{line}");
        }
    }
}
