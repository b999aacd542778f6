//! What can be said on the command line.

mod list;
pub(crate) mod mark;
mod remove;
mod restore;
mod retention;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};
use longshore_core::terms::MaxAge;

pub(crate) use self::list::{List, State};
use self::remove::REMOVE_HELP;
pub(crate) use self::remove::Remove;
pub(crate) use self::restore::Restore;
pub(crate) use self::retention::{Retention, Simulate};
use crate::output::Colour;

/// Takes PostgreSQL backups off the host: dumps, verifies, encrypts with age, ships, keeps what the policy says, and brings them back.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, max_term_width = 110, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 usage or configuration, 2 failed, 3 partly done, 4 a damaged backup was found,\n\
    5 locked by another run, 6 refused by a safety rule, 70 a bug, 129/130/143 ended by a signal."
)]
pub(crate) struct Args {
    /// The configuration [default: /etc/longshore/config.toml as root, else ~/.config/longshore/config.toml].
    #[arg(long, short, global = true, env = "LONGSHORE_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Neither progress nor notes; results and errors alone.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// When to use colours; NO_COLOR and CLICOLOR_FORCE are honoured.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Colour,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Find the local cluster, make an identity, and write a commented configuration. Overwrites nothing.
    Init(Init),
    /// Look at everything that would fail at 3 a.m.
    Check(Check),
    /// Back up.
    Run(Run),
    /// List the backups that lie in the destinations.
    List(List),
    /// Tell how old, how good and how many the newest backups of every series are, and what needs attention.
    #[command(after_help = STATUS_HELP)]
    Status(Status),
    /// Read backups back: sizes, digests and, with an identity, a decode to the end.
    Verify(Verify),
    /// Tell what is in a dump, and judge it: a file that anything made, or a backup.
    Inspect(Inspect),
    /// Bring a backup back into a cluster, or write it to a file.
    Restore(Box<Restore>),
    /// Prove that backups can be restored: restore the newest run of a job into a scratch cluster, compare, and ask your own questions.
    Drill(Drill),
    /// Remove what the retention policy does not keep.
    Prune(Prune),
    /// Remove one backup by hand, from every destination that has it.
    #[command(after_help = REMOVE_HELP)]
    Remove(Remove),
    /// Try retention policies before they are trusted.
    #[command(subcommand)]
    Retention(Retention),
    /// Exempt a backup from retention, with a mark beside it.
    Hold(Hold),
    /// End that.
    Unhold(Unhold),
    /// Withdraw marks of a backup that are wrong, such as damage that was none.
    Mark(mark::Mark),
    /// Bring every destination of a job to the same backups, by copying what one has and another lacks.
    Sync(Sync),
    /// Print a shell's completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder that has none yet.
    Man {
        /// The folder.
        #[arg(value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
}

/// A verb that acts, and leaves a run report.
#[derive(Debug)]
pub(crate) struct Acting {
    /// The verb.
    pub(crate) verb: &'static str,
    /// The job that it is about.
    pub(crate) job: OfJob,
}

/// The job that a verb is about.
#[derive(Debug)]
pub(crate) enum OfJob {
    /// This one, or the only one there is.
    Needed(Option<String>),
    /// This one, if it is known here; none without.
    Named(Option<String>),
}

impl Verb {
    /// The subject of its run report, if it acts as it was asked to.
    pub(crate) fn acting(&self) -> Option<Acting> {
        let (verb, job) = match self {
            Self::Run(run) => ("run", OfJob::Needed(run.job.clone())),
            Self::Drill(drill) => ("drill", OfJob::Needed(drill.job.clone())),
            Self::Sync(sync) if !sync.dry_run => ("sync", OfJob::Needed(sync.job.clone())),
            Self::Prune(prune) if !prune.dry_run && !prune.explain => ("prune", OfJob::Named(prune.job.clone())),
            Self::Restore(restore) if !restore.list && !restore.plan => ("restore", OfJob::Named(restore.job.clone())),
            Self::Verify(_) => ("verify", OfJob::Named(None)),
            Self::Hold(_) => ("hold", OfJob::Named(None)),
            Self::Unhold(_) => ("unhold", OfJob::Named(None)),
            Self::Mark(_) => ("mark", OfJob::Named(None)),
            Self::Remove(remove) if !remove.dry_run => ("remove", OfJob::Named(None)),
            Self::Sync(_) | Self::Prune(_) | Self::Restore(_) | Self::Remove(_) => return None,
            Self::Init(_) | Self::Check(_) | Self::List(_) | Self::Status(_) | Self::Inspect(_) => return None,
            Self::Retention(_) | Self::Completions { .. } | Self::Man { .. } => return None,
        };
        Some(Acting { verb, job })
    }

    /// In what state an interruption leaves things, for a person.
    pub(crate) fn leaves_when_interrupted(&self) -> fn() -> String {
        match self {
            Self::Restore(_) => crate::progress::restore_stands,
            Self::Drill(_) => || "what was made for the drill was removed, and nothing was noted".to_owned(),
            Self::Inspect(_) | Self::List(_) | Self::Status(_) => || "nothing was changed".to_owned(),
            _ => || "nothing half-made counts as a backup".to_owned(),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Init {
    /// How to reach the cluster: libpq's keywords, URI or service. Without it, the local sockets are tried.
    #[arg(long, value_name = "CONNECTION")]
    pub(crate) connection: Option<String>,
    /// Where to ship to: a folder, made if it is missing, or ssh://USER@HOST/FOLDER, sftp://, rsync://, s3://BUCKET/PREFIX,
    /// gs://BUCKET/PREFIX, az://ACCOUNT/CONTAINER/PREFIX. May be given more than once.
    #[arg(long, value_name = "PLACE")]
    pub(crate) ship: Vec<String>,
    /// A folder to ship to, as --ship DIR.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) destination: Option<PathBuf>,
    /// Seal to this age recipient instead of making an identity here.
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) recipient: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// The job to look at; all without it.
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
    /// The job; it may be left out where there is only one.
    pub(crate) job: Option<String>,
    #[command(flatten)]
    pub(crate) password: Password,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// What the exit codes of `status` mean.
const STATUS_HELP: &str = "Exit codes: 0 nothing is stale, 2 no destination can be read, 3 a job's last run did not succeed, something is\n\
    stale or has no terms, or a destination cannot be read, 4 a newest backup is damaged. With --nagios: 0 OK, 1 WARNING,\n\
    2 CRITICAL, 3 UNKNOWN.";

#[derive(Debug, ClapArgs)]
pub(crate) struct Status {
    /// Only this job's series; the job may be another host's.
    pub(crate) job: Option<String>,
    /// How old the newest backup of a series may be where its job does not say, such as 26h; "none"
    /// for no limit.
    #[arg(long, value_name = "TIME", value_parser = quantity::<MaxAge>)]
    pub(crate) max_age: Option<MaxAge>,
    /// Print one line as monitoring plugins do, with their exit codes.
    #[arg(long, conflicts_with = "json")]
    pub(crate) nagios: bool,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) local: Local,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    /// A backup's name, or a subject, whose newest backup is read. Without it, the newest of every series.
    #[arg(conflicts_with_all = ["all", "newest", "percent"])]
    pub(crate) backup: Option<String>,
    /// Read every backup.
    #[arg(long, conflicts_with_all = ["newest", "percent"])]
    pub(crate) all: bool,
    /// Read the newest of every series, as without it.
    #[arg(long, conflicts_with = "percent")]
    pub(crate) newest: bool,
    /// Read so many of a hundred: on each day others, until all were read.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) percent: Option<u8>,
    /// Only what lies in this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// A folder for the plaintext of what cannot be read from a stream, instead of the job's scratch_dir.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) scratch_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// A file or a folder that pg_dump or pg_dumpall wrote, plain or within age, zstd or gzip; `-` for what comes on stdin; or else a
    /// backup's name or subject, of which the newest backup is meant.
    #[arg(value_name = "FILE|BACKUP", value_hint = ValueHint::AnyPath)]
    pub(crate) what: String,
    /// Only judge it, all of it, and report whether it is sound, and which of its bytes no checksum
    /// covers.
    #[arg(long, conflicts_with = "list")]
    pub(crate) check: bool,
    /// Print its table of contents alone, as `pg_restore --list` does, to be edited for `pg_restore --use-list`.
    #[arg(long)]
    pub(crate) list: bool,
    /// A backup, and from this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Drill {
    /// The job; it may be left out where there is only one.
    pub(crate) job: Option<String>,
    /// Take it from this destination, instead of the one that was drilled the longest ago.
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,
    /// This backup, and what it needs, instead of the newest run.
    #[arg(long, value_name = "NAME")]
    pub(crate) backup: Option<String>,
    /// The newest run at or before this time, in UTC: 2026-06-07, or "2026-06-07 12:00".
    #[arg(long, value_name = "TIME", conflicts_with = "backup")]
    pub(crate) at: Option<String>,
    /// Write a page for an auditor, too: one new HTML file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// How many connections restore at once.
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: u32,
    /// Run scripts (plain dumps, whole clusters) by a psql that cannot be kept from running programs that they name: whoever ruled the server
    /// that was dumped is trusted with this host.
    #[arg(long)]
    pub(crate) trust_script: bool,
    /// Run unsealed backups of a job that seals: anyone who can write to the destination could have made them.
    #[arg(long)]
    pub(crate) allow_unsealed: bool,
    /// The folder to make the scratch cluster in, best one in memory, instead of the job's scratch_dir. Plaintext lies there until the end.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) scratch_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Prune {
    /// The job, or the adopt; all without it.
    pub(crate) job: Option<String>,
    /// Only at this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// Show what would be removed, and why the rest is kept, without removing anything.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// As --dry-run, and draw for each series the calendar of its backups, with what stays, what goes and why.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Remove all backups of a series that its job no longer makes, such as those of a database that is gone.
    #[arg(long, value_name = "CLUSTER/SUBJECT")]
    pub(crate) retired: Option<String>,
    /// Override a safety rule, this once: the newest backup is dated in the future; far fewer backups are listed than last time, or a
    /// local destination is on another file system.
    #[arg(long, value_name = "RULE")]
    pub(crate) despite: Vec<Rule>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// A size or a length of time, written as in the configuration.
fn quantity<T: TryFrom<String, Error = String>>(text: &str) -> Result<T, String> {
    T::try_from(text.to_owned())
}

/// Two roles, written as `old=new`.
fn renamed(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("write the role of the backup, =, and the role of the target".to_owned()),
    }
}

/// A section of an archive, in PostgreSQL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// What the data needs: tables, types, functions.
    PreData,
    /// The data.
    Data,
    /// What needs the data: indexes, constraints, triggers.
    PostData,
}

/// A safety rule that a person may override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rule {
    /// The newest backup is dated in the future, and this host's clock is right.
    Clock,
    /// Far fewer backups are listed than last time, and that is as it should be.
    Listing,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Hold {
    /// The backup's name, or a subject, whose newest backup is meant.
    pub(crate) backup: String,
    /// Why: whoever finds it years later will ask.
    #[arg(long, value_name = "REASON")]
    pub(crate) why: String,
    /// Until when, in UTC: 2027-06-07, or "2027-06-07 12:00". For good without.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only at this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Unhold {
    /// The backup's name, or a subject, whose newest backup is meant.
    pub(crate) backup: String,
    /// Only at this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Sync {
    /// The job; it may be left out where there is only one.
    pub(crate) job: Option<String>,
    /// Read all backups, and put a good copy in the place of each that is damaged.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Show what would be copied, without copying anything.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Identity {
    /// An age identity file, or an SSH private key, that opens backups. May be given more than once.
    #[arg(long = "identity", short = 'i', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Ask for the passphrase that backups were sealed with [env: LONGSHORE_IDENTITY_PASSPHRASE].
    #[arg(long)]
    pub(crate) ask_passphrase: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Password {
    /// Ask for the server's password on the terminal.
    #[arg(long)]
    pub(crate) ask_password: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Local {
    /// Show times in the time zone of this host, or of TZ where that is set [default: UTC].
    #[arg(long)]
    pub(crate) local: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Json {
    /// Print JSON for programs.
    #[arg(long)]
    pub(crate) json: bool,
}
