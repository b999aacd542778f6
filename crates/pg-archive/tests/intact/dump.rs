//! Dumps that the programs of one release make.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use longshore_pg_archive::{Compression, Kind};
use longshore_testkit::cluster::{Cluster, Installation};

/// A dump, all of it.
pub(crate) struct Dump {
    /// How it was made.
    pub(crate) name: String,
    /// What it must be taken for.
    pub(crate) kind: Kind,
    pub(crate) compression: Compression,
    /// A directory's files are in one tar.
    pub(crate) bytes: Vec<u8>,
}

impl Dump {
    /// A database in every form that pg_dump has: to a pipe, to a file that it opens, and to one that it is handed.
    pub(crate) fn in_every_form(cluster: &Cluster, installation: &Installation, database: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for compression in compressions(installation) {
            let option = option(installation, compression);
            for format in ["custom", "directory"] {
                let mut dump = Self::take(cluster, installation, database, format, &[&option]);
                dump.compression = compression;
                all.push(dump);
            }
            for handed in ["pipe", "file"] {
                let mut dump = Self::written_to(cluster, installation, database, handed, &option);
                dump.compression = compression;
                all.push(dump);
            }
        }
        all.extend(["tar", "plain"].map(|format| {
            let mut dump = Self::take(cluster, installation, database, format, &[]);
            dump.compression = Compression::None;
            dump
        }));
        all
    }

    /// A database in one format, into a file that pg_dump opens, with its default compression unless the options name one.
    pub(crate) fn take(
        cluster: &Cluster,
        installation: &Installation,
        database: &str,
        format: &str,
        options: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dump");
        let mut command = pg_dump(cluster, installation, database);
        command.args(["--format", format, "--file"]).arg(&path).args(options);
        assert!(command.status().unwrap().success(), "{command:?}");
        let kind = match format {
            "custom" => Kind::Custom,
            "directory" => Kind::Directory,
            "tar" => Kind::Tar,
            _ => Kind::Script,
        };
        let bytes = if kind == Kind::Directory { packed(&path) } else { fs::read(&path).unwrap() };
        let name = format!("{} {format} {}", installation.major, options.join(" "));
        Self { name, kind, compression: Compression::Gzip, bytes }
    }

    /// A custom archive on pg_dump's stdout, which is a pipe or a file.
    fn written_to(cluster: &Cluster, installation: &Installation, database: &str, target: &str, option: &str) -> Self {
        let mut command = pg_dump(cluster, installation, database);
        command.args(["--format=custom", option]);
        let bytes = if target == "file" {
            let file = tempfile::NamedTempFile::new().unwrap();
            command.stdout(File::create(file.path()).unwrap());
            assert!(command.status().unwrap().success(), "{command:?}");
            fs::read(file.path()).unwrap()
        } else {
            let output = command.stderr(Stdio::inherit()).output().unwrap();
            assert!(output.status.success(), "{command:?}");
            output.stdout
        };
        let name = format!("{} custom {option} to a {target} on stdout", installation.major);
        Self { name, kind: Kind::Custom, compression: Compression::None, bytes }
    }

    /// A pg_dump whose output is to be read while it runs.
    pub(crate) fn under_way(cluster: &Cluster, installation: &Installation, database: &str, options: &[&str]) -> Child {
        pg_dump(cluster, installation, database).args(options).stdout(Stdio::piped()).spawn().unwrap()
    }
}

/// Everything of a cluster as one script.
pub(crate) fn pg_dumpall(cluster: &Cluster, installation: &Installation, options: &[&str]) -> Dump {
    let mut command = Command::new(installation.program("pg_dumpall"));
    command.env_clear().arg("-d").arg(cluster.connection()).args(options);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    let name = format!("{} pg_dumpall {}", installation.major, options.join(" "));
    Dump { name, kind: Kind::ClusterScript, compression: Compression::None, bytes: output.stdout }
}

/// What `pg_restore --list` says of an archive, in UTC.
pub(crate) fn list(installation: &Installation, dump: &Dump) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump");
    fs::write(&file, &dump.bytes).unwrap();
    let mut command = Command::new(installation.program("pg_restore"));
    command.arg("--list");
    if dump.kind == Kind::Directory {
        let unpacked = Command::new("tar").arg("-C").arg(folder.path()).arg("-xf").arg(&file).status();
        assert!(unpacked.unwrap().success());
        command.arg(folder.path());
    } else {
        command.arg(&file);
    }
    let output = command.env_clear().env("TZ", "UTC").stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{}", dump.name);
    let lines = String::from_utf8(output.stdout).unwrap();
    // A name may hold a carriage return, which `lines` would take for the end.
    lines.strip_suffix('\n').unwrap().split('\n').map(str::to_owned).collect()
}

fn pg_dump(cluster: &Cluster, installation: &Installation, database: &str) -> Command {
    let mut command = Command::new(installation.program("pg_dump"));
    command.env_clear().env("TZ", "UTC").arg("-d").arg(format!("{} dbname={database}", cluster.connection()));
    command
}

fn compressions(installation: &Installation) -> Vec<Compression> {
    match installation.compresses() && installation.major >= 16 {
        true => vec![Compression::None, Compression::Gzip, Compression::Lz4, Compression::Zstd],
        false => vec![Compression::None, Compression::Gzip],
    }
}

/// pg_dump's word for it; before 16, there were levels alone.
fn option(installation: &Installation, compression: Compression) -> String {
    match (installation.major < 16, compression) {
        (true, Compression::None) => "--compress=0".to_owned(),
        (true, _) => "--compress=6".to_owned(),
        (false, compression) => format!("--compress={compression}"),
    }
}

/// The files of a folder in one tar, as they come.
fn packed(folder: &Path) -> Vec<u8> {
    let output = Command::new("tar").arg("-C").arg(folder).args(["-cf", "-", "."]).output().unwrap();
    assert!(output.status.success());
    output.stdout
}
