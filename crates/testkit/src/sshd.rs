//! A temporary SSH server: OpenSSH's own, on the loopback interface, with its own keys and several
//! kinds of accounts.
//!
//! All accounts are the user who runs the test. The key decides the account, through
//! `authorized_keys`.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::process::{clean, is_root, run, spawn, stop};
use crate::port::free_port;

const SSHD: &str = "/usr/sbin/sshd";
/// The time limit for a server to answer: much longer than necessary.
const START: Duration = Duration::from_secs(60);

/// The permissions of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Everything: the account has a shell.
    Shell,
    /// SFTP only (`internal-sftp`).
    Sftp,
    /// Only writing with rsync (`rrsync -wo -no-del`).
    RsyncWriteOnly,
    /// Only rsync (`rrsync`).
    Rsync,
    /// Everything, but with BusyBox's programs only: its shell, its find, its stat.
    BusyBox,
    /// Nothing: the server does not know the key.
    UnknownKey,
}

impl Account {
    const ALL: [Self; 6] =
        [Self::Shell, Self::Sftp, Self::RsyncWriteOnly, Self::Rsync, Self::BusyBox, Self::UnknownKey];

    /// Returns the name of the key file, in the server's folder.
    fn key(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Sftp => "sftp",
            Self::RsyncWriteOnly => "rsync-write-only",
            Self::Rsync => "rsync",
            Self::BusyBox => "busybox",
            Self::UnknownKey => "stranger",
        }
    }

    /// Returns the options of the key in `authorized_keys`, or `None` if the key is not in that
    /// file.
    fn options(self, folder: &Path) -> Option<String> {
        let (backups, programs) = (folder.join("backups"), folder.join(PROGRAMS));
        let (backups, programs) = (backups.display(), programs.display());
        match self {
            Self::Shell => Some(String::new()),
            Self::Sftp => Some("restrict,command=\"internal-sftp\" ".to_owned()),
            Self::RsyncWriteOnly => Some(format!("restrict,command=\"/usr/bin/rrsync -wo -no-del {backups}\" ")),
            Self::Rsync => Some(format!("restrict,command=\"/usr/bin/rrsync {backups}\" ")),
            Self::BusyBox => {
                Some(format!("command=\"PATH={programs} exec {programs}/sh -c \\\"$SSH_ORIGINAL_COMMAND\\\"\" "))
            }
            Self::UnknownKey => None,
        }
    }
}

/// The folder of BusyBox's programs, in the server's folder.
const PROGRAMS: &str = "programs";

/// A running server. Dropping it stops the server and removes its folder.
#[derive(Debug)]
pub struct Sshd {
    port: u16,
    server: Child,
    folder: TempDir,
}

impl Sshd {
    /// Starts a server.
    ///
    /// # Panics
    /// With the server's log, if the server does not start.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts a server with additional lines in its configuration, such as `MaxSessions 1`.
    ///
    /// # Panics
    /// With the server's log, if the server does not start.
    pub fn with(settings: &str) -> Self {
        assert!(Path::new(SSHD).exists(), "no {SSHD}: run `cargo xtask test`, which installs openssh-server");
        let folder =
            tempfile::Builder::new().prefix("longshore-sshd-").tempdir().expect("a temporary folder can be made");
        set_up(folder.path());
        for _ in 0..10 {
            let port = free_port();
            if let Some(server) = start_server(folder.path(), port, settings) {
                let host = fs::read_to_string(folder.path().join("host.pub")).expect("it was made");
                let known = format!("[127.0.0.1]:{port} {host}");
                fs::write(folder.path().join("known_hosts"), known).expect("a file can be written");
                return Self { port, server, folder };
            }
        }
        panic!("ten ports in a row were taken by other processes");
    }

    /// Starts a server whose accounts are confined to a folder (chroot), in which they own
    /// `backups`.
    ///
    /// # Panics
    /// If this process is not root, because chroot requires root.
    pub fn chrooted() -> (Self, TempDir) {
        assert!(is_root(), "this test uses chroot, which needs root");
        // Only root may have write access to the folders above, but the system's temporary folder
        // is world-writable.
        let mode = Permissions::from_mode(0o755);
        let root_dir = tempfile::Builder::new().prefix("longshore-jail-").permissions(mode).tempdir_in("/run");
        let root_dir = root_dir.expect("root can make a folder in /run");
        let backups = root_dir.path().join("backups");
        fs::create_dir(&backups).expect("a folder can be made");
        fs::set_permissions(&backups, Permissions::from_mode(0o700)).expect("its mode can be set");
        (Self::with(&format!("ChrootDirectory {}", root_dir.path().display())), root_dir)
    }

    /// Returns the server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder for the backups of all accounts. It exists and is empty at first.
    pub fn backups(&self) -> PathBuf {
        self.folder.path().join("backups")
    }

    /// Returns the settings with which a plugin reaches an account, independent of the user's own
    /// configuration. Tests add the path.
    pub fn settings(&self, account: Account) -> Value {
        json!({
            "host": format!("{}@127.0.0.1", user()),
            "port": self.port,
            "identity_file": self.folder.path().join(account.key()),
            "known_hosts_file": self.known_hosts(),
            "config_file": "/dev/null",
        })
    }

    /// Returns the `known_hosts` file with the server's key.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    /// Restricts an account to one command, which replaces any requested command.
    pub fn force_command(&self, account: Account, command: &str) {
        let public = fs::read_to_string(self.folder.path().join(account.key()).with_extension("pub")).unwrap();
        let list = self.folder.path().join("authorized_keys");
        let authorized = fs::read_to_string(&list).unwrap();
        let others = authorized.lines().filter(|line| !line.ends_with(public.trim()));
        let others: String = others.map(|line| format!("{line}\n")).collect();
        fs::write(list, format!("{others}restrict,command=\"{command}\" {public}")).unwrap();
    }

    /// Serves the SFTP account by a program of its own, with options such as `-P fsync`, which
    /// disables that request. Returns the log of the program, which contains each request.
    ///
    /// # Panics
    /// If the program is not installed: OpenSSH usually serves SFTP internally.
    pub fn log_sftp(&self, options: &str) -> PathBuf {
        let known = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];
        let server = known.iter().find(|path| Path::new(path).exists());
        let server = server.expect("no sftp-server: run `cargo xtask test`, which installs it with openssh-server");
        let log = self.folder.path().join("sftp.log");
        self.force_command(Account::Sftp, &format!("{server} -e -l VERBOSE {options} 2>>{}", log.display()));
        log
    }

    /// Gives an account BusyBox's programs, and no others.
    ///
    /// # Panics
    /// If BusyBox is not installed.
    pub fn install_busybox(&self) {
        let programs = self.folder.path().join(PROGRAMS);
        fs::create_dir_all(&programs).unwrap();
        let mut install = clean(Path::new("busybox"));
        install.args(["--install", "-s"]).arg(&programs);
        run(install);
    }

    /// Returns client configuration with a host name for an account of this server.
    pub fn client_config(&self, name: &str, account: Account) -> String {
        let key = self.folder.path().join(account.key());
        format!(
            "Host {name}\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n IdentitiesOnly yes\n UserKnownHostsFile {}\n \
             StrictHostKeyChecking yes\n BatchMode yes\n",
            self.port,
            user(),
            key.display(),
            self.known_hosts().display()
        )
    }

    /// Kills all processes that serve connections, like a crash of the host. The server continues
    /// to listen. Returns the number of processes.
    pub fn cut(&self) -> usize {
        let mut cut = Vec::new();
        collect_descendants(Pid::from_child(&self.server), &mut cut);
        for pid in &cut {
            // A process that has already ended needs no signal.
            kill_process(*pid, Signal::KILL).ok();
        }
        cut.len()
    }

    /// Stops the server and all processes that serve connections: it accepts new connections but
    /// never answers, like a host that hangs.
    ///
    /// # Panics
    /// If a process cannot be stopped.
    pub fn stall(&self) {
        let server = Pid::from_child(&self.server);
        let mut all = vec![server];
        collect_descendants(server, &mut all);
        for pid in all {
            // A process that has already ended needs no signal.
            kill_process(pid, Signal::STOP).ok();
        }
    }

    /// Returns the server's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.cut();
        // A stopped process ignores other signals until it continues.
        kill_process(Pid::from_child(&self.server), Signal::CONT).ok();
        stop(&mut self.server);
    }
}

/// Returns the name of the user who runs the test.
fn user() -> String {
    let user = User::from_uid(Uid::effective()).expect("the list of users can be read");
    user.expect("the user of this process exists").name
}

/// Creates the keys, the `authorized_keys` file and the folder for backups.
fn set_up(folder: &Path) {
    let backups = folder.join("backups");
    fs::create_dir(&backups).expect("a folder can be made");
    fs::set_permissions(&backups, Permissions::from_mode(0o700)).expect("its mode can be set");
    let mut authorized = String::new();
    for key in ["host"].into_iter().chain(Account::ALL.map(Account::key)) {
        let mut make = clean(Path::new("ssh-keygen"));
        make.args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"]).arg(folder.join(key));
        run(make);
    }
    for account in Account::ALL {
        if let Some(options) = account.options(folder) {
            let public = fs::read_to_string(folder.join(account.key()).with_extension("pub")).expect("it was made");
            authorized += &format!("{options}{public}");
        }
    }
    fs::write(folder.join("authorized_keys"), authorized).expect("a file can be written");
    if is_root() {
        // sshd expects a folder that its package's service usually creates.
        fs::create_dir_all("/run/sshd").expect("root can make a folder in /run");
    }
}

/// Starts sshd. Returns `None` if another process has taken the port.
fn start_server(folder: &Path, port: u16, settings: &str) -> Option<Child> {
    let at = folder.display();
    // A separate home directory avoids the startup files of the user's shell, which may be slow or
    // print output.
    let configuration = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nPidFile none\nAuthorizedKeysFile {at}/authorized_keys\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n\
         PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nMaxStartups 100\nLogLevel VERBOSE\nPrintMotd no\nSetEnv HOME={at}\n\
         {settings}\n"
    );
    fs::write(folder.join("sshd_config"), configuration).expect("a file can be written");
    let mut sshd = clean(Path::new("setpriv"));
    sshd.args(["--pdeathsig=TERM", "--", SSHD, "-D", "-f"])
        .arg(folder.join("sshd_config"))
        .arg("-E")
        .arg(folder.join("log"));
    let mut server = spawn(sshd).expect("setpriv (util-linux) can be started");
    let deadline = Instant::now() + START;
    loop {
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        if let Some(status) = server.try_wait().expect("the status of a child can be read") {
            assert!(log().contains("Address already in use"), "sshd ended, {status}: {}", log());
            fs::remove_file(folder.join("log")).expect("it was read");
            return None;
        }
        if log().contains("Server listening") && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Some(server);
        }
        if Instant::now() > deadline {
            stop(&mut server);
            panic!("sshd did not answer within {START:?}: {}", log());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Collects all descendants of a process, as the kernel lists them now.
fn collect_descendants(pid: Pid, found: &mut Vec<Pid>) {
    let children = format!("/proc/{0}/task/{0}/children", pid.as_raw_nonzero());
    let children = fs::read_to_string(children).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)) {
        collect_descendants(child, found);
        found.push(child);
    }
}
