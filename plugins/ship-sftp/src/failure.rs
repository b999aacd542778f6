//! What a server's answers mean.

use longshore_core::{Error, Kind, Stage};
use longshore_ssh::failure::lost;
use openssh_sftp_client::Error as Answer;
use openssh_sftp_client::error::SftpErrorKind;

/// The kind of an answer; none if nothing was answered, because the session has died.
pub(crate) fn kind(error: &Answer) -> Option<SftpErrorKind> {
    match error {
        Answer::SftpError(kind, _) => Some(*kind),
        _ => None,
    }
}

/// Whether an answer proves that nothing is there: not the file, or not even its folder.
pub(crate) fn is_absent(error: &Answer) -> bool {
    matches!(kind(error), Some(SftpErrorKind::NoSuchFile))
}

/// What an answer about `subject` means.
pub(crate) fn of(host: &str, subject: &str, message: &str, error: Answer) -> Error {
    let told = |kind, message: &str, hint: &str| Error::new(Stage::Ship, kind, subject, message).hint(hint);
    let meant = match (kind(&error), &error) {
        (Some(SftpErrorKind::PermDenied), _) => told(
            Kind::Denied,
            "the account may not do this",
            "give the account the right to write there, or ship to a directory that it owns",
        ),
        (Some(SftpErrorKind::NoSuchFile), _) => {
            told(Kind::Failed, message, "somebody has removed it meanwhile, or its disk has gone")
        }
        (Some(SftpErrorKind::OpUnsupported), _) | (_, Answer::UnsupportedExtension(_)) => told(
            Kind::Usage,
            "the SFTP server cannot do this",
            "use OpenSSH's SFTP server there, or type \"ssh\" with an account that has a shell",
        ),
        (Some(_), _) => {
            told(Kind::Failed, message, "servers say no more than that it failed: see the log there, and `df`")
        }
        (None, _) => lost(host),
    };
    meant.because(error)
}
