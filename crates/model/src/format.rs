//! The format of a dump.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, Stage};

/// The format of the plaintext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", expecting = "unknown format: expected a known word, or x- and a name")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Format {
    /// PostgreSQL's custom format, read by `pg_restore`.
    Custom,
    /// A script, run by `psql`.
    Plain,
    /// PostgreSQL's tar format, read by `pg_restore`.
    Tar,
    /// PostgreSQL's directory format as a tar stream, to be unpacked by `tar` and read by
    /// `pg_restore`.
    Directory,
    /// The files of a cluster as a tar stream, to be unpacked by `tar` into a data directory.
    Base,
    /// The format of another program, by name.
    #[serde(untagged)]
    Other(FormatName),
}

/// The formats of Longshore's own dumps and base backups.
pub(crate) const OWN: [Format; 5] = [Format::Custom, Format::Plain, Format::Tar, Format::Directory, Format::Base];

impl Format {
    /// Returns the format of a dump that begins with `head` (at least 512 bytes). Anything that is
    /// not an archive counts as a script.
    pub fn detect(head: &[u8]) -> Self {
        if head.starts_with(b"PGDMP") {
            Self::Custom
        } else if !is_tar(head) {
            Self::Plain
        } else if (head.get(108..115), head.get(116..123)) == (Some(b"0004000"), Some(b"0002000")) {
            // The user and group ids in every tar of pg_dump, independent of the user who runs it.
            Self::Tar
        } else {
            Self::Directory
        }
    }

    /// Returns true for the formats of pg_dump and pg_dumpall.
    pub fn is_dump(&self) -> bool {
        match self {
            Self::Custom | Self::Plain | Self::Tar | Self::Directory => true,
            Self::Base | Self::Other(_) => false,
        }
    }

    /// Returns the suffix of the plaintext's file name.
    pub fn extension(&self) -> Cow<'static, str> {
        match self {
            Self::Custom => ".dump".into(),
            Self::Plain => ".sql".into(),
            Self::Tar => ".tar".into(),
            Self::Directory => ".dir.tar".into(),
            Self::Base => ".base.tar".into(),
            Self::Other(name) => format!(".{name}").into(),
        }
    }

    /// Returns the format of an artifact whose name ends with `suffix`, such as `.dump.zst.age`.
    pub(crate) fn from_suffix(suffix: &str) -> Option<Self> {
        let is_of = |format: &Self| {
            let rest = suffix.strip_prefix(&*format.extension());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let other = || {
            let word = suffix.strip_prefix('.')?.split('.').next()?;
            FormatName::try_from(word.to_owned()).ok().map(Self::Other)
        };
        OWN.into_iter().find(is_of).or_else(other)
    }

    /// Returns the error of a verifier or restorer that reads only dumps, for this other format.
    pub fn unsupported(&self, stage: Stage, subject: &str) -> Error {
        let message = format!("format \"{self}\" is not supported here, only dumps of pg_dump and pg_dumpall");
        let hint = match stage {
            Stage::Verify => {
                "name a verifier of this format in verify of the job, or set verify = [] for none; \
                 `longshore restore NAME --output FILE` writes an existing backup to a file"
            }
            _ => {
                "write the backup to a file with `longshore restore NAME --output FILE`, and restore it with the program \
                 that made it"
            }
        };
        Error::new(stage, Kind::Usage, subject, message).hint(hint)
    }
}

/// The word of the format in manifests.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Custom => "custom",
            Self::Plain => "plain",
            Self::Tar => "tar",
            Self::Directory => "directory",
            Self::Base => "base",
            Self::Other(name) => return name.fmt(f),
        })
    }
}

/// The name of the format of another program, with the prefix `x-`: lower-case letters, digits and
/// hyphens after a letter, at most 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FormatName(String);

/// The prefix of the names of other programs' formats, which no own format has.
const PREFIX: &str = "x-";
/// The maximum length of a name in bytes, without the prefix.
const MAX_NAME_BYTES: usize = 32;

impl FormatName {
    /// Creates a name, given without the prefix.
    pub fn new(name: &str) -> Result<Self> {
        let is_inner = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let is_valid =
            name.starts_with(|first: char| first.is_ascii_lowercase()) && name.as_bytes().iter().all(is_inner);
        if !is_valid || name.len() > MAX_NAME_BYTES {
            let message = format!(
                "invalid name of a format: expected at most {MAX_NAME_BYTES} of a-z 0-9 -, beginning with a letter"
            );
            return Err(Error::new(Stage::Config, Kind::Usage, name, message));
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the name without the prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name with its prefix, as in manifests and file names.
impl fmt::Display for FormatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

impl TryFrom<String> for FormatName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let without_prefix = || {
            Error::new(Stage::Config, Kind::Usage, &text, format!("a format of another program begins with {PREFIX}"))
        };
        Self::new(text.strip_prefix(PREFIX).ok_or_else(without_prefix)?)
    }
}

impl From<FormatName> for String {
    fn from(name: FormatName) -> Self {
        name.to_string()
    }
}

/// Returns true if `head` is a tar header, recognized by its checksum of eight octal digits and
/// spaces.
fn is_tar(head: &[u8]) -> bool {
    let (Some(header), Some(checksum)) = (head.get(..512), head.get(148..156)) else { return false };
    let digits = std::str::from_utf8(checksum).unwrap_or_default().trim_matches(['\0', ' ']);
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    // The checksum counts its own bytes as spaces.
    let own_sum: u64 = checksum.iter().map(|byte| u64::from(*byte)).sum();
    u64::from_str_radix(digits, 8) == Ok(sum - own_sum + 8 * u64::from(b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(name: &str) -> Format {
        Format::Other(FormatName::new(name).unwrap())
    }

    #[test]
    fn detects_formats_by_their_first_bytes() {
        let tar = |uid, gid, magic: &[u8]| {
            let mut header = tar::Header::new_old();
            header.set_path("toc.dat").unwrap();
            header.set_uid(uid);
            header.set_gid(gid);
            header.as_mut_bytes()[257..257 + magic.len()].copy_from_slice(magic);
            header.set_cksum();
            header.as_bytes().to_vec()
        };
        assert_eq!(Format::detect(b"PGDMP\x01"), Format::Custom);
        assert_eq!(Format::detect(b"--\n-- PostgreSQL database dump"), Format::Plain);
        assert_eq!(Format::detect(&tar(0o4000, 0o2000, b"ustar")), Format::Tar);
        assert_eq!(Format::detect(&tar(0, 0, b"ustar")), Format::Directory);
        assert_eq!(Format::detect(&tar(1000, 1000, b"")), Format::Directory);
        assert_eq!(Format::detect(&[0; 512]), Format::Plain);
        assert_eq!(Format::detect(b""), Format::Plain);
    }

    #[test]
    fn format_is_one_word_in_json() {
        for (format, word) in [
            (Format::Custom, "custom"),
            (Format::Plain, "plain"),
            (Format::Tar, "tar"),
            (Format::Directory, "directory"),
            (Format::Base, "base"),
            (other("mysqldump"), "x-mysqldump"),
            (other("custom"), "x-custom"),
        ] {
            assert_eq!(format.to_string(), word);
            assert_eq!(serde_json::to_value(&format).unwrap(), word);
            assert_eq!(serde_json::from_value::<Format>(word.into()).unwrap(), format);
        }
        for word in ["", "Custom", "mysqldump", "x-", "x-My", "x_mysqldump", "X-mysqldump"] {
            let error = serde_json::from_value::<Format>(word.into()).unwrap_err();
            assert!(error.to_string().contains("unknown format"), "{word}: {error}");
        }
        serde_json::from_value::<Format>(7.into()).unwrap_err();
    }

    #[test]
    fn name_of_a_format_fits_into_file_names() {
        for name in ["a", "mysqldump", "pg-dump2", &"x".repeat(32)] {
            assert_eq!(FormatName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "A", "2a", "-a", "a.b", "a_b", "a/b", "é", "a b", "a%2f", &"x".repeat(33)] {
            assert_eq!(FormatName::new(name).unwrap_err().kind(), Kind::Usage, "{name}");
        }
    }

    #[test]
    fn suffix_shows_the_format() {
        for format in OWN.into_iter().chain([other("mysqldump"), other("base")]) {
            for rest in ["", ".zst", ".age", ".zst.age"] {
                let suffix = format!("{}{rest}", format.extension());
                assert_eq!(Format::from_suffix(&suffix).as_ref(), Some(&format), "{suffix}");
            }
        }
        assert_eq!(other("mysqldump").extension(), ".x-mysqldump");
        for suffix in ["", ".", ".zst.age", ".dumpling", ".base", ".base.tarball", ".x-", ".x-A.age", ".mysqldump"] {
            assert_eq!(Format::from_suffix(suffix), None, "{suffix}");
        }
    }

    #[test]
    fn unsupported_format_has_a_way_out() {
        for format in [Format::Base, other("mysqldump")] {
            assert!(!format.is_dump());
            for stage in [Stage::Verify, Stage::Restore] {
                let error = format.unsupported(stage, "base");
                assert_eq!((error.stage(), error.kind(), error.subject()), (stage, Kind::Usage, "base"));
                assert!(error.to_string().contains(&format!("\"{format}\"")), "{error}");
                assert!(error.remedy().is_some_and(|hint| hint.contains("--output")), "{error:?}");
            }
        }
    }
}
