//! Dumps by the programs of one release.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use longshore_pg_archive::{Compression, Format};
use longshore_testkit::cluster::{Cluster, Installation};

/// A complete dump.
pub(crate) struct Dump {
    /// The options of the dump.
    pub(crate) name: String,
    /// The expected format of the archive.
    pub(crate) format: Format,
    pub(crate) compression: Compression,
    /// The bytes of the dump. The files of a directory are in one tar.
    pub(crate) bytes: Vec<u8>,
}

impl Dump {
    /// Dumps a database in every format of pg_dump: to a pipe, to a file that pg_dump opens, and to
    /// an open file.
    pub(crate) fn in_every_format(cluster: &Cluster, installation: &Installation, database: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for compression in compressions(installation) {
            let option = option(installation, compression);
            for format in ["custom", "directory"] {
                let mut dump = Self::create(cluster, installation, database, format, &[&option]);
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
            let mut dump = Self::create(cluster, installation, database, format, &[]);
            dump.compression = Compression::None;
            dump
        }));
        all
    }

    /// Dumps a database in one format to a file that pg_dump opens, with its default compression
    /// unless the options set one.
    pub(crate) fn create(
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
        let dump_format = match format {
            "custom" => Format::Custom,
            "directory" => Format::Directory,
            "tar" => Format::Tar,
            _ => Format::Script,
        };
        let bytes = if dump_format == Format::Directory { packed(&path) } else { fs::read(&path).unwrap() };
        let name = format!("{} {format} {}", installation.major, options.join(" "));
        Self { name, format: dump_format, compression: Compression::Gzip, bytes }
    }

    /// Dumps a custom archive to pg_dump's stdout, which is a pipe or a file.
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
        Self { name, format: Format::Custom, compression: Compression::None, bytes }
    }

    /// Starts a pg_dump whose output is read while it runs.
    pub(crate) fn start(cluster: &Cluster, installation: &Installation, database: &str, options: &[&str]) -> Child {
        pg_dump(cluster, installation, database).args(options).stdout(Stdio::piped()).spawn().unwrap()
    }
}

/// Dumps a whole cluster as one script.
pub(crate) fn pg_dumpall(cluster: &Cluster, installation: &Installation, options: &[&str]) -> Dump {
    let mut command = Command::new(installation.program("pg_dumpall"));
    command.env_clear().arg("-d").arg(cluster.connection()).args(options);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    let name = format!("{} pg_dumpall {}", installation.major, options.join(" "));
    Dump { name, format: Format::ClusterScript, compression: Compression::None, bytes: output.stdout }
}

/// Returns the output of `pg_restore --list` for an archive, in UTC.
pub(crate) fn list(installation: &Installation, dump: &Dump) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump");
    fs::write(&file, &dump.bytes).unwrap();
    let mut command = Command::new(installation.program("pg_restore"));
    command.arg("--list");
    if dump.format == Format::Directory {
        let unpacked = Command::new("tar").arg("-C").arg(folder.path()).arg("-xf").arg(&file).status();
        assert!(unpacked.unwrap().success());
        command.arg(folder.path());
    } else {
        command.arg(&file);
    }
    let output = command.env_clear().env("TZ", "UTC").stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{}", dump.name);
    let lines = String::from_utf8(output.stdout).unwrap();
    // A name may contain a carriage return, which `lines` would treat as part of the line end.
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

/// Returns pg_dump's option for the compression. Before 16, only levels existed.
fn option(installation: &Installation, compression: Compression) -> String {
    match (installation.major < 16, compression) {
        (true, Compression::None) => "--compress=0".to_owned(),
        (true, _) => "--compress=6".to_owned(),
        (false, compression) => format!("--compress={compression}"),
    }
}

/// Packs the files of a folder into one tar, in any order.
fn packed(folder: &Path) -> Vec<u8> {
    let output = Command::new("tar").arg("-C").arg(folder).args(["-cf", "-", "."]).output().unwrap();
    assert!(output.status.success());
    output.stdout
}
