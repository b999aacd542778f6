//! The target of a restore, from the options of the command.

use std::collections::BTreeMap;
use std::path::Path;

use longshore_core::error::printable;
use longshore_core::key::BackupName;
use longshore_core::plugin::{
    Cluster, DataDirectory, DatabaseTarget, ExistingFiles, Owners, Privileges, Scripts, SearchPath, Section, Selection,
    Start, Statistics, Target, TargetContent, TargetDatabase,
};
use longshore_core::subject::SubjectKind;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::restore::{Chosen, program_target};

use crate::args::{self, Restore};
use crate::command::{Context, prompt_password};
use crate::plugins::{database_of, with_database};

/// Removes the backups of a run that cannot be restored into this kind of target, unless no backup
/// can. Returns their names, each with the option that names a target for it.
pub(super) fn take_unfitting(args: &Restore, chosen: &mut Vec<Chosen>) -> Vec<(BackupName, &'static str)> {
    let fits = |one: &Chosen| is_base(one) == args.to_dir.is_some();
    if !chosen.iter().any(fits) {
        return Vec::new();
    }
    let option = if args.to_dir.is_some() { "--to" } else { "--to-dir" };
    let others = chosen.extract_if(.., |one| !fits(one));
    others.map(|other| (other.backup.name, option)).collect()
}

/// Returns true for a base backup.
fn is_base(chosen: &Chosen) -> bool {
    chosen.backup.manifest.subject.kind() == SubjectKind::ClusterFiles
}

/// Returns the target of the restore.
///
/// # Errors
///
/// Fails with [`Kind::Usage`] if the backups cannot be restored into this kind of target.
pub(super) fn target(args: &Restore, context: &Context, chosen: &[Chosen]) -> Result<Target> {
    let usage = |name: &str, message: &str, hint: &str| {
        Err(Error::new(Stage::Config, Kind::Usage, name, message).hint(hint.to_owned()))
    };
    if let (true, Some(one)) = (args.program, chosen.first()) {
        return program_target(&context.config, &one.backup.manifest);
    }
    match (&args.to_dir, chosen.iter().find(|one| is_base(one)), chosen.iter().find(|one| !is_base(one))) {
        (None, Some(base), _) if args.to.is_some() => {
            let message = "a base backup is restored into a data directory, not into a server";
            usage(base.backup.name.as_str(), message, "pass --to-dir DIR instead of --to")
        }
        (Some(_), _, Some(dump)) => {
            let message = "only base backups are restored into a data directory";
            usage(dump.backup.name.as_str(), message, "pass --to CONNECTION, or choose a base backup with --base")
        }
        (Some(directory), _, None) => {
            let directory = data_directory(args, directory)?;
            let bin_dir = source(context, chosen).and_then(|cluster| cluster.bin_dir.clone());
            let start = args.start.then_some(Start { bin_dir });
            Ok(Target::DataDirectory(DataDirectory { start, ..directory }))
        }
        // The contents of a base backup are listed, or written to a file.
        (None, Some(_), None) => data_directory(args, Path::new(".")).map(Target::DataDirectory),
        (None, ..) => database_target(args, context, chosen).map(Target::Database),
    }
}

/// Returns the data directory that `--to-dir` names.
pub(super) fn data_directory(args: &Restore, directory: &Path) -> Result<DataDirectory> {
    let absolute = |path: &Path| {
        let subject = || path.display().to_string();
        std::path::absolute(path)
            .map_err(|error| Error::io(Stage::Config, subject(), "cannot find the directory", error))
    };
    let mut tablespaces = BTreeMap::new();
    for (tablespace, folder) in &args.tablespace {
        if tablespaces.insert(tablespace.clone(), absolute(folder)?).is_some() {
            let message = "the tablespace has two directories";
            return Err(Error::new(Stage::Config, Kind::Usage, printable(tablespace), message)
                .hint("pass --tablespace once per tablespace"));
        }
    }
    let existing = if args.delta { ExistingFiles::Replaced } else { ExistingFiles::Refused };
    let path = absolute(directory)?;
    Ok(DataDirectory { path, tablespaces, owner: args.owner.clone(), existing, recovery: None, start: None })
}

/// Returns the database or server that `--to` names.
fn database_target(args: &Restore, context: &Context, chosen: &[Chosen]) -> Result<DatabaseTarget> {
    let to = args.to.clone().unwrap_or_default();
    let mut cluster = Cluster {
        name: "target".to_owned(),
        connection: to.clone().into(),
        password: prompt_password(Some(&args.password))?,
        // Prefer the programs that made the backup, which match the version of its server. Without
        // that directory on this host, other programs are searched.
        bin_dir: source(context, chosen).and_then(|cluster| cluster.bin_dir.clone()).filter(|folder| folder.is_dir()),
    };
    // Respect PGDATABASE like every libpq program; several databases keep their own names.
    let default = std::env::var("PGDATABASE").ok().filter(|name| !name.is_empty() && args.to.is_some());
    let databases = chosen.iter().filter(|chosen| is_of_database(chosen)).count();
    if let (Some(name), None, 1) = (default, database_of(&to)?, databases) {
        let (connection, password) = with_database(&to, &name)?;
        cluster.connection = connection;
        cluster.password = cluster.password.or(password);
    }
    Ok(DatabaseTarget {
        database: if args.create { TargetDatabase::Create } else { TargetDatabase::Existing },
        content: match (args.clean, args.append) {
            (true, _) => TargetContent::Replace,
            (false, true) => TargetContent::Append,
            (false, false) => TargetContent::MustBeEmpty,
        },
        jobs: args.jobs,
        scratch_dir: args.scratch_dir.clone(),
        selection: selection(args)?,
        owners: if args.no_owner { Owners::Restorer } else { Owners::AsDumped },
        privileges: if args.no_privileges { Privileges::OwnerOnly } else { Privileges::AsDumped },
        role_map: role_map(&args.role_map)?,
        statistics: if args.no_analyze { Statistics::Autovacuum } else { Statistics::Analyze },
        scripts: if args.trust_script { Scripts::Trusted } else { Scripts::Harmless },
        search_path: if args.own_search_path { SearchPath::Own } else { SearchPath::Empty },
        stall_timeout: args.stall_timeout.duration(),
        ..DatabaseTarget::new(cluster)
    })
}

/// Returns the map of roles. Fails if a role has two new names.
fn role_map(all: &[(String, String)]) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for (old, new) in all {
        if let Some(other) = map.insert(old.clone(), new.clone()).filter(|other| other != new) {
            let message = format!("is mapped to both \"{}\" and \"{}\"", printable(&other), printable(new));
            return Err(Error::new(Stage::Config, Kind::Usage, old, message).hint("pass --role-map once per role"));
        }
    }
    Ok(map)
}

/// Returns the part of the archive to restore.
fn selection(args: &Restore) -> Result<Selection> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).map_err(|error| {
            Error::io(Stage::Config, path.display().to_string(), "cannot read the list of entries", error)
        })
    };
    let section = |section: &args::Section| match section {
        args::Section::PreData => Section::PreData,
        args::Section::Data => Section::Data,
        args::Section::PostData => Section::PostData,
    };
    Ok(Selection {
        tables: args.table.clone(),
        schemas: args.schema.clone(),
        sections: args.section.iter().map(section).collect(),
        list: args.list_file.as_ref().map(read).transpose()?,
    })
}

/// Returns true for the backup of a single database.
pub(super) fn is_of_database(chosen: &Chosen) -> bool {
    chosen.backup.manifest.subject.kind() == SubjectKind::Database
}

/// Returns the source cluster of the backups, if the configuration has it.
pub(super) fn source<'a>(context: &'a Context, chosen: &[Chosen]) -> Option<&'a Cluster> {
    let name = &chosen.first()?.backup.manifest.cluster.name;
    context.config.jobs.values().map(|job| &job.site.cluster).find(|cluster| cluster.name == *name)
}
