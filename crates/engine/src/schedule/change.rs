//! One change of a host, shown or applied.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};

/// A change of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Write a file that everyone may read.
    Write {
        /// The path of the file.
        path: PathBuf,
        /// The new content.
        text: String,
    },
    /// Remove a file, if it exists.
    Remove {
        /// The path of the file.
        path: PathBuf,
    },
    /// Create a symbolic link, as `systemctl enable` does.
    Link {
        /// The path of the link.
        path: PathBuf,
        /// The target of the link.
        target: PathBuf,
    },
    /// Replace the crontab of the user.
    Crontab {
        /// The new content.
        text: String,
    },
    /// Run a program.
    Run {
        /// The program and its arguments.
        words: Vec<String>,
    },
}

impl Change {
    /// Returns a change that runs a program.
    pub(super) fn run(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Run { words: words.into_iter().map(Into::into).collect() }
    }

    /// Applies the change.
    ///
    /// # Errors
    /// Fails if a file cannot be written or a program fails.
    pub fn apply(&self) -> Result<()> {
        match self {
            Self::Write { path, text } => {
                write(path, text).map_err(|error| failed(path, "cannot write the file", error))
            }
            Self::Remove { path } => match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(failed(path, "cannot remove the file", error))
                }
                _ => Ok(()),
            },
            Self::Link { path, target } => {
                let linked = make_folder(path).and_then(|()| match symlink(target, path) {
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                    linked => linked,
                });
                linked.map_err(|error| failed(path, "cannot create the link", error))
            }
            Self::Crontab { text } => run(&["crontab".to_owned(), "-".to_owned()], text),
            Self::Run { words } => run(words, ""),
        }
    }

    /// Returns true if the host already is as after the change.
    pub fn is_applied(&self) -> bool {
        match self {
            Self::Write { path, text } => fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes()),
            Self::Remove { path } => fs::symlink_metadata(path).is_err(),
            Self::Link { path, target } => fs::read_link(path).is_ok_and(|found| found == *target),
            Self::Crontab { .. } | Self::Run { .. } => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, .. } => write!(f, "write {}", path.display()),
            Self::Remove { path } => write!(f, "remove {}", path.display()),
            Self::Link { path, target } => write!(f, "link {} to {}", path.display(), target.display()),
            Self::Crontab { .. } => f.write_str("replace the crontab of this user"),
            Self::Run { words } => write!(f, "run {}", words.join(" ")),
        }
    }
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.exists()) else { return Ok(()) };
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Writes a file at once, so that no program reads half of it.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    make_folder(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".longshore-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn run(words: &[String], input: &str) -> Result<()> {
    let name = words.join(" ");
    let cannot_run = |error| Error::io(Stage::Config, &name, "cannot run the program", error);
    let [program, arguments @ ..] = words else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(cannot_run)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(cannot_run)?;
    }
    let output = child.wait_with_output().map_err(cannot_run)?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("without a message");
    let message = format!("failed ({}): {}", output.status, printable(last.trim()));
    Err(Error::new(Stage::Config, Kind::Failed, name, message))
}

fn failed(path: &Path, message: &str, error: std::io::Error) -> Error {
    let is_denied = error.kind() == std::io::ErrorKind::PermissionDenied;
    let error = Error::io(Stage::Config, path.display().to_string(), message, error);
    match is_denied {
        true => error.hint("run `longshore schedule install` as root, or pass --user for timers of this user"),
        false => error,
    }
}
